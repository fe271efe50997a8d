"""Gains of predictors whose errors are known."""

import pytest
import torch
from torch import nn

from icl.comparisons.paired_gain import PairedGain
from icl.comparisons.walk import compare
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression

TASK = LinearRegression(dim=2, n_context=3, positions="every")
DRAW = Draw([0], "gain", dtype=torch.float64)


class Shifted(nn.Module):
    """Guesses 0 at every position, times one number a member: the error of 0 is E y² = 2."""

    def __init__(self, *offsets: float):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offsets, dtype=torch.float64))

    def every_prefix(self, x, y):
        return self.offset[None, :, None, None].expand(1, -1, *x.shape[1:3])


def test_the_gain_is_that_of_the_mean_errors():
    found = compare(PairedGain(n_prompts=20_000), Shifted(0.0, 1.0), Shifted(1.0, 1.0), TASK, DRAW)
    assert found.numbers["reference_mse_per_dim"].tolist() == pytest.approx([1.5, 1.5], rel=0.03)
    assert found.numbers["gain"].tolist() == pytest.approx([1 / 3, 0], abs=0.02)
    assert found.numbers["gain"][1] == 0
    gain = found.numbers["gain"]
    assert found.numbers["gain_t"][0].item() == pytest.approx((gain.mean() / (gain.std() / 2**0.5)).item())
    assert len(found.curves["by_position"].model[0]) == 4


def test_a_task_with_one_target_is_refused():
    query = LinearRegression(dim=2, n_context=3)
    with pytest.raises(ValueError, match=r"task\.positions=every"):
        compare(PairedGain(n_prompts=8), Shifted(0.0), Shifted(1.0), query, DRAW)
    with pytest.raises(ValueError, match="n_prompts=0 must be >= 1"):
        PairedGain(n_prompts=0)
