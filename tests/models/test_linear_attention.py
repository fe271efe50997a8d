"""The token form against loops over single tokens, its depth, its first values."""

import math

import pytest
import torch

from icl.core import Prompt
from icl.models.linear_attention import LinearAttention
from icl.rng import Draw
from tolerances import EXACT

VARIANTS = [
    {},
    {"n_layers": 3},
    {"n_layers": 3, "tied": True, "normalize": True},
    {"n_layers": 2, "n_outputs": 2},
    {"parametrization": "merged", "normalize": True},
    {"parametrization": "merged", "n_layers": 2, "n_outputs": 1},
]


def bank(n_seeds=3, seed=0, **sizes):
    """A bank of random float64 weights, so large that high orders matter, with a start that is not zero."""
    sizes = {"dim": 4, "init": "normal", "init_scale": 0.4} | sizes
    model = LinearAttention(n_seeds=n_seeds, dtype=torch.float64, **sizes)
    model.reset(Draw(range(seed, seed + n_seeds), "init", dtype=torch.float64))
    model.w_init.copy_(Draw(range(seed, seed + n_seeds), "w", dtype=torch.float64).normal(*model.w_init.shape[1:]))
    return model


def prompts(draw, n_outputs=None, dim=4, n_context=6, batch_size=5):
    out = () if n_outputs is None else (n_outputs,)
    x, x_query = draw.normal(batch_size, n_context, dim), draw.normal(batch_size, dim)
    return Prompt(x, draw.normal(batch_size, n_context, *out), x_query)


def by_loops(model, prompt, member, which, *, layers, damping=None):
    """One prompt of one member, token by token, from the equation in the class's docstring."""
    x, y, x_query = (t[min(member, t.shape[0] - 1), which] for t in (prompt.x, prompt.y, prompt.x_query))
    y, n_context = y.reshape(len(x), -1), len(x)
    query = torch.cat([x_query, -model.w_init[member] @ x_query])
    tokens = [torch.cat([a, b]) for a, b in zip(x, y)] + [query]
    guesses = [-tokens[-1][model.dim :]]
    for layer in layers:
        if model.parametrization == "factored":
            W_K, W_Q, W_V, W_O = (getattr(model, name)[member, layer] for name in ("W_K", "W_Q", "W_V", "W_O"))
        else:
            size = len(query)
            W_K, W_Q, W_V, W_O = (
                torch.eye(size).double(),
                model.Q[member, layer],
                torch.eye(size).double(),
                model.P[member, layer],
            )
        moved = []
        for token in tokens:
            update = W_O @ sum((W_V @ e) * ((W_K @ e) @ (W_Q @ token)) for e in tokens[:n_context])
            update = update / n_context if model.normalize else update
            if damping is not None:
                update = damping * torch.cat([torch.zeros(model.dim).double(), update[model.dim :]])
            moved.append(token + update)
        tokens = moved
        guesses.append(-tokens[-1][model.dim :])
    guesses = torch.stack(guesses)
    return guesses[:, 0] if model.n_outputs is None else guesses


@pytest.mark.parametrize("sizes", VARIANTS)
@pytest.mark.parametrize("n_streams", [1, 3])
def test_the_trajectory_is_the_equation_token_by_token(sizes, n_streams):
    model = bank(**sizes)
    prompt = prompts(Draw(range(n_streams), "data", dtype=torch.float64), model.n_outputs)
    layers = [0 if model.tied else layer for layer in range(model.n_layers)]
    trajectory = model(prompt)
    for member in range(3):
        for which in range(5):
            expected = by_loops(model, prompt, member, which, layers=layers)
            torch.testing.assert_close(trajectory[:, member, which], expected, **EXACT)


@pytest.mark.parametrize("sizes", VARIANTS)
@pytest.mark.parametrize("n_streams", [1, 3])
def test_damped_reapplication_moves_only_y(sizes, n_streams):
    model = bank(**sizes)
    prompt = prompts(Draw(range(n_streams), "data", dtype=torch.float64), model.n_outputs)
    layers = [0 if model.tied else layer for layer in range(model.n_layers)]
    layers = layers * 3 if len(set(layers)) == 1 else layers
    trajectory = model(prompt, steps=len(layers), damping=0.3)
    assert len(trajectory) == len(layers) + 1
    for member in range(3):
        for which in range(5):
            expected = by_loops(model, prompt, member, which, layers=layers, damping=0.3)
            torch.testing.assert_close(trajectory[:, member, which], expected, **EXACT)


def test_one_layer_undamped_is_the_first_reapplication(draw):
    model, prompt = bank(), prompts(draw)
    torch.testing.assert_close(model(prompt, damping=1.0), model(prompt), **EXACT)


def test_merged_weights_are_the_same_layers(draw):
    factored = bank(n_layers=3)
    twin = LinearAttention(dim=4, n_layers=3, n_seeds=3, parametrization="merged", dtype=torch.float64)
    P, Q = factored.merged()
    twin.load_state_dict({"P": P, "Q": Q, "w_init": factored.w_init})
    prompt = prompts(draw)
    torch.testing.assert_close(twin(prompt), factored(prompt), **EXACT)


def test_a_tied_stack_is_a_stack_of_equal_layers_and_goes_on(draw):
    tied, prompt = bank(n_layers=2, tied=True), prompts(draw)
    stack = LinearAttention(dim=4, n_layers=5, n_seeds=3, dtype=torch.float64)
    stack.load_state_dict({k: v if k == "w_init" else v.expand(-1, 5, -1, -1) for k, v in tied.state_dict().items()})
    torch.testing.assert_close(tied(prompt, steps=5), stack(prompt), **EXACT)
    torch.testing.assert_close(tied(prompt, steps=2), tied(prompt), rtol=0, atol=0)
    assert bank()(prompt, steps=4).shape == (5, 3, 5)


def test_an_untied_stack_stops_early_and_never_goes_on(draw):
    model, prompt = bank(n_layers=3), prompts(draw)
    torch.testing.assert_close(model(prompt, steps=2), model(prompt)[:3], rtol=0, atol=0)
    for steps in (-1, 4):
        with pytest.raises(ValueError, match=f"steps={steps}"):
            model(prompt, steps=steps)


def test_entry_zero_is_the_start(draw):
    model, prompt = bank(n_outputs=2), prompts(draw, 2)
    expected = torch.einsum("mod,mbd->mbo", model.w_init, prompt.x_query)
    torch.testing.assert_close(model(prompt)[0], expected, **EXACT)
    model.reset(Draw(range(3), "init"))
    assert model(prompt)[0].abs().max() == 0


@pytest.mark.parametrize("normalize", [False, True])
def test_the_preconditioner_is_what_a_layer_without_leaks_applies(draw, normalize):
    model, prompt = bank(parametrization="merged", normalize=normalize), prompts(draw)
    model.w_init.zero_()
    with torch.no_grad():
        model.P[:, 0, -1, :-1] = 0  # x does not enter the value
        model.Q[:, 0, -1, :-1] = 0  # y does not enter the key
    gamma = model.preconditioner(n_context=6)
    expected = torch.einsum("mbi,nij,mbk,mbkj->nb", prompt.x_query, gamma, prompt.y, prompt.x)
    torch.testing.assert_close(model(prompt)[-1], expected, **EXACT)


def test_a_preconditioner_needs_one_layer_one_label_and_a_context_length():
    for model in (bank(n_layers=2), bank(n_outputs=1), bank(normalize=True)):
        with pytest.raises(ValueError, match="must be"):
            model.preconditioner()


@pytest.mark.parametrize("init", ["von_oswald", "normal"])
def test_a_members_first_values_do_not_depend_on_the_bank(init):
    whole, alone = bank(n_seeds=3, init=init), bank(n_seeds=1, seed=2, init=init)
    for name, value in alone.state_dict().items():
        assert torch.equal(whole.state_dict()[name][2:], value)
    with pytest.raises(ValueError, match="2 seeds"):
        whole.reset(Draw([0, 1], "init"))


@pytest.mark.parametrize(("n_layers", "std"), [(1, 0.0134840), (2, 0.0095346)])
def test_von_oswalds_first_values_have_his_deviation_and_his_cut(n_layers, std):
    model = LinearAttention(dim=10, n_layers=n_layers, n_seeds=200)
    model.reset(Draw(range(200), "init"))
    for weight in model.parameters():
        n_numbers = weight.numel()
        assert weight.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * n_numbers))
        assert abs(weight.mean().item()) < 4 * std / math.sqrt(n_numbers)
        assert weight.abs().max().item() == pytest.approx(2 * std / 0.8796256610342398, rel=0.01)


def test_normal_first_values_have_deviation_init_scale():
    model = LinearAttention(dim=10, parametrization="merged", init="normal", init_scale=0.05, n_seeds=200)
    model.reset(Draw(range(200), "init"))
    assert model.P.std().item() == pytest.approx(0.05, rel=0.02)
    assert model.P.abs().max() > 0.15  # not cut


@pytest.mark.parametrize(
    "bad",
    [
        {"dim": 0},
        {"n_layers": 0},
        {"n_outputs": 0},
        {"n_seeds": 0},
        {"init_scale": -1.0},
        {"init_scale": math.nan},
    ],
)
def test_impossible_sizes_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LinearAttention(**{"dim": 4} | bad)
