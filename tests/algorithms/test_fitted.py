"""The learners of scikit-learn: on problems whose answer is known, and bad values."""

import pytest
import torch

from icl.algorithms.decision_tree import DecisionTree
from icl.algorithms.gradient_boosting import GradientBoosting
from icl.algorithms.lasso import Lasso
from icl.algorithms.least_squares import LeastSquares
from icl.core import Prompt


def test_lasso_finds_a_sparse_function_that_least_squares_does_not(draw):
    x, query = draw.normal(40, 10, 20), draw.normal(40, 20)
    w = torch.zeros(20, dtype=torch.float64)
    w[:3] = torch.tensor([1.0, -2.0, 1.5])
    prompt = Prompt(x, x @ w, query)
    error = {p: (p(prompt)[-1] - query @ w).square().mean() for p in (Lasso(alpha=0.01), LeastSquares())}
    lasso, least = error.values()
    assert lasso < 0.3 * least


def test_lasso_satisfies_its_optimality_conditions(draw):
    x, y = draw.normal(1, 30, 4), draw.normal(1, 30)
    basis = torch.eye(4, dtype=torch.float64)
    w = torch.stack([Lasso(alpha=0.05)(Prompt(x, y, basis[None, i : i + 1]))[-1, 0, 0] for i in range(4)])
    gradient = x[0, 0].T @ (x[0, 0] @ w - y[0, 0]) / 30
    active = w.abs() > 1e-8
    torch.testing.assert_close(gradient[active], -0.05 * w[active].sign(), rtol=1e-2, atol=1e-3)
    assert (gradient[~active].abs() <= 0.05 + 1e-3).all()


@pytest.mark.parametrize("predictor", [DecisionTree(max_depth=None), GradientBoosting(n_trees=200, shrinkage=0.3)])
def test_trees_remember_what_they_saw(predictor, draw):
    x, y = draw.normal(3, 12, 2), draw.normal(3, 12)
    guess = predictor(Prompt(x, y, x[:, :, 4]))[-1]
    torch.testing.assert_close(guess, y[:, :, 4], rtol=1e-2, atol=1e-2)


def test_impossible_values_are_refused():
    for build in (lambda: Lasso(alpha=0.0), lambda: DecisionTree(max_depth=0), lambda: GradientBoosting(n_trees=0)):
        with pytest.raises(ValueError, match="must be"):
            build()


def test_a_step_of_boosting_is_a_tree(draw):
    x, y, query = draw.normal(2, 12, 3), draw.normal(2, 12), draw.normal(2, 3)
    trajectory = GradientBoosting(n_trees=5)(Prompt(x, y, query))
    assert trajectory.shape == (6, 1, 2)
    for n in (1, 3, 5):
        alone = GradientBoosting(n_trees=n)(Prompt(x, y, query))[-1]
        torch.testing.assert_close(trajectory[n], alone)
    with pytest.raises(ValueError, match=r"steps=6 must be in 0..5"):
        GradientBoosting(n_trees=5)(Prompt(x, y, query), steps=6)


@pytest.mark.parametrize("n_context", [1, 5, 12])
def test_trees_and_lasso_are_those_of_scikit_learn(n_context, draw):
    """What is passed on and read back: each against its own class, called by hand."""
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import Lasso as SkLasso
    from sklearn.tree import DecisionTreeRegressor

    x, y, query = draw.normal(3, n_context, 4), draw.normal(3, n_context), draw.normal(3, 4)
    pairs = {
        Lasso(alpha=0.1): SkLasso(alpha=0.1, fit_intercept=False, max_iter=100_000),
        DecisionTree(max_depth=2, seed=1): DecisionTreeRegressor(max_depth=2, random_state=1),
        GradientBoosting(n_trees=4, max_depth=2): GradientBoostingRegressor(
            n_estimators=4, max_depth=2, learning_rate=0.1, random_state=0
        ),
    }
    for ours, theirs in pairs.items():
        found = ours(Prompt(x, y, query))[-1, 0]
        for b in range(3):
            expected = theirs.fit(x[0, b].numpy(), y[0, b].numpy()).predict(query[0, b : b + 1].numpy())[0]
            assert found[b].item() == pytest.approx(expected, rel=1e-10)
