"""Softmax heads against torch's attention, linear heads against linear attention, the fast form against the plain."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from icl.core import Prompt
from icl.models.linear_attention import LinearAttention
from icl.models.softmax_attention import SoftmaxAttention
from icl.rng import Draw
from tolerances import EXACT


def bank(n_seeds=3, seed=0, **sizes):
    """Float64 weights so large that the softmax is far from linear."""
    model = SoftmaxAttention(n_seeds=n_seeds, dtype=torch.float64, **{"dim": 4, "init_scale": 4.0} | sizes)
    model.reset(Draw(range(seed, seed + n_seeds), "init", dtype=torch.float64))
    return model.requires_grad_(False)


def prompts(n_streams=1, dim=4, n_context=6, batch_size=5):
    draw = Draw(range(n_streams), "data", dtype=torch.float64)
    return Prompt(draw.normal(batch_size, n_context, dim), draw.normal(batch_size, n_context), draw.normal(5, dim))


@pytest.mark.parametrize("n_heads", [1, 3])
@pytest.mark.parametrize("n_streams", [1, 3])
def test_softmax_heads_are_torchs_attention(n_heads, n_streams):
    model, prompt = bank(n_heads=n_heads, key_size=3), prompts(n_streams)
    for member in range(3):
        x, y, x_query = (t[min(member, n_streams - 1)] for t in (prompt.x, prompt.y, prompt.x_query))
        context = torch.cat([x, y[..., None]], -1)
        query = torch.cat([x_query, torch.zeros(5, 1).double()], -1)
        q, k, v = (
            torch.stack([tokens @ W.T for W in weight[member]], 1)  # (B, H, N, K)
            for weight, tokens in ((model.W_Q, query[:, None]), (model.W_K, context), (model.W_V, context))
        )
        heads = scaled_dot_product_attention(q, k, v)[:, :, 0]  # (B, H, K), logits over √K
        added = sum(heads[:, h] @ model.W_O[member, h].T for h in range(n_heads))
        torch.testing.assert_close(model(prompt)[1, member], -(query + added)[:, -1], **EXACT)


@pytest.mark.parametrize("steps", [1, 3])
def test_one_linear_head_is_linear_attention(steps):
    model, prompt = bank(n_heads=1, kernel="linear", init_scale=1.0), prompts()
    twin = LinearAttention(dim=4, n_seeds=3, parametrization="merged", dtype=torch.float64).requires_grad_(False)
    twin.P.copy_(model.W_O @ model.W_V)
    twin.Q.copy_(model.W_K.mT @ model.W_Q / math.sqrt(5))
    torch.testing.assert_close(model(prompt, steps=steps), twin(prompt, steps=steps), **EXACT)


def test_linear_heads_add_up():
    model, prompt = bank(n_heads=3, kernel="linear"), prompts(3)
    P, Q = model.W_O @ model.W_V, model.W_K.mT @ model.W_Q / math.sqrt(5)
    total = 0
    for h in range(3):
        head = LinearAttention(dim=4, n_seeds=3, parametrization="merged", dtype=torch.float64).requires_grad_(False)
        head.P.copy_(P[:, h : h + 1])
        head.Q.copy_(Q[:, h : h + 1])
        total = total + head(prompt)[-1]
    torch.testing.assert_close(model(prompt)[-1], total, **EXACT)


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
@pytest.mark.parametrize(("n_seeds", "n_streams"), [(3, 1), (3, 3), (1, 3), (1, 1)])
def test_the_fast_form_is_the_plain_one_with_its_gradients(kernel, n_seeds, n_streams):
    model, prompt = bank(n_seeds, kernel=kernel).requires_grad_(True), prompts(n_streams)
    found = []
    for guess in (model(prompt)[-1], model.last(prompt)):
        gradients = torch.autograd.grad(guess.square().sum(), list(model.parameters()))
        found.append([guess, *gradients])
    for plain, fast in zip(*found):
        torch.testing.assert_close(fast, plain, **EXACT)


def test_two_opposite_heads_of_small_logits_are_linear_attention():
    """Values ±v and logits ±s: the constant of the softmax cancels, and 2/N Σ (s − s̄) v is left, to third order."""
    small = 1e-3
    model, prompt = bank(n_heads=2), prompts()
    model.W_Q[:, 0] *= small
    for weight, sign in ((model.W_K, 1), (model.W_Q, -1), (model.W_V, 1), (model.W_O, -1)):
        weight[:, 1] = sign * weight[:, 0]
    context = torch.cat([prompt.x, prompt.y[..., None]], -1)
    query = torch.cat([prompt.x_query, torch.zeros(1, 5, 1).double()], -1)
    for member in range(3):
        K, Q, V, O = (w[member, 0] for w in (model.W_K, model.W_Q, model.W_V, model.W_O))
        scores = (context[0] @ K.T @ Q @ query[0][..., None])[..., 0] / math.sqrt(5)
        values = context[0] @ V.T @ O.T[:, -1]
        expected = -2 * ((scores - scores.mean(1, keepdim=True)) * values).mean(1)
        torch.testing.assert_close(model(prompt)[1, member] / small, expected / small, rtol=1e-4, atol=1e-4)


def test_a_member_of_a_bank_is_the_model_alone():
    whole, alone, prompt = bank(3), bank(1, seed=2), prompts(3)
    for name, value in alone.state_dict().items():
        assert torch.equal(whole.state_dict()[name][2:], value)
    last = Prompt(prompt.x[2:], prompt.y[2:], prompt.x_query[2:])
    torch.testing.assert_close(whole(prompt, steps=2)[:, 2:], alone(last, steps=2), **EXACT)


def test_first_values_have_their_deviation():
    model = SoftmaxAttention(dim=10, n_seeds=200, init_scale=0.5)
    model.reset(Draw(range(200), "init"))
    assert model.W_K.std().item() == pytest.approx(math.sqrt(0.5 / 11), rel=0.01)
    assert model.W_O.std().item() == pytest.approx(math.sqrt(0.5 / 22), rel=0.01)


@pytest.mark.parametrize(
    "bad", [{"dim": 0}, {"n_heads": 0}, {"key_size": 0}, {"n_seeds": 0}, {"kernel": "gauss"}, {"init_scale": -1.0}]
)
def test_impossible_values_are_refused(bad):
    from icl.config import ConfigError, build

    with pytest.raises((ValueError, ConfigError), match=next(iter(bad))):
        build({"_target_": "icl.models.softmax_attention.SoftmaxAttention", "dim": 4} | bad, key="model")


def test_a_negative_number_of_steps_is_refused():
    with pytest.raises(ValueError, match="steps=-1"):
        bank()(prompts(), steps=-1)
