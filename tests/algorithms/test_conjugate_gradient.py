"""Conjugate gradient against least squares, and against the minimiser over the Krylov space."""

import pytest
import torch

from icl.algorithms.conjugate_gradient import ConjugateGradient
from icl.algorithms.least_squares import LeastSquares
from icl.core import Prompt, last_step


def prompt_of(draw, n, d, *out):
    return Prompt(draw.normal(5, n, d), draw.normal(5, n, *out), draw.normal(5, d))


@pytest.mark.parametrize(("n", "d"), [(9, 4), (4, 9), (3, 3)])
@pytest.mark.parametrize("extra", [0, 5])
def test_after_as_many_steps_as_dimensions_it_is_least_squares_and_stays(n, d, extra, draw):
    prompt = prompt_of(draw, n, d)
    found = ConjugateGradient(steps=min(n, d) + extra)(prompt)[-1]
    torch.testing.assert_close(found, last_step(LeastSquares(), prompt), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("n_outputs", [(), (2,)])
def test_every_step_minimises_the_loss_over_the_krylov_space(n_outputs, draw):
    prompt = prompt_of(draw, 9, 5, *n_outputs)
    trajectory = ConjugateGradient(steps=4)(prompt)
    for b in range(5):
        x, labels = prompt.x[0, b], prompt.y[0, b].reshape(9, -1)
        for o, y in enumerate(labels.T):
            krylov = [x.T @ y]
            for t in range(1, 5):
                basis = torch.linalg.qr(torch.stack(krylov, 1)).Q
                w = basis @ torch.linalg.lstsq(x @ basis, y[:, None]).solution[:, 0]
                expected, found = prompt.x_query[0, b] @ w, trajectory[t, 0, b].reshape(-1)[o]
                torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
                krylov.append(x.T @ (x @ krylov[-1]))


def test_without_labels_there_is_nothing_to_do(draw):
    prompt = prompt_of(draw, 4, 3)
    assert ConjugateGradient(steps=3)(Prompt(prompt.x, 0 * prompt.y, prompt.x_query)).abs().max() == 0
    with pytest.raises(ValueError, match="steps=-1"):
        ConjugateGradient(steps=-1)
