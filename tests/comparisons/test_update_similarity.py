"""The normalisation artefact in numbers, and similarities that are known."""

import pytest
import torch

from icl.algorithms.reordered_context import ReorderedContext
from icl.comparisons.update_similarity import UpdateSimilarity, normalisation_artefact, update_cosine
from icl.rng import Draw
from text_prompts import member
from tolerances import EXACT


@pytest.mark.parametrize(("c", "expected"), [(3.0, 0.25), (1e12, 0.5)])
def test_normalising_makes_unrelated_updates_look_alike(c, expected):
    z, r, other = torch.eye(3, dtype=torch.float64)
    r, other = c**0.5 * r, c**0.5 * other
    found = update_cosine(z, z + r, z + other, normalised=True)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert normalisation_artefact(c) == pytest.approx(found.item(), abs=1e-12)
    assert update_cosine(z, z + r, z + other, normalised=False).item() == 0


def test_the_same_context_is_perfectly_similar_and_a_gaussian_direction_is_not():
    one = member(n_demos=1)  # one demonstration has one order
    measured = UpdateSimilarity().measure(one, ReorderedContext(), one.task, Draw([0], "t"))
    assert set(measured.numbers) == set(UpdateSimilarity.numbers)
    torch.testing.assert_close(measured.numbers["sim_aou"], torch.ones(1, dtype=torch.float64), rtol=1e-5, atol=0)
    assert abs(measured.numbers["gaussian"].item()) < 0.2
    assert len(measured.curves["sim_aou_by_layer"].x) == 3
    low, high = measured.intervals["sim_aou"][0]
    assert low <= measured.numbers["sim_aou"][0] <= high


def test_the_cosine_is_of_updates_not_of_outputs(draw):
    zero, a = draw.normal(2, 5)[0], draw.normal(2, 5)[0]
    torch.testing.assert_close(
        update_cosine(zero, zero + a, zero - 2 * a, normalised=False), -torch.ones(2, dtype=torch.float64), **EXACT
    )
