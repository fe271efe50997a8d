"""Counts by hand, and the two ends of every overlap."""

import math

import torch

from icl.algorithms.fine_tune import FineTune
from icl.algorithms.language_arm import calibrated
from icl.comparisons.prediction_overlap import PredictionOverlap, overlap_cosine, rec2ftp, token_overlap
from icl.rng import Draw
from text_prompts import member


def bools(text: str) -> torch.Tensor:
    return torch.tensor([c == "1" for c in text])


def test_rec2ftp_counts():
    assert rec2ftp(bools("0001"), bools("0110"), bools("0111")) == (1.0, 2, 2)
    assert rec2ftp(bools("0000"), bools("1000"), bools("1111")) == (0.25, 4, 1)
    ratio, fixed, both = rec2ftp(bools("1111"), bools("1111"), bools("1111"))
    assert math.isnan(ratio)
    assert (fixed, both) == (0, 0)


def test_overlaps_of_equal_disjoint_and_half_equal_distributions():
    p = torch.tensor([[0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0]])
    disjoint, half = p.roll(4, -1), torch.tensor([[0.4, 0.3, 0, 0, 0.2, 0.1, 0, 0]])
    for q, overlap in ((p, 1.0), (disjoint, 0.0), (half, 0.5)):
        assert token_overlap(p, q, 4).item() == overlap
    assert abs(overlap_cosine(p, p, 4).item() - 1) < 1e-6, "where the source divides by zero"
    assert overlap_cosine(p, disjoint, 4).item() == 0
    assert abs(overlap_cosine(p, half, 4).item() - (0.16 + 0.09) / 0.3) < 1e-6


def test_calibration_takes_off_what_all_queries_share():
    logits = torch.tensor([[5.0, 1.0], [5.0, 2.0], [5.0, 3.0], [5.0, 4.0]])
    assert logits.argmax(-1).tolist() == [0, 0, 0, 0]
    assert calibrated(logits).tolist() == [0, 0, 1, 1]


def test_an_arm_that_does_nothing_predicts_as_zero_shot_does():
    one = member()
    found = PredictionOverlap(k=3).measure(one, FineTune(lr=1e-12), one.task, Draw([0], "t")).numbers
    assert set(found) == set(PredictionOverlap.numbers)
    assert found["gain"].item() == 0
    assert found["n_fixed"].item() == 0
    assert found["rec2ftp"].isnan().all()
