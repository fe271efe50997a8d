"""Accuracies counted by hand from the model's own logits."""

import torch

from icl.algorithms.language_arm import calibrated
from icl.probes.icl_accuracy import IclAccuracy
from icl.rng import Draw
from text_prompts import member, tiny


def test_gain_curve_and_histogram():
    one = member()
    measured = IclAccuracy(by_demos=(0, 2, 4, 99)).measure(one, one.task, Draw([0], "t"))
    assert set(measured.numbers) == set(IclAccuracy.numbers)
    trajectory, target = tiny()(one.prompt)[:, 0], one.sample.target
    right = [(calibrated(trajectory[k]) == target).double().mean().item() for k in (0, 2, 4)]
    curve = measured.curves["accuracy_by_demonstrations"]
    assert curve.x == [0, 2, 4]
    assert curve.model == [right]
    assert measured.numbers["zero_shot"].item() == right[0]
    assert measured.numbers["icl"].item() == right[2]
    assert abs(measured.numbers["gain"].item() - (right[2] - right[0])) < 1e-12
    histogram = measured.curves["histogram"]
    assert histogram.x == ["Negative", "Positive"]
    assert all(abs(sum(row) - 1) < 1e-9 for row in histogram.model)
    expected = target.bincount(minlength=2).double() / len(target)
    assert torch.equal(torch.tensor(histogram.model[0], dtype=torch.float64), expected)
