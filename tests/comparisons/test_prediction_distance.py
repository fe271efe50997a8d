"""Distance of predictions against the difference of the two Γ."""

import torch

from bilinear import Bilinear, bank
from icl.comparisons.prediction_distance import PredictionDistance
from icl.comparisons.walk import chunks, compare
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=4, n_context=6)


def test_distance_is_that_of_the_difference_of_the_maps(draw):
    model, reference = bank(draw), bank(draw, 1, noise=0.0)
    measured = compare(PredictionDistance(n_prompts=300, n_scatter=20), model, reference, TASK, draw)
    difference = Bilinear(model.gamma.data - reference.gamma.data)
    expected = torch.cat([difference(s.prompt)[-1] for s in chunks(TASK, 300, 1, draw)], 1).abs().mean(1)
    torch.testing.assert_close(measured.numbers["distance"], expected.detach(), **EXACT)


def test_distance_to_itself_is_zero(draw):
    measured = compare(PredictionDistance(n_prompts=50), bank(draw), bank(draw), TASK, draw)
    assert measured.numbers["distance"].tolist() == [0, 0, 0]
    assert measured.intervals["distance"].abs().max() == 0


def test_scatter_pairs_the_two_predictions_of_a_prompt(draw):
    model = Bilinear(2 * bank(draw, 1).gamma.data.expand(3, -1, -1).clone())
    measured = compare(PredictionDistance(n_prompts=50, n_scatter=20), model, bank(draw, 1), TASK, draw)
    curve = measured.curves["predictions"]
    assert curve.kind == "scatter"
    x, y = torch.tensor(curve.x), torch.tensor(curve.model)
    assert x.shape == y.shape == (3, 20)
    torch.testing.assert_close(y, 2 * x)


def test_several_outputs_are_a_distance_of_vectors(draw):
    task = LinearRegression(dim=4, n_context=6, n_outputs=2)

    def shifted(prompt):
        return torch.zeros(1, *prompt.x_query.shape[:2], 2, dtype=torch.float64) + torch.tensor([3.0, 4.0])

    def zero(prompt):
        return torch.zeros(1, *prompt.x_query.shape[:2], 2, dtype=torch.float64)

    measured = compare(PredictionDistance(n_prompts=10), shifted, zero, task, draw)
    assert measured.numbers["distance"].tolist() == [5.0]
    assert measured.curves == {}
