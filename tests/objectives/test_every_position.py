"""The loss at every position against one call a prefix."""

import pytest
import torch

from icl.algorithms.ridge import Ridge
from icl.core import Prompt
from icl.models.transformer import Transformer
from icl.objectives.every_position import EveryPosition
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=2, n_context=3, positions="every", noise_std=0.5)


def models():
    transformer = Transformer(dim=2, n_context=3, width=8, n_seeds=2, dtype=torch.float64)
    transformer.reset(Draw([0, 1], "init", dtype=torch.float64))
    return [transformer, Ridge(ridge=0.5)]


@pytest.mark.parametrize("model", models(), ids=["its own form", "one call a prefix"])
@pytest.mark.parametrize(("unit", "share"), [("mse", 1.0), ("half_mse", 0.5)])
def test_it_is_the_mean_over_prefixes(model, unit, share):
    sample = TASK.sample(5, Draw([0, 1], "p", dtype=torch.float64))
    x, y = sample.prompt.positions()
    errors = []
    for i in range(4):
        guess = model(Prompt(x[:, :, :i], y[:, :, :i], x[:, :, i]))[-1]
        errors.append((guess - sample.target[:, :, i]).square().mean(1))
    torch.testing.assert_close(EveryPosition(unit=unit)(model, sample), share * torch.stack(errors).mean(0), **EXACT)


def test_a_target_of_the_query_alone_is_refused():
    sample = LinearRegression(dim=2, n_context=3).sample(5, Draw([0, 1], "p", dtype=torch.float64))
    with pytest.raises(ValueError, match=r"needs a target at every position \(task.positions=every\)"):
        EveryPosition()(models()[0], sample)
