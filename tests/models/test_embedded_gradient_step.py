"""The trained baseline against gradient descent as it is written down, on its own features."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.core import Prompt
from icl.models.embedded_gradient_step import EmbeddedGradientStep
from icl.rng import Draw
from tolerances import EXACT


def bank(n_seeds=3, seed=0):
    model = EmbeddedGradientStep(dim=2, width=5, n_hidden=7, n_seeds=n_seeds, dtype=torch.float64)
    model.reset(Draw(range(seed, seed + n_seeds), "init", dtype=torch.float64))
    model.step_size.data.copy_(torch.arange(seed + 1, seed + n_seeds + 1)[:, None] / 10)
    return model.requires_grad_(False)


def prompts(n_streams=1, batch_size=4, n_context=6):
    draw = Draw(range(n_streams), "data", dtype=torch.float64)
    x, y = draw.normal(batch_size, n_context, 2), draw.normal(batch_size, n_context)
    return Prompt(x, y, draw.normal(batch_size, 2))


@pytest.mark.parametrize("n_streams", [1, 3])
@pytest.mark.parametrize("steps", [None, 0, 4])
def test_it_is_gradient_descent_on_its_features(n_streams, steps):
    model, prompt = bank(), prompts(n_streams)
    x, x_query = model.embedding(prompt.x), model.embedding(prompt.x_query)
    for member in range(3):
        own = min(member, n_streams - 1)
        features = Prompt(x[member, None], prompt.y[own, None], x_query[member, None])
        algorithm = GradientDescent(step_size=model.step_size[member].item(), steps=1)
        found = model(prompt, steps=steps)[:, member]
        torch.testing.assert_close(found, algorithm(features, steps=steps)[:, 0], **EXACT)


def test_a_member_of_a_bank_is_the_model_alone():
    whole, alone, prompt = bank(3), bank(1, seed=2), prompts(3)
    last = Prompt(prompt.x[2:], prompt.y[2:], prompt.x_query[2:])
    torch.testing.assert_close(whole(prompt, steps=3)[:, 2:], alone(last, steps=3), **EXACT)


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match="dim=0"):
        EmbeddedGradientStep(dim=0)
    with pytest.raises(ValueError, match="steps=-1"):
        bank()(prompts(), steps=-1)
