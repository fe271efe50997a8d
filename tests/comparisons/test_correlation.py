"""The correlation of two predictors against numpy's, and its limits."""

import math

import numpy as np
import pytest
import torch

from bilinear import Bilinear, bank
from icl.comparisons.correlation import Correlation
from icl.comparisons.walk import chunks, compare
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=4, n_context=6)


def test_it_is_pearsons_on_the_same_prompts(draw):
    model, reference = bank(draw, noise=0.1), bank(draw, 1, noise=0.0)
    measured = compare(Correlation(n_prompts=300), model, reference, TASK, draw)
    prompts = [sample.prompt for sample in chunks(TASK, 300, 3, draw)]
    a, b = (torch.cat([p(prompt)[-1] for prompt in prompts], -1).detach().numpy() for p in (model, reference))
    expected = torch.tensor([np.corrcoef(row, b[0])[0, 1] for row in a])
    torch.testing.assert_close(measured.numbers["correlation"], expected, **EXACT)
    low, high = measured.intervals["correlation"].unbind(1)
    assert (low < expected).all()
    assert (expected < high).all()


def test_multiples_and_opposites(draw):
    reference = bank(draw, 1)
    for factor, expected in ((3.0, 1.0), (-0.5, -1.0)):
        model = Bilinear(factor * reference.gamma.data)
        found = compare(Correlation(n_prompts=100), model, reference, TASK, draw).numbers["correlation"].item()
        assert found == pytest.approx(expected, abs=1e-12)
    silent = Bilinear(0 * reference.gamma.data)
    assert math.isnan(compare(Correlation(n_prompts=100), silent, reference, TASK, draw).numbers["correlation"].item())


def test_outputs_of_one_label_are_summed(draw):
    """One output perfectly right, one of the same size perfectly wrong: 0."""
    task = LinearRegression(dim=4, n_context=6, n_outputs=2)

    def model(prompt):
        return torch.stack([prompt.x_query[..., 0], prompt.x_query[..., 0]], -1)[None]

    def reference(prompt):
        return model(prompt) * torch.tensor([1.0, -1.0]).double()

    measured = compare(Correlation(n_prompts=500), model, reference, task, draw)
    assert measured.numbers["correlation"].item() == pytest.approx(0, abs=1e-12)
    assert compare(Correlation(n_prompts=500), model, model, task, draw).numbers["correlation"].item() == pytest.approx(
        1
    )


def test_one_prompt_has_no_correlation():
    with pytest.raises(ValueError, match="n_prompts=1 must be >= 2"):
        Correlation(n_prompts=1)
