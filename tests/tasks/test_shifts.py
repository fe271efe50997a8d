"""What every shift does to context and query; the list of a task's shifts; bad input."""

import math
from dataclasses import replace

import pytest
import torch

from icl.algorithms.least_squares import LeastSquares
from icl.core import last_step
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.shifts import OF_THE_QUERY, shifts_of
from icl.tasks.tree_regression import TreeRegression

TASK = LinearRegression(dim=6, n_context=4)


def prompts(shift, n=2000, **fields):
    return replace(TASK, shift=shift, **fields).sample(n, Draw([0, 1], "shift", dtype=torch.float64))


def least_squares_mse(shift, **fields):
    sample = prompts(shift, **fields)
    return (last_step(LeastSquares(), sample.prompt) - sample.target).square()


@pytest.mark.parametrize("shift", ["random_quadrants", "orthogonal", "overlapping", "half_subspace", "skewed"])
def test_labels_are_those_of_the_moved_inputs_and_the_second_moment_stays(shift):
    sample = prompts(shift, n=20_000)
    torch.testing.assert_close(torch.einsum("mbnd,mbd->mbn", sample.prompt.x, sample.w_star), sample.prompt.y)
    torch.testing.assert_close((sample.prompt.x_query * sample.w_star).sum(-1), sample.target)
    for x in (sample.prompt.x[:, :, 0], sample.prompt.x_query):
        assert x.square().sum(-1).mean().item() == pytest.approx(6, rel=0.03)
    covariance = torch.einsum("mbd,mbe->de", sample.prompt.x_query, sample.prompt.x_query) / 40_000
    assert (covariance - torch.eye(6).double()).abs().max() < 0.05  # over prompts no direction is special


def test_a_quadrant_is_that_of_the_whole_context_and_not_of_the_query():
    sample = prompts("random_quadrants").prompt
    signs = sample.x.sign()
    assert (signs == signs[:, :, :1]).all()
    assert (signs[0] != signs[1]).any()
    agreement = (sample.x_query.sign() == signs[:, :, 0]).double().mean().item()
    assert agreement == pytest.approx(0.5, abs=0.02)


def test_an_orthogonal_query_teaches_least_squares_nothing():
    """Then ŷ = 0 and the error is E y² = D, at every length of the context: spec, "OLS gives exactly 1"."""
    for n_context in (1, 5):
        sample = prompts("orthogonal", n_context=n_context)
        inner = torch.einsum("mbnd,mbd->mbn", sample.prompt.x, sample.prompt.x_query)
        assert inner.abs().max() < 1e-10
        assert last_step(LeastSquares(), sample.prompt).abs().max() < 1e-10


def test_an_overlapping_query_is_known_to_least_squares():
    sample = prompts("overlapping").prompt
    same = (sample.x == sample.x_query[:, :, None]).all(-1)
    assert (same.sum(-1) == 1).all()
    assert same.double().mean((0, 1)).tolist() == pytest.approx([0.25] * 4, abs=0.05)
    assert least_squares_mse("overlapping").max() < 1e-15


def test_half_a_subspace_is_learned_from_half_the_points():
    assert least_squares_mse("half_subspace", n_context=3).max() < 1e-10
    sample = prompts("half_subspace", n=50).prompt
    everything = torch.cat([sample.x, sample.x_query[:, :, None]], 2)
    assert (torch.linalg.matrix_rank(everything) == 3).all()


def test_skewed_inputs_have_eigenvalues_as_stated():
    """E x xᵀ given U has eigenvalues e², so the spectrum of many points of one prompt is theirs."""
    x = prompts("skewed", n=1, n_context=200_000).prompt.x[0, 0]
    e = torch.linalg.eigvalsh(x.T @ x / len(x)).flip(0)
    expected = 1 / torch.arange(1.0, 7.0).double().square()
    torch.testing.assert_close(e, 6 * expected / expected.sum(), rtol=0.03, atol=0)


def test_every_shift_of_a_task_by_name():
    shifts = shifts_of(replace(TASK, positions="every", n_active=3))
    scales = {f"scale_{axis}_{name}" for axis in "xy" for name in ("third", "half", "twice", "thrice")}
    named = {"random_quadrants", "orthogonal", "overlapping", "half_subspace", "skewed"}
    assert set(shifts) == {"none", "noisy"} | named | scales
    assert shifts["none"] == TASK
    assert shifts["scale_x_third"].input_scale == pytest.approx(1 / 3)
    assert "orthogonal" not in shifts_of(replace(TASK, n_context=6))
    assert shifts_of(TreeRegression(dim=6, n_context=4))["skewed"].sample(3, Draw([0], "t")).target.shape == (1, 3)


def test_noisy_labels_keep_their_variance():
    """Noise 1, labels scaled back: the trivial level against the shown labels is 1 + 1/d of the clean one."""
    task = shifts_of(TASK)["noisy"]
    sample = task.sample(50_000, Draw([0], "noisy", dtype=torch.float64))
    assert sample.prompt.y.square().mean().item() == pytest.approx(6, rel=0.02)
    assert sample.target.square().mean().item() == pytest.approx(6 / (1 + 1 / 6), rel=0.02)
    assert task.noise_std / task.weight_scale == pytest.approx(1.0)
    assert math.isfinite(task.bayes_half_mse())


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"shift": "orthogonal", "n_context": 6}, "n_context=6 < dim=6"),
        ({"shift": "skewed", "n_active": 3}, "n_active=3 must be null"),
        ({"shift": "half_subspace", "dim": 1}, "dim=1 >= 2"),
        *(({"shift": shift, "positions": "every"}, "positions=every must be query") for shift in OF_THE_QUERY),
    ],
)
def test_impossible_shifts_are_refused(fields, line):
    with pytest.raises(ValueError, match=line):
        replace(TASK, **fields)
