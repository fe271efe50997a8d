"""Normal-order tokens, token by token; the influence of tokens against finite differences."""

import math

import pytest
import torch

from icl.core import Prompt
from icl.models.copy_attention import CopyAttention, sinusoidal_code
from icl.rng import Draw
from tolerances import EXACT

N_CONTEXT, DIM, CODE = 4, 3, 6


def bank(n_seeds=3, seed=0, **options):
    model = CopyAttention(
        dim=DIM, code_size=CODE, n_seeds=n_seeds, dtype=torch.float64, **{"init_scale": 2.0} | options
    )
    model.reset(Draw(range(seed, seed + n_seeds), "init", dtype=torch.float64))
    return model.requires_grad_(False)


def prompts(n_streams=1, batch_size=5):
    draw = Draw(range(n_streams), "data", dtype=torch.float64)
    x, y = draw.normal(batch_size, N_CONTEXT, DIM), draw.normal(batch_size, N_CONTEXT)
    return Prompt(x, y, draw.normal(batch_size, DIM))


def sequence(x, y, x_query):
    """The tokens of one prompt, from the equation in the class's docstring."""
    tokens = []
    for x_i, y_i in zip(x, y):
        tokens += [x_i, torch.cat([torch.zeros(DIM - 1).double(), y_i[None]])]
    tokens.append(x_query)
    angles = [[s / 10_000 ** (2 * c / CODE) for c in range(CODE // 2)] for s in range(len(tokens))]
    waves = [[f(angle) for angle in row for f in (math.sin, math.cos)] for row in angles]
    code = torch.tensor(waves, dtype=torch.float64)
    return [torch.cat(pair) for pair in zip(tokens, code)]


def by_loops(model, prompt, member, which):
    """The three guesses for one prompt of one member, by loops over tokens."""
    x, y, x_query = (t[min(member, t.shape[0] - 1), which] for t in (prompt.x, prompt.y, prompt.x_query))
    K, Q, V, O = ([w[member, layer] for layer in (0, 1)] for w in (model.W_K, model.W_Q, model.W_V, model.W_O))
    e, t = sequence(x, y, x_query), []
    for j, e_j in enumerate(e):
        seen = e[: min(j + 1, len(e) - 1)] if model.causal else e[:-1]
        logits = torch.stack([(K[0] @ e_i) @ (Q[0] @ e_j) for e_i in seen]) / math.sqrt(DIM + CODE)
        weights = logits.exp() / logits.exp().sum()
        t.append(e_j + O[0] @ sum(w * (V[0] @ e_i) for w, e_i in zip(weights, seen)))
    u = t[-1] + O[1] @ sum((V[1] @ t_i) * ((K[1] @ t_i) @ (Q[1] @ t[-1])) for t_i in t[:-1]) / N_CONTEXT
    return torch.stack([torch.zeros(()).double(), e[-1][-1] - t[-1][-1], e[-1][-1] - u[-1]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_streams", [1, 3])
def test_the_trajectory_is_the_equation_token_by_token(causal, n_streams):
    model, prompt = bank(causal=causal), prompts(n_streams)
    trajectory = model(prompt)
    for member in range(3):
        for which in range(5):
            torch.testing.assert_close(trajectory[:, member, which], by_loops(model, prompt, member, which), **EXACT)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_sums_to_one_and_keeps_to_its_mask(causal):
    model = bank(causal=causal)
    attention = model.attention(model.tokens(prompts()))
    assert attention.shape == (3, 5, 9, 8)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 5, 9).double(), **EXACT)
    seen = torch.ones(9, 8).tril().bool() if causal else torch.ones(9, 8).bool()
    assert torch.equal(attention > 0, seen.expand_as(attention))


def test_causality_by_gradient():
    model, prompt = bank(causal=True), prompts()
    J = model.influence(prompt)
    assert J.triu(1).abs().max() == 0
    assert bank(causal=False).influence(prompt).triu(1)[:, :, :-1].abs().max() > 0


def test_influence_is_the_finite_difference_of_the_mean():
    model, prompt = bank(n_seeds=2), prompts()
    e, step = model.tokens(prompt), 1e-6
    J = model.influence(prompt)
    for k in range(9):
        gradient = []
        for channel in range(DIM + CODE):
            shift = torch.zeros_like(e)
            shift[:, :, k, channel] = step
            up, down = (model.first_layer(e + s).sum(-1).mean(1) for s in (shift, -shift))  # (M, S)
            gradient.append((up - down) / (2 * step))
        torch.testing.assert_close(J[:, :, k], torch.stack(gradient, -1).norm(dim=-1), rtol=1e-6, atol=1e-7)


def test_a_member_of_a_bank_is_the_model_alone():
    whole, alone, prompt = bank(3), bank(1, seed=2), prompts(3)
    for name, value in alone.state_dict().items():
        assert torch.equal(whole.state_dict()[name][2:], value)
    last = Prompt(prompt.x[2:], prompt.y[2:], prompt.x_query[2:])
    torch.testing.assert_close(whole(prompt)[:, 2:], alone(last), **EXACT)
    torch.testing.assert_close(whole.influence(prompt)[2:], alone.influence(last), **EXACT)


def test_the_code_tells_places_apart():
    code = sinusoidal_code(21, 10)
    distance = (code[:, None] - code).norm(dim=-1) + 9 * torch.eye(21)
    assert distance.min() > 0.5


@pytest.mark.parametrize("bad", [{"dim": 0}, {"n_seeds": 0}, {"code_size": 0}, {"code_size": 5}, {"init_scale": -1.0}])
def test_impossible_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CopyAttention(**{"dim": 2} | bad)


def test_it_has_two_layers():
    with pytest.raises(ValueError, match="steps=3"):
        bank()(prompts(), steps=3)
