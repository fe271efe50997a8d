"""Step matching where the answer is known: algorithms against themselves at other sizes, and models that are steps."""

import dataclasses

import pytest
import torch

from icl.algorithms.conjugate_gradient import ConjugateGradient
from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.algorithms.least_squares import LeastSquares
from icl.comparisons.loss_ratio import LossRatio
from icl.comparisons.step_matching import StepMatching
from icl.comparisons.walk import compare
from icl.models.preconditioned_attention import PreconditionedAttention
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=12)
MATCH = StepMatching(factors=(0.5, 0.8, 1.0, 1.25), n_prompts=300)


def stack(sizes, n_seeds=2):
    """Layers that are plain steps of these sizes."""
    model = PreconditionedAttention(dim=3, n_layers=len(sizes), n_seeds=n_seeds, dtype=torch.float64)
    model.A.data.copy_(-torch.tensor(sizes).double()[:, None, None] * torch.eye(3).double())
    return model


def test_steps_of_another_size_are_found(draw):
    found = compare(MATCH, stack([0.4, 0.4, 0.4]), GradientDescent(step_size=0.5, steps=3), TASK, draw)
    torch.testing.assert_close(found.numbers["residual"], torch.zeros(2).double(), **EXACT)
    assert found.numbers["matched_step"].tolist() == [3, 3]
    assert found.numbers["matched_factor"].tolist() == [0.8, 0.8]
    assert found.curves["matched_step"].model == [[1.0, 2.0, 3.0]] * 2
    assert found.numbers["largest_residual"].max() < 1e-12


def test_a_model_that_is_ahead_is_matched_beyond_its_own_steps(draw):
    """Every layer of this model is two steps; reference and model are predictors alike."""
    slow = GradientDescent(step_size=0.3, steps=2)

    class Twice:
        def __call__(self, prompt, *, steps=None):
            return slow(prompt, steps=4)[::2]

    found = compare(MATCH, Twice(), slow, TASK, draw)
    assert found.curves["matched_step"].model == [[2.0, 4.0]]
    assert found.numbers["largest_residual"].item() < 1e-12


def test_the_residual_is_the_share_left_by_the_best_candidate(draw):
    """One prompt at a time, by hand, against an algorithm of another kind."""
    model, reference = stack([0.3, 0.7], n_seeds=1), GradientDescentPlusPlus(step_size=0.5, curvature_step_size=0.1)
    found = compare(MATCH, model, reference, TASK, draw)
    prompt = TASK.sample(20_000, draw.at(0)).prompt
    floats = sum(t[0, :1].numel() for t in (prompt.x, prompt.y, prompt.x_query))
    prompt = TASK.sample(2**20 // floats, draw.at(0)).prompt.chunk(0, 300)
    guess = model(prompt)[-1, 0].detach()
    left = {}
    for factor in MATCH.factors:
        for k in range(5):
            other = dataclasses.replace(reference, step_size=0.5 * factor)(prompt, steps=k)[-1, 0]
            left[factor, k] = ((guess - other).square().mean() / guess.square().mean()).item()
    factor, k = min(left, key=left.__getitem__)
    assert (found.numbers["matched_factor"].item(), found.numbers["matched_step"].item()) == (factor, k)
    assert found.numbers["residual"].item() == pytest.approx(left[factor, k], rel=1e-10)


def test_references_without_a_step_size_or_with_one_a_step(draw):
    free = GradientDescent(step_size=[0.4, 0.9], steps=2)
    found = compare(MATCH, stack([0.4, 0.9]), free, TASK, draw)
    assert found.numbers["largest_residual"].max() < 1e-12
    assert found.numbers["matched_factor"].tolist() == [1, 1]
    for reference, last in ((LeastSquares(), 1), (ConjugateGradient(), 4)):
        numbers = compare(MATCH, stack([0.4, 0.9]), reference, TASK, draw).numbers
        assert 0 < numbers["residual"].max() < 1
        assert numbers["matched_step"].max() <= last
        assert numbers["matched_factor"].tolist() == [1, 1]


def test_the_curve_of_losses_is_the_loss(draw):
    model, reference = stack([0.4, 0.9]), GradientDescent(step_size=0.5, steps=2)
    curve = compare(MATCH, model, reference, TASK, draw).curves["loss"]
    ratio = compare(LossRatio(n_prompts=300), model, reference, TASK, draw).numbers
    assert [row[-1] for row in curve.model] == pytest.approx(ratio["half_mse"].tolist(), rel=1e-10)
    assert curve.reference[0][-1] == pytest.approx(ratio["reference_half_mse"][0].item(), rel=1e-10)
    assert "loss" not in compare(MATCH, model, GradientDescent(step_size=[0.5], steps=1), TASK, draw).curves


def test_bad_options_are_refused():
    for bad in ({"n_prompts": 0}, {"factors": ()}, {"factors": (1.0, 0.0)}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            StepMatching(**bad)
