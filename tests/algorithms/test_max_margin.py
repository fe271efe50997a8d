"""Attention SVMs: optimality conditions, a slow dual ascent beside the exact solution, and infeasible ones named."""

import numpy as np
import pytest

from icl.algorithms.max_margin import Infeasible, constraints_of, least_distance, smallest_frobenius, smallest_nuclear


def problem(seed: int, n=6, length=5, dim=12, width=1):
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(n, length, dim))
    queries = np.ones((n, 1)) if width == 1 else tokens[:, 0]
    rows, _ = constraints_of(tokens, rng.integers(0, length, n), queries)
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_the_frobenius_solution_meets_its_optimality_conditions(seed):
    rows = problem(seed, n=4)
    svm = smallest_frobenius(rows)
    margins = rows @ svm.weights
    assert margins.min() > 1 - 1e-9  # feasible
    assert svm.multipliers.min() >= 0
    np.testing.assert_allclose(rows.T @ svm.multipliers, svm.weights, rtol=1e-9, atol=1e-11)  # stationary
    assert np.abs(svm.multipliers * (margins - 1)).max() < 1e-9  # complementary
    assert svm.gap < 1e-9


def test_it_is_where_a_slow_dual_ascent_ends():
    rows = problem(1, n=4)
    multipliers, gram = np.zeros(len(rows)), rows @ rows.T
    rate = 1 / np.linalg.norm(gram, 2)
    for _ in range(20_000):
        multipliers = np.maximum(0, multipliers + rate * (1 - gram @ multipliers))
    np.testing.assert_allclose(rows.T @ multipliers, smallest_frobenius(rows).weights, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_nuclear_solution_is_bounded_by_its_dual_and_is_not_the_frobenius_one(seed):
    rows = problem(seed, dim=8, width=8)
    nuclear, frobenius = smallest_nuclear(rows, (8, 8)), smallest_frobenius(rows)
    assert (rows @ nuclear.weights.ravel()).min() > 1 - 1e-9
    assert nuclear.multipliers.min() >= 0
    assert np.linalg.norm((rows.T @ nuclear.multipliers).reshape(8, 8), 2) <= 1 + 1e-9
    assert 0 <= nuclear.gap < 1e-5
    assert np.linalg.norm(nuclear.weights, "nuc") < np.linalg.norm(frobenius.weights.reshape(8, 8), "nuc")
    assert np.linalg.norm(nuclear.weights) > np.linalg.norm(frobenius.weights)


def test_of_one_column_both_are_the_same():
    rows = problem(0, n=4)
    np.testing.assert_allclose(
        smallest_nuclear(rows, (12, 1)).weights.ravel(), smallest_frobenius(rows).weights, rtol=1e-2, atol=1e-3
    )


def test_an_infeasible_problem_names_a_constraint_of_the_proof():
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -2.0, 0.0]])
    with pytest.raises(Infeasible, match=r"constraint [12] cannot be met") as error:
        smallest_frobenius(rows)
    assert error.value.constraint == 1  # u = (0, 2/3, 1/3)


def test_bounds_that_zero_meets_need_no_step():
    step, multipliers = least_distance(np.eye(2), np.array([-1.0, 0.0]))
    assert not step.any()
    assert not multipliers.any()


def test_constraints_are_differences_from_the_selected_token_times_the_query():
    tokens = np.arange(12.0).reshape(2, 3, 2)
    rows, pairs = constraints_of(tokens, np.array([1, 0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert pairs.tolist() == [[0, 0], [0, 2], [1, 1], [1, 2]]
    np.testing.assert_array_equal(rows[0].reshape(2, 2), np.outer(tokens[0, 1] - tokens[0, 0], [1.0, 2.0]))
