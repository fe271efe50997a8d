"""The step of a loop where it is known: looped linear layers with a rotation and without, and gradient descent."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.config import ConfigError
from icl.models.preconditioned_attention import PreconditionedAttention
from icl.probes.loop_step import LoopStep, Moments
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.theory.rotation_fits import planes
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=8)
PROBE = LoopStep(n_contexts=12, n_questions=20)


def looped(*matrices):
    """A bank of looped linear layers, one a matrix η."""
    model = PreconditionedAttention(
        dim=3, n_layers=4, tied=True, n_seeds=len(matrices), dtype=torch.float64
    )  # three loops more than are stored
    with torch.no_grad():
        model.A.copy_(-torch.stack(matrices)[:, None])
    return model


def test_a_rotation_is_found_and_what_it_is(draw):
    rotated, skewed = planes(0.6, 0.3, 0.5, 3), torch.diag(torch.tensor([0.3, 0.5, 0.7]).double())
    found = PROBE.measure(looped(rotated, skewed), TASK, draw).numbers
    ones = torch.ones(2).double()
    for name in ("matrix", "one_matrix", "linear"):
        torch.testing.assert_close(found[name], ones, **EXACT)
    torch.testing.assert_close(found["turn"], torch.tensor([0.5, 0.0]).double(), **EXACT)
    assert found["symmetric"][0] < 0.99
    assert found["one_rotation_gain"][0] > 0.01
    torch.testing.assert_close(found["symmetric"][1], ones[1], **EXACT)
    torch.testing.assert_close(found["rotation_gain"][1], 0 * ones[1], **EXACT)
    assert (found["scalar"] < 0.99).all()


def test_gradient_descent_is_a_scalar(draw):
    found = PROBE.measure(GradientDescent(step_size=0.4, steps=3), TASK, draw).numbers
    torch.testing.assert_close(found["scalar"], torch.ones(1).double(), **EXACT)
    torch.testing.assert_close(found["turn"], torch.zeros(1).double(), **EXACT)


def test_fits_are_the_least_squares_of_their_kind():
    """Against the gradient: nothing of the same kind leaves less."""
    draw = Draw([0], "moments", dtype=torch.float64)
    R, S = draw.normal(3, 2, 6, 3, 3)[0], draw.normal(6, 3, 3)[0]
    moments = Moments.of(R, S @ S.mT)
    change, before = R[:-1] - R[1:], S @ S.mT @ R[:-1]
    for A, inside in (
        (moments.matrix(), lambda g: g),
        (moments.symmetric(), lambda g: g + g.mT),
        (moments.scalar(), lambda g: g.diagonal(dim1=-2, dim2=-1).sum(-1)),
    ):
        A = A.clone().requires_grad_()
        left = (change - A[:, :, None] @ before).square().sum((2, 3, 4))
        torch.testing.assert_close(left, moments.left(A), rtol=1e-9, atol=1e-9)
        (gradient,) = torch.autograd.grad(left.sum(), A)
        assert inside(gradient).abs().max() < 1e-7


def test_the_share_of_a_learner_that_is_not_linear_needs_its_degrees_of_freedom(draw):
    """A guess of pure noise has no linear part, whatever 9 numbers a context may fit to 20 questions."""

    def noise(prompt):
        values = draw.at(5, "noise").normal(prompt.x.shape[1])[0]
        return torch.stack([0 * values, values])[:, None]

    share = LoopStep(n_contexts=300, n_questions=20).measure(noise, TASK, draw).numbers["linear"]
    assert share.abs().max() < 0.1


def test_bad_input(draw):
    with pytest.raises(ConfigError, match="n_questions=9 must be > 9"):
        LoopStep(n_questions=9).measure(looped(torch.eye(3).double()), TASK, draw)
    with pytest.raises(ConfigError, match=r"one w\* a prompt"):
        PROBE.measure(looped(torch.eye(3).double()), LinearRegression(dim=3, n_context=8, target="relu"), draw)
    with pytest.raises(ConfigError, match="takes no step"):
        PROBE.measure(GradientDescent(step_size=0.4, steps=0), TASK, draw)
    with pytest.raises(ValueError, match="n_contexts=1 and"):
        LoopStep(n_contexts=1)
