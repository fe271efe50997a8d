"""Re-application against gradient descent and a plain loop over tokens; stability against eigenvalues."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.least_squares import LeastSquares
from icl.comparisons.reapplied import Reapplied, unstable
from icl.comparisons.walk import chunks, compare
from icl.constructions.linear_attention_as_gd import linear_attention_as_gd
from icl.models.linear_attention import LinearAttention
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=6, inputs="uniform")
STEP = TASK.best_step_size()


def bank(draw, noise, n_seeds=2):
    model = LinearAttention(dim=3, n_seeds=n_seeds, dtype=torch.float64)
    state = linear_attention_as_gd(dim=3, n_context=6, step_size=STEP)
    model.load_state_dict({name: weight.expand(n_seeds, *weight.shape[1:]) for name, weight in state.items()})
    for weight in model.parameters():
        weight.data += noise * draw.normal(*weight.shape)[0]
    return model


def test_a_layer_that_is_the_step_stays_the_step(draw):
    measured = compare(Reapplied(n_prompts=200, steps=15), bank(draw, 0.0), GradientDescent(step_size=STEP), TASK, draw)
    for name in ("median_ratio_worst", "mean_ratio_worst_10", "stable_mean_ratio_worst"):
        assert measured.numbers[name].abs().max() < 1e-8
    assert measured.curves["median"].x == list(range(1, 16))


def test_losses_are_those_of_a_plain_loop_over_tokens(draw):
    """Only y moves, by `damping` times the layer's update; the reference takes steps of `damping` η."""
    model, damping, steps = bank(draw, 0.03), 0.6, 12
    comparison = Reapplied(n_prompts=50, steps=steps, damping=damping)
    measured = compare(comparison, model, GradientDescent(step_size=STEP), TASK, draw)
    (sample,) = chunks(TASK, 50, 2, draw)
    tokens, losses = model.tokens(sample.prompt).detach(), []
    for _ in range(steps):
        tokens[..., -1] += damping * model.update(tokens, 0)[..., -1].detach()
        losses.append((tokens[:, :, -1, -1] + sample.target) ** 2 / 2)
    mine = torch.stack(losses)
    step = GradientDescent(step_size=damping * STEP, steps=steps)
    reference = (step(sample.prompt)[1:] - sample.target) ** 2 / 2
    stable = ~unstable(sample.prompt, damping * STEP, None)[0]

    def worst(a, b):
        return (a / b - 1).abs().amax(0)

    expected = {
        "median_ratio_worst": worst(mine.median(-1).values, reference.median(-1).values),
        "mean_ratio_worst_10": worst(mine[:10].mean(-1), reference[:10].mean(-1)),
        "stable_mean_ratio_worst": worst(mine[..., stable].mean(-1), reference[..., stable].mean(-1)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(measured.numbers[name], value, rtol=1e-8, atol=0)
    curve = torch.tensor(measured.curves["mean"].model, dtype=torch.float64)
    torch.testing.assert_close(curve, mine.mean(-1).T, rtol=1e-8, atol=0)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_unstable_is_an_eigenvalue_beyond_two_steps(preconditioned, draw):
    task = LinearRegression(dim=4, n_context=6)
    prompt = task.sample(400, draw).prompt
    root = torch.eye(4).double() + 0.3 * draw.normal(4, 4)[0]
    gamma = root @ root.T if preconditioned else None
    gram = torch.einsum("mbni,mbnj->mbij", prompt.x, prompt.x) / 6
    moved = torch.eye(4) - 0.8 * (gram if gamma is None else gamma @ gram)
    radius = torch.linalg.eigvals(moved).abs().amax(-1)
    found = unstable(prompt, 0.8, gamma)
    assert torch.equal(found, radius > 1)
    assert 0.02 < found.double().mean() < 0.98


def test_an_unstable_prompt_diverges_and_a_stable_one_converges(draw):
    task = LinearRegression(dim=4, n_context=8)
    prompt = task.sample(300, draw).prompt
    w_norm = GradientDescent(step_size=0.8, steps=4000)
    final, far = (w_norm(prompt, steps=s)[-1] for s in (2000, 4000))
    diverged = ~(far - final).isfinite() | ((far - final).abs() > 1)
    assert torch.equal(diverged, unstable(prompt, 0.8, None))


def test_unstable_share_is_of_prompts(draw):
    task = LinearRegression(dim=3, n_context=6)
    measured = compare(
        Reapplied(n_prompts=500, steps=2, damping=1.0),
        bank(draw, 0.0),
        GradientDescent(step_size=0.9),
        task,
        draw,
    )
    share = torch.cat([unstable(s.prompt, 0.9, None) for s in chunks(task, 500, 2, draw)], 1).double().mean()
    assert 0 < share < 1
    torch.testing.assert_close(measured.numbers["unstable_share"], share.expand(2), **EXACT)


def test_an_overflowing_prompt_does_not_spoil_the_median(draw):
    """Far from its step the layer explodes on some prompts only."""
    model = bank(draw, 0.03, n_seeds=1)
    task = LinearRegression(dim=3, n_context=6, inputs="uniform", input_scale=1.3)
    measured = compare(Reapplied(n_prompts=400, steps=50), model, GradientDescent(step_size=STEP), task, draw)
    assert not torch.tensor(measured.curves["mean"].model[0][-1]).isfinite()
    assert measured.numbers["median_ratio_worst"].isfinite().all()


def test_other_models_and_references_are_refused(draw):
    deep = LinearAttention(dim=3, n_layers=2, dtype=torch.float64)
    with pytest.raises(ValueError, match="LinearAttention is not one layer"):
        compare(Reapplied(n_prompts=5), deep, GradientDescent(step_size=STEP), TASK, draw)
    for reference in (LeastSquares(), GradientDescent(step_size=[STEP, STEP], steps=2)):
        with pytest.raises(ValueError, match="no gradient descent with one constant step"):
            compare(Reapplied(n_prompts=5), bank(draw, 0.0), reference, TASK, draw)
    crooked = GradientDescent(step_size=STEP, preconditioner=-torch.eye(3).double())
    with pytest.raises(ValueError, match="symmetric positive definite"):
        compare(Reapplied(n_prompts=5), bank(draw, 0.0), crooked, TASK, draw)
    for bad in ({"steps": 0}, {"damping": 0.0}, {"damping": 1.5}, {"n_prompts": 0}):
        with pytest.raises(ValueError, match="must be"):
            Reapplied(**bad)
