"""Wishart moments against closed forms, duality, and sampled covariances."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icl.theory.wishart import expected_traces, moment

sizes = st.integers(1, 12)


@given(n=sizes, d=sizes)
@settings(max_examples=25, deadline=None)
def test_low_moments_have_their_known_polynomials(n, d):
    assert expected_traces((1,), n, d) == n * d
    assert expected_traces((2,), n, d) == n * d * (n + d + 1)
    assert expected_traces((3,), n, d) == n * d * (n**2 + d**2 + 3 * n * d + 3 * n + 3 * d + 4)
    assert expected_traces((1, 1), n, d) == n * d * (n * d + 2)
    assert expected_traces((0, 0, 1), n, d) == d**2 * n * d


@given(n=sizes, d=sizes, powers=st.lists(st.integers(1, 4), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_context_and_dimension_may_be_swapped(n, d, powers):
    """tr (XᵀX)ᵏ = tr (XXᵀ)ᵏ, which the recursion does not know."""
    assert expected_traces(tuple(powers), n, d) == expected_traces(tuple(powers), d, n)


@given(n=sizes, powers=st.lists(st.integers(0, 5), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_one_dimension_is_chi_squared(n, powers):
    assert expected_traces(tuple(powers), n, 1) == math.prod(n + 2 * j for j in range(sum(powers)))


@pytest.mark.parametrize("powers", [(1,), (4,), (1, 2), (2, 3), (1, 1, 2)])
def test_sampled_covariances_have_these_moments(powers, draw):
    x = draw.normal(100_000, 5, 3)[0]
    eigenvalues = torch.linalg.eigvalsh(x.mT @ x)
    sampled = torch.stack([(eigenvalues**m).sum(-1) for m in powers]).prod(0)
    z = (sampled.mean() - expected_traces(powers, 5, 3)) / (sampled.std() / len(sampled) ** 0.5)
    assert abs(z) < 4


def test_moments_are_normalised_by_context_and_dimension():
    assert moment(0, 7, 3) == 1
    assert moment(1, 7, 3) == 1
    assert moment(2, 20, 5) == pytest.approx(26 / 20, rel=1e-15)
