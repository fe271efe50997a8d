"""Sensitivities by autograd against the analytic ones and against finite differences."""

import pytest
import torch

from bilinear import bank
from icl.comparisons.sensitivity import Sensitivity, sensitivity
from icl.comparisons.walk import chunks, compare
from icl.core import Prompt
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=4, n_context=6)


def test_sensitivity_is_the_analytic_map_of_the_query(draw):
    prompt = TASK.sample(9, draw).prompt
    model = bank(draw)
    expected = torch.einsum("mij,bnj,bn->mbi", model.gamma.data, prompt.x[0], prompt.y[0])
    torch.testing.assert_close(sensitivity(model, prompt), expected, **EXACT)


def test_sensitivity_is_the_finite_difference_of_a_nonlinear_predictor(draw):
    prompt = TASK.sample(5, draw).prompt

    def predictor(prompt):
        return ((prompt.x_query**3).sum(-1).sin() * prompt.y.sum(-1))[None]

    step = 1e-6
    for i in range(4):
        shift = step * torch.eye(4, dtype=torch.float64)[i]
        up, down = (predictor(Prompt(prompt.x, prompt.y, prompt.x_query + s)) for s in (shift, -shift))
        numeric = (up - down)[0] / (2 * step)
        torch.testing.assert_close(sensitivity(predictor, prompt)[..., i], numeric, rtol=1e-6, atol=1e-7)


def test_numbers_are_means_over_prompts(draw):
    model, reference = bank(draw), bank(draw, 1, noise=0.0)
    measured = compare(Sensitivity(n_prompts=400), model, reference, TASK, draw)
    moment = torch.cat([torch.einsum("mbnd,mbn->mbd", s.prompt.x, s.prompt.y) for s in chunks(TASK, 400, 1, draw)], 1)
    a, b = moment @ model.gamma.data.mT, moment @ reference.gamma.data.mT
    cosine = torch.cosine_similarity(a, b, dim=-1).mean(1)
    torch.testing.assert_close(measured.numbers["cosine"], cosine, rtol=1e-6, atol=0)  # the source's 1e-8 in the norms
    torch.testing.assert_close(measured.numbers["distance"], (a - b).norm(dim=-1).mean(1), **EXACT)
    low, high = measured.intervals["cosine"].unbind(1)
    assert (low < measured.numbers["cosine"]).all()
    assert (measured.numbers["cosine"] < high).all()


def test_a_multiple_has_cosine_one_and_a_distance(draw):
    reference = bank(draw, 1)
    model = bank(draw, 1)
    model.gamma.data = 3 * model.gamma.data
    numbers = compare(Sensitivity(n_prompts=100), model, reference, TASK, draw).numbers
    assert numbers["cosine"].item() == pytest.approx(1, abs=1e-6)
    assert numbers["distance"].item() > 0


def test_gradients_of_the_parameters_are_left_alone(draw):
    model = bank(draw)
    compare(Sensitivity(n_prompts=20), model, bank(draw, 1), TASK, draw)
    assert model.gamma.grad is None


def test_several_outputs_are_refused(draw):
    task = LinearRegression(dim=4, n_context=6, n_outputs=2)

    def predictor(prompt):
        return prompt.x_query[None, ..., :2] * prompt.y.sum(2)

    with pytest.raises(ValueError, match=r"needs one output a prompt, not \(2,\)"):
        compare(Sensitivity(n_prompts=5), predictor, predictor, task, draw)
