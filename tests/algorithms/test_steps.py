"""What all algorithms share: the guess before anything is read, and how a step finds its constant."""

import pytest
import torch

from icl.algorithms.averaging import Averaging
from icl.algorithms.bayes import Bayes
from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.ridge import Ridge
from icl.algorithms.steps import asked_for, check_returns, each_step
from icl.core import Prompt
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.weight_prediction import WeightPrediction
from tolerances import EXACT

ALL = [
    Averaging(),
    Bayes(noise_std=0.0),
    Bayes(noise_std=0.3),
    GradientDescent(step_size=0.1),
    GradientDescentPlusPlus(step_size=0.1, curvature_step_size=0.1),
    LeastSquares(),
    Ridge(ridge=0.1),
]


@pytest.mark.parametrize("algorithm", ALL, ids=repr)
@pytest.mark.parametrize("out", [(), (2,)])
def test_without_context_the_answer_is_the_prior_guess(algorithm, out, draw):
    prompt = Prompt(draw.normal(3, 0, 4), draw.normal(3, 0, *out), draw.normal(3, 4))
    assert algorithm(prompt).shape == (2, 1, 3, *out)
    torch.testing.assert_close(algorithm(prompt), torch.zeros(2, 1, 3, *out).double(), **EXACT)


def test_a_constant_is_for_every_step_and_a_sequence_has_one_a_step():
    assert each_step("a", 0.5, 3) == [0.5, 0.5, 0.5]
    assert each_step("a", [1.0, 2.0, 3.0], 2) == [1.0, 2.0]
    assert each_step("a", 0.5, 0) == []


def test_an_answer_is_what_the_task_asks_for():
    assert asked_for(LinearRegression(dim=2, n_context=3)) == "prediction"
    assert asked_for(WeightPrediction(dim=2, n_context=3)) == "weights"
    check_returns("weights")
    with pytest.raises(ValueError, match="returns=votes must be prediction or weights"):
        check_returns("votes")
