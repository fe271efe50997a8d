"""Zipf classes: frequencies, and the training set that is the whole distribution."""

import pytest
import torch

from icl.rng import Draw
from icl.tasks.zipf_classes import ZipfClasses


def test_classes_come_as_often_as_zipf_says():
    task = ZipfClasses(dim=8, exponent=1.0)
    sample = task.sample(40_000, Draw([0], "t"))
    assert torch.equal(sample.prompt.x_query, sample.target)
    assert (sample.target[0].mean(0) - task.frequencies()).abs().max() < 0.01
    assert task.frequencies()[3] / task.frequencies()[0] == pytest.approx(0.25)


def test_the_training_set_has_the_law_as_weights():
    sample = ZipfClasses(dim=8).training_set(5, Draw([0], "t", dtype=torch.float64))
    torch.testing.assert_close(sample.target[0].mean(0), ZipfClasses(dim=8).frequencies())
    assert torch.equal(sample.prompt.x_query[0], torch.eye(8).double())


@pytest.mark.parametrize("fields", [{"dim": 1}, {"exponent": -1.0}, {"n_context": 3}])
def test_impossible_classes_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        ZipfClasses(**{"dim": 8} | fields)
