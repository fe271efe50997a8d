"""Every step's loss against `Last` at every depth."""

import pytest
import torch

from icl.models.chain_of_thought import ChainOfThought
from icl.models.linear_attention import LinearAttention
from icl.objectives.every_step import EveryStep
from icl.objectives.last import Last
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.weight_prediction import WeightPrediction

PAIRS = [
    (WeightPrediction, ChainOfThought(dim=3, n_thoughts=4, n_seeds=2, init_scale=0.3, dtype=torch.float64)),
    (LinearRegression, LinearAttention(dim=3, n_layers=4, tied=True, n_seeds=2, init_scale=0.5, dtype=torch.float64)),
]


class AtDepth:
    def __init__(self, model, steps):
        self.model, self.steps = model, steps

    def __call__(self, prompt):
        return self.model(prompt, steps=self.steps)


@pytest.mark.parametrize(("task", "model"), PAIRS)
@pytest.mark.parametrize("steps", [None, 2, 6])
def test_it_is_the_mean_of_the_last_losses_of_every_depth(task, model, steps, draw):
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    sample = task(dim=3, n_context=5).sample(4, Draw([0, 1], "t", dtype=torch.float64))
    expected = [Last()(AtDepth(model, k), sample) for k in range(1, (steps or 4) + 1)]
    torch.testing.assert_close(EveryStep(steps=steps)(model, sample), torch.stack(expected).mean(0))
    assert (EveryStep(unit="mse")(model, sample) == 2 * EveryStep()(model, sample)).all()


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="steps=0"):
        EveryStep(steps=0)
