"""What is said of a looped layer's matrix: on matrices of which everything is known."""

import pytest
import torch
from looped import DRAW, PLAIN, SKEWED, looped

from icl.algorithms.gradient_descent import GradientDescent
from icl.comparisons.tied_matrix import TiedMatrix, own_matrix
from icl.comparisons.walk import compare
from icl.config import ConfigError
from icl.core import last_step
from icl.models.preconditioned_attention import PreconditionedAttention
from icl.theory.rotation import curvature
from icl.theory.rotation_fits import planes
from tolerances import EXACT


def measured(matrices, task, n_loops=4, n_prompts=20_000, n_draws=1):
    reference = GradientDescent.best_tied_for(task=task, steps=n_loops)
    comparison = TiedMatrix(n_prompts=n_prompts, n_fit=4000, n_draws=n_draws)
    return compare(comparison, looped(matrices, task, n_loops).requires_grad_(False), reference, task, DRAW)


@pytest.mark.parametrize("task", [PLAIN, SKEWED], ids=["plain", "skewed"])
def test_a_known_rotation_has_the_gain_of_the_family(task):
    scalar = GradientDescent.best_tied_for(task=PLAIN, steps=4).step_size
    found = measured([planes(scalar, 0.0, scalar, 5), planes(0.72, 0.355, 0.69, 5)], task).numbers
    assert found["gain"][0].abs() < 1e-9
    assert found["gain"][1] == pytest.approx(0.092, abs=0.02)
    assert found["gain_over_symmetric"][1] == pytest.approx(0.092, abs=0.025)
    assert found["gain_over_own"][1] > found["gain"][1]  # β without the rotation is not the best scalar
    assert found["gain_t"][1] > 8
    assert found["angle_least"].tolist() == pytest.approx([0, 0.355], abs=1e-9)
    assert found["angle_largest"].tolist() == pytest.approx([0, 0.355], abs=1e-9)
    assert found["step_size_ratio"][0] == pytest.approx(1, rel=1e-9)
    assert found["mean_diagonal"][1] == pytest.approx((4 * 0.72 + 0.69) / 5)
    assert found["distance_to_scalar"][0] == pytest.approx(0, abs=1e-9)
    A = planes(0.72, 0.355, 0.69, 5)
    assert found["rotation_share"][1] == pytest.approx(((A - A.T).norm() / 2 / A.norm()).item())
    assert found["curvature"].tolist() == pytest.approx([curvature(20, 5, 4)] * 2)


def test_the_median_and_the_quantiles_are_of_the_same_losses():
    found = measured([planes(0.72, 0.355, 0.69, 5)], PLAIN)
    curve = found.curves["quantiles"]
    middle = list(curve.x).index(0.5)
    assert found.numbers["median_gain"][0] == pytest.approx(
        1 - curve.model[0][middle] / curve.reference[0][middle], abs=1e-3
    )


def test_several_draws_are_judged_one_by_one_and_together():
    A = [planes(0.72, 0.355, 0.69, 5), planes(0.7, 0.0, 0.7, 5)]
    one, three = (measured(A, PLAIN, n_prompts=3000, n_draws=n) for n in (1, 3))
    assert torch.equal(one.numbers["gain_over_symmetric_least"], one.numbers["gain_over_symmetric"])
    assert one.numbers["gain_over_symmetric_spread"].tolist() == [0, 0]
    least, spread = (three.numbers[f"gain_over_symmetric_{name}"] for name in ("least", "spread"))
    assert (least <= one.numbers["gain_over_symmetric"]).all()  # the first draw is the same
    assert (spread > 0).all()
    assert (
        (least <= three.numbers["gain_over_symmetric"]) & (three.numbers["gain_over_symmetric"] <= least + spread)
    ).all()
    assert (one.n_prompts, three.n_prompts) == (3000, 9000)


@pytest.mark.parametrize("task", [PLAIN, SKEWED], ids=["plain", "skewed"])
def test_the_own_matrix_says_what_the_model_answers(task, draw):
    """E over queries aside: the error of one prompt is uᵀ (I − A S)^L v in white coordinates."""
    A = planes(0.6, 0.3, 0.5, 5) + 0.05 * draw.normal(5, 5)[0]
    model = looped([A], task)
    torch.testing.assert_close(own_matrix(model, task)[0], A, **EXACT)
    sample = task.sample(6, draw)
    T = task.mixing()
    z, u = (torch.linalg.solve(T, v.mT).mT for v in (sample.prompt.x[0], sample.prompt.x_query[0]))
    residual = torch.linalg.matrix_power(torch.eye(5).to(A) - A @ (z.mT @ z / 20), 4)
    error = torch.einsum("bd,bde,be->b", u, residual, sample.w_star[0] @ T)
    torch.testing.assert_close((sample.target - last_step(model, sample.prompt))[0], error, **EXACT)


def test_models_that_are_no_looped_layer_are_refused():
    untied = PreconditionedAttention(dim=5, n_layers=4)
    moving = PreconditionedAttention(dim=5, n_layers=4, tied=True, x_update=True)
    for model in (untied, moving):
        with pytest.raises(ConfigError, match="tied=true and x_update=false"):
            own_matrix(model, PLAIN)
    with pytest.raises(ValueError, match="n_prompts=1 must be >= 2"):
        TiedMatrix(n_prompts=1)
    with pytest.raises(ValueError, match="n_draws=0 must be >= 1"):
        TiedMatrix(n_draws=0)
