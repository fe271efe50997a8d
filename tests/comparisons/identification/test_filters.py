"""Every candidate in the eigenbasis against the algorithm on the prompt, at every step and every prefix, in float64."""

import dataclasses

import pytest
import torch

from icl.algorithms.averaging import Averaging
from icl.algorithms.chebyshev import Chebyshev
from icl.algorithms.conjugate_gradient import ConjugateGradient
from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.algorithms.iterative_newton import IterativeNewton
from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.line_search_descent import LineSearchDescent
from icl.algorithms.momentum import Momentum
from icl.algorithms.nesterov import Nesterov
from icl.algorithms.ridge import Ridge
from icl.comparisons.identification import descents, filters, preconditioned
from icl.comparisons.identification.slots import drawn, joined
from icl.core import Prompt, every_prefix
from icl.tasks.linear_regression import LinearRegression

TASK = LinearRegression(dim=4, n_context=9, positions="every", noise_std=0.3)
CLOSE = {"rtol": 1e-7, "atol": 1e-9}  # through an eigendecomposition, contexts close to singular among the prefixes


class OnSum:
    """Gradient descent whose step is not divided by the number of pairs."""

    def __init__(self, step_size, steps):
        self.step_size, self.steps = step_size, steps

    def __call__(self, prompt, *, steps=None):
        own = GradientDescent(step_size=self.step_size * max(prompt.x.shape[2], 1), steps=self.steps)
        return own(prompt, steps=steps)


CASES = {
    "averaging": (filters.Averaging(), (1,), [], Averaging()),
    "least_squares": (filters.LeastSquares(), (1,), [], LeastSquares()),
    "ridge": (filters.Ridge(), (1,), [0.4], Ridge(ridge=0.4)),
    "gradient_descent": (filters.GradientDescent(), (1, 2, 5), [0.3], GradientDescent(step_size=0.3, steps=5)),
    "on_sum": (filters.GradientDescentOnSum(), (1, 2, 5), [0.03], OnSum(0.03, 5)),
    "newton": (filters.IterativeNewton(), (1, 2, 7), [], IterativeNewton(steps=7)),
    "momentum": (descents.Momentum(), (1, 2, 6), [0.2, 0.7], Momentum(step_size=0.2, momentum=0.7, steps=6)),
    "nesterov": (descents.Nesterov(), (1, 2, 6), [0.2, 0.7], Nesterov(step_size=0.2, momentum=0.7, steps=6)),
    "plus_plus": (
        descents.GradientDescentPlusPlus(), (1, 2, 4), [0.3, 0.1],
        GradientDescentPlusPlus(step_size=0.3, curvature_step_size=0.1, steps=4),
    ),
    "chebyshev": (descents.Chebyshev(), (1, 2, 6), [0.3, 2.5], Chebyshev(low=0.3, high=2.5, steps=6)),
    "conjugate_gradient": (descents.ConjugateGradient(), (1, 2, 3), [], ConjugateGradient(steps=3)),
    "exact": (descents.ExactLineSearch(), (1, 2, 5), [], LineSearchDescent(rule="exact", steps=5)),
    "polyak": (descents.PolyakSteps(), (1, 2, 5), [], LineSearchDescent(rule="polyak", steps=5)),
    "armijo": (descents.ArmijoSteps(), (1, 2, 5), [], LineSearchDescent(rule="armijo", steps=5)),
}  # fmt: skip


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_candidate_is_its_algorithm_at_every_step(name, every, draw):
    family, steps, values, algorithm = CASES[name]
    slots = joined(drawn(TASK, 40, every, draw))
    column = torch.tensor(values, dtype=torch.float64)[:, None]
    guesses = torch.cat(list(family.guesses(slots, steps, column)))
    if every:
        truth = every_prefix(algorithm, *slots.prompt.positions())[list(steps), 0, :, 1:]
    else:
        truth = algorithm(slots.prompt)[list(steps), 0][..., None]
    torch.testing.assert_close(guesses, truth, **CLOSE)


@pytest.mark.parametrize("every", [True, False])
def test_a_matrix_is_preconditioned_gradient_descent(every, draw):
    gamma = 0.3 * torch.eye(4).double() + 0.05 * draw.normal(4, 4)[0]
    slots = joined(drawn(TASK, 40, every, draw))
    family = preconditioned.PreconditionedGradientDescent()
    guesses = torch.cat(list(family.guesses(slots, (1, 2, 3), gamma.flatten()[:, None])))
    algorithm = GradientDescent(step_size=1.0, steps=3, preconditioner=gamma)
    if every:
        truth = every_prefix(algorithm, *slots.prompt.positions())[1:, 0, :, 1:]
    else:
        truth = algorithm(slots.prompt)[1:, 0][..., None]
    torch.testing.assert_close(guesses, truth, **CLOSE)


def test_many_members_are_the_members_one_by_one(draw):
    slots = joined(drawn(TASK, 30, True, draw))
    values = torch.tensor([[0.1, 0.4, 0.8], [0.0, 0.3, 0.6]]).double()
    together = list(descents.Momentum().guesses(slots, (2, 4), values))
    for g in range(3):
        alone = list(descents.Momentum().guesses(slots, (2, 4), values[:, g : g + 1]))
        for many, one in zip(together, alone, strict=True):
            torch.testing.assert_close(many[g], one[0], rtol=1e-12, atol=1e-12)


def test_the_target_of_a_place_is_its_own_label(draw):
    slots = joined(drawn(dataclasses.replace(TASK, noise_std=0), 30, True, draw))
    labels = torch.cat([slots.prompt.y[0, :, 1:], slots.target[:, -1:]], 1)
    torch.testing.assert_close(slots.target, labels)
    query = joined(drawn(dataclasses.replace(TASK, positions="query"), 30, False, draw))
    assert query.target.shape == (30, 1)


def test_prompts_in_pieces_are_the_prompts(draw, monkeypatch):
    from icl.comparisons.identification import slots as module

    whole = joined(drawn(TASK, 20, True, draw)).spectra
    monkeypatch.setattr(module, "MOMENT_FLOATS", 1)
    pieces = joined(drawn(TASK, 20, True, draw)).spectra
    torch.testing.assert_close(whole.eigenvalues, pieces.eigenvalues)
    torch.testing.assert_close((whole.query * whole.labelled).abs(), (pieces.query * pieces.labelled).abs())


def test_fewer_pairs_than_dimensions_leave_no_eigenvalue(draw):
    slots = joined(drawn(TASK, 20, True, draw))
    counts = (slots.spectra.eigenvalues > 0).sum(-1)
    assert (counts == torch.arange(1, 10).clamp(max=4)).all()
    assert isinstance(slots.prompt, Prompt)
