"""Who diverges: the spectral radius against λ_max, and against looping on."""

import pytest
import torch

from icl.theory.rotation import empirical_covariances, residual_norms
from icl.theory.rotation_fits import planes
from icl.theory.stability import UnstableSteps, unstable, warn_if_unstable


def test_a_scalar_diverges_where_the_largest_eigenvalue_exceeds_two_over_its_step(draw):
    S = empirical_covariances(draw.normal(500, 8, 4)[0])
    eta = 0.9
    expected = torch.linalg.eigvalsh(S)[:, -1] > 2 / eta
    assert torch.equal(unstable(eta * torch.eye(4, dtype=torch.float64), S), expected)
    assert 0 < expected.sum() < 500


def test_a_rotation_diverges_where_its_residual_grows(draw):
    S = empirical_covariances(draw.normal(300, 8, 4)[0])
    A = planes(0.8, 0.35, 0.8, 4)
    found = unstable(A, S)
    assert torch.equal(found, residual_norms(A, S, 800) > 1)
    assert 0 < found.sum() < 300


def test_a_share_above_one_in_a_thousand_is_a_warning():
    warn_if_unstable(1e-3, "a step")
    with pytest.warns(UnstableSteps, match=r"step_size=0.9 diverges on 2.3 % of the tasks"):
        warn_if_unstable(0.023, "step_size=0.9")
