"""Loss by class against plain sums, and the laws on weights that are written down."""

import math

import pytest
import torch

from icl.models.linear_softmax import LinearSoftmax
from icl.probes.class_losses import ClassLosses, by_class, crossing, slope
from icl.rng import Draw
from icl.tasks.zipf_bigrams import ZipfBigrams
from icl.tasks.zipf_classes import ZipfClasses
from opened import Opened
from tolerances import EXACT


def model_with(W) -> LinearSoftmax:
    model = LinearSoftmax(dim=W.shape[-1], n_labels=W.shape[-1], dtype=torch.float64).requires_grad_(False)
    model.W.copy_(W)
    return model


def test_the_loss_of_a_class_is_the_mean_over_its_examples(draw):
    task, stream = ZipfBigrams(dim=5), Draw([0], "t", dtype=torch.float64)
    model = model_with(draw.normal(5, 5))
    found = by_class(model.last(task.training_set(400, stream.at(0)).prompt), task.training_set(400, stream.at(0)))
    sample = task.sample(400, stream.at(0))
    losses = -(sample.target * model.last(sample.prompt).log_softmax(-1)).sum(-1)[0]
    for k in range(5):
        own = losses[sample.target[0, :, k] > 0]
        torch.testing.assert_close(found[0, k], own.mean(), **EXACT)


def test_the_best_table_has_all_the_progress_and_zero_weights_none():
    task = ZipfBigrams(dim=12)
    sample = task.training_set(50, Draw([0], "train", dtype=torch.float64).at(0))
    best = (sample.target / sample.target.sum(-1, keepdim=True)).nan_to_num().clamp(min=1e-30).log()
    for W, expected in ((best[0].T, 1.0), (torch.zeros(12, 12).double(), 0.0)):
        states = {0: model_with(W), 1: model_with(W)}
        found = (
            ClassLosses(cuts=[2, 4, 8]).measure_run(Opened(task, states), Draw([0], "p", dtype=torch.float64)).numbers
        )
        for i in range(1, 5):
            assert found[f"progress_{i}"].item() == pytest.approx(expected, abs=1e-9)
    assert found["excess"].item() > 0


def test_gradient_flow_has_the_law_of_one_over_pi_t():
    """l = 1 / (pi t) exactly, written into the diagonal of W, is found as slope -1 and law 1."""
    task = ZipfClasses(dim=6)
    pi = task.frequencies()

    def at(t: float) -> LinearSoftmax:
        loss = 1 / (pi * t)
        return model_with(torch.diag((5 / (loss.exp() - 1)).log()))  # l = log(1 + 5 e^-w)

    states = {t: at(float(t)) for t in (1, 4, 16, 64, 256, 1024)}
    found = ClassLosses(cuts=[2, 3, 4]).measure_run(Opened(task, states), Draw([0], "p", dtype=torch.float64)).numbers
    assert found["time_slope"].item() == pytest.approx(-1, abs=1e-6)
    assert found["law_low"].item() == pytest.approx(1)
    assert found["law_high"].item() == pytest.approx(1)
    assert found["ratio"].item() == pytest.approx(6)


def test_a_level_that_is_never_crossed_has_no_time():
    assert math.isnan(crossing(torch.full((3, 1, 1), 2.0).double(), [0, 1, 2]).item())
    x = torch.tensor([[1.0, 2.0, 3.0, 9.0]]).double()
    assert slope(x, torch.tensor([[2.0, 4.0, 6.0, torch.nan]]).double()).item() == pytest.approx(2)
