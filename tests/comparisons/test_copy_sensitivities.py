"""The copy layer's numbers on a layer that copies by construction, and on hand-made influences."""

import math

import pytest
import torch

from bilinear import bank
from icl.comparisons.copy_sensitivities import CopySensitivities, sensitivities
from icl.comparisons.walk import compare
from icl.config import ConfigError
from icl.models.copy_attention import CopyAttention, sinusoidal_code
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=2, n_context=4)


def copying(offset, sharpness=30.0):
    """A first layer whose token j looks at j + offset by its place alone and adds that token to itself.

    The code turns by a fixed matrix R from one place to the next, so ⟨p_i, Rᵒ p_j⟩ is largest at i = j + o.
    """
    model = CopyAttention(dim=2, code_size=10, n_seeds=1, dtype=torch.float64).requires_grad_(False)
    code = sinusoidal_code(200, 10)
    R = torch.linalg.lstsq(code[:-1], code[1:]).solution.T
    power = torch.linalg.matrix_power(R if offset > 0 else R.inverse(), abs(offset))
    model.W_K[:, 0] = torch.eye(12)
    model.W_Q[:, 0, 2:, 2:] = sharpness * power
    model.W_V[:, 0] = model.W_O[:, 0] = torch.eye(12)
    return model


@pytest.mark.parametrize(("offset", "name", "other"), [(1, "next", "previous"), (-1, "previous", "next")])
def test_a_layer_that_copies_a_neighbour_shows_in_that_neighbour_alone(offset, name, other, draw):
    """The gradient of Σ_a (e_j + e_k)_a by e_k is twelve ones; a token at an end looks at some other place."""
    numbers = compare(CopySensitivities(n_prompts=50), copying(offset), None, TASK, draw).numbers
    assert numbers[name].item() == pytest.approx(math.sqrt(12) * 7 / 8, rel=0.2)
    assert numbers["own"].item() == pytest.approx(math.sqrt(12), rel=0.2)
    assert numbers[other].item() < numbers[name].item() / 3
    assert numbers["strongest_neighbour_over_others"].item() > 5


def test_numbers_are_means_over_diagonals(draw):
    J = draw.uniform(4, 4).expand(2, -1, -1) * torch.tensor([1.0, 2.0]).double()[:, None, None]
    numbers = sensitivities(J)
    own, after, before, rest = [], [], [], []
    for j in range(4):
        for k in range(4):
            {0: own, 1: after, -1: before}.get(k - j, rest).append(J[0, j, k])
    for name, values in (("own", own), ("next", after), ("previous", before), ("others", rest)):
        mean = torch.stack(values).mean()
        torch.testing.assert_close(numbers[name], torch.stack([mean, 2 * mean]), **EXACT)
    ratio = max(numbers["next"][0], numbers["previous"][0]) / numbers["others"][0]
    torch.testing.assert_close(numbers["strongest_neighbour_over_others"], ratio.expand(2), **EXACT)


def test_a_fresh_bank_has_no_preference():
    model = CopyAttention(dim=2, n_seeds=3, dtype=torch.float64).requires_grad_(False)
    model.reset(Draw(range(3), "init", dtype=torch.float64))
    measured = compare(CopySensitivities(n_prompts=50), model, None, TASK, Draw([0], "c", dtype=torch.float64))
    assert measured.numbers["strongest_neighbour_over_others"].max() < 2
    assert len(measured.curves["by_distance"].x) == len(measured.curves["by_distance"].model[0]) == 16


def test_a_model_without_a_first_layer_is_refused(draw):
    with pytest.raises(ConfigError, match="Bilinear has no first layer"):
        compare(CopySensitivities(), bank(draw), None, TASK, draw)
    with pytest.raises(ValueError, match="n_prompts=0"):
        CopySensitivities(n_prompts=0)
