"""A loop against the same layers unrolled with weights of their own; windows; recomputed activations; bad input."""

import pytest
import torch

import plain_gpt
from icl.models.looped_transformer import LoopedTransformer
from icl.objectives.window import Window
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=4, positions="every")


def drawn(n_seeds=2, **sizes) -> LoopedTransformer:
    model = LoopedTransformer(
        **{"dim": 3, "n_context": 4, "width": 8, "n_loops": 3, "n_seeds": n_seeds, "dtype": torch.float64} | sizes
    )
    model.reset(Draw(range(n_seeds), "init", dtype=torch.float64))
    with torch.no_grad():
        for name, parameter in model.gpt.named_parameters():  # LayerNorms away from the identity
            if name.startswith(("gain", "shift")):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def sample(n_seeds=2, batch_size=3):
    return TASK.sample(batch_size, Draw(range(n_seeds), "p", dtype=torch.float64))


def unrolled(model, copies, x, y, detach_before=0):
    """Guesses "T M B P" of loops with weights of their own, `copies[m][t]`."""
    members = [
        torch.stack([
            plain_gpt.looped(copies[m], *prompt, 2, detach_before=detach_before) for prompt in zip(x[m], y[m])
        ], 1)
        for m in range(len(x))
    ]  # fmt: skip
    return torch.stack(members, 1)


def copies_of(model, n_loops):
    return [[plain_gpt.of_member(model, m) for _ in range(n_loops)] for m in range(model.gpt.n_seeds)]


def summed_gradients(loss, copies):
    """Of the tied weights: the sum over the loops' own, (M, ...) a name."""
    for member in copies:
        for w in member:
            for leaf in w.values():
                leaf.grad = None
    loss.backward()
    names = copies[0][0]
    zero = {k: torch.zeros_like(v) for k, v in names.items()}
    return {
        k: torch.stack([sum((w[k].grad if w[k].grad is not None else zero[k]) for w in member) for member in copies])
        for k in names
    }


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_loop_is_a_stack_with_tied_weights(n_layers):
    model, (x, y) = drawn(n_layers=n_layers), sample().prompt.positions()
    torch.testing.assert_close(model.every_prefix(x, y)[1:], unrolled(model, copies_of(model, 3), x, y), **EXACT)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_gradient_of_a_loop_is_the_sum_over_untied_copies(checkpoint):
    model, prompt = drawn(checkpoint=checkpoint), sample().prompt
    copies = copies_of(model, 3)
    wanted = summed_gradients(unrolled(model, copies, *prompt.positions()).square().sum(), copies)
    loss = model.windowed(prompt, n_loops=3, window=3).square().sum()
    found = dict(zip(wanted, torch.autograd.grad(loss, [getattr(model.gpt, k) for k in wanted])))
    torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("window", [1, 2, 4])
def test_a_window_has_the_last_guesses_and_their_gradient_alone(window):
    model, data = drawn(), sample()
    x, y = data.prompt.positions()
    guesses = model.windowed(data.prompt, n_loops=4, window=window)
    torch.testing.assert_close(guesses, model.every_prefix(x, y, steps=4)[-window:], **EXACT)
    copies = copies_of(model, 4)
    own = unrolled(model, copies, x, y, detach_before=4 - window)[-window:]
    wanted = summed_gradients((own - data.target).square().mean((0, 2, 3)).sum(), copies)
    loss = Window(n_loops=4, window=window)(model, data)
    found = dict(zip(wanted, torch.autograd.grad(loss.sum(), [getattr(model.gpt, k) for k in wanted])))
    torch.testing.assert_close(found, wanted, **EXACT)


def test_the_window_of_a_task_without_positions_is_that_of_the_query():
    model, data = drawn(), sample()
    at_query = LinearRegression(dim=3, n_context=4).sample(3, Draw([0, 1], "p", dtype=torch.float64))
    error = model.windowed(data.prompt, n_loops=3, window=2)[..., -1] - data.target[..., -1]
    torch.testing.assert_close(Window(n_loops=3, window=2)(model, at_query), error.square().mean((0, 2)), **EXACT)


def test_recomputed_loops_store_less_than_half():
    stored = {}
    for checkpoint in (False, True):
        model = drawn(checkpoint=checkpoint, n_seeds=1, width=32)
        seen: dict[int, int] = {}

        def pack(t, seen=seen):
            seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            kept = model.windowed(sample(1, 16).prompt, n_loops=40, window=40)
        stored[checkpoint] = sum(seen.values())
        assert kept.requires_grad
    assert stored[True] < 0.45 * stored[False]


def test_it_goes_on_beyond_the_loops_that_it_was_built_for():
    model, (x, y) = drawn(), sample().prompt.positions()
    far = model.every_prefix(x, y, steps=7)
    torch.testing.assert_close(far[:4], model.every_prefix(x, y), **EXACT)
    torch.testing.assert_close(far[1:], model.passes(x, y, 7), **EXACT)
    torch.testing.assert_close(far[3], model.last_every_prefix(x, y), **EXACT)
    assert model.every_prefix(x, y, steps=0).shape == (1, 2, 3, 5)


def test_impossible_loops_are_refused():
    model, prompt = drawn(), sample().prompt
    with pytest.raises(ValueError, match="n_loops=0 must be >= 1"):
        drawn(n_loops=0)
    with pytest.raises(ValueError, match="n_heads=3 must divide width=8"):
        drawn(n_heads=3)
    with pytest.raises(ValueError, match=r"window=4 must be in 1..3"):
        model.windowed(prompt, n_loops=3, window=4)
    with pytest.raises(ValueError, match=r"window=0 must be in 1..0"):
        model.windowed(prompt, n_loops=0, window=0)
    with pytest.raises(ValueError, match="steps=-1 must be >= 0"):
        model(prompt, steps=-1)
