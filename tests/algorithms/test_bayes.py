"""The Bayes predictor against the conditional mean of the joint Gaussian, and nothing better."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from icl.algorithms.bayes import Bayes
from icl.algorithms.least_squares import LeastSquares
from icl.algorithms.ridge import Ridge
from icl.core import Prompt
from tolerances import EXACT


def prior(draw):
    root = draw.normal(4, 4)[0]
    return root @ root.T + 0.1 * torch.eye(4).double()


@pytest.mark.parametrize(("n_context", "noise_std"), [(2, 0.0), (2, 0.5), (9, 0.5)])
@pytest.mark.parametrize("out", [(), (2,)])
def test_it_is_the_conditional_mean_of_the_joint_gaussian(n_context, out, noise_std, draw):
    """cov(y_query, y) cov(y, y)⁻¹ y, with cov(y_i, y_j) = x_iᵀ Λ x_j + σ² [i = j]."""
    Lambda = prior(draw)
    prompt = Prompt(draw.normal(5, n_context, 4), draw.normal(5, n_context, *out), draw.normal(5, 4))
    trajectory = Bayes(noise_std=noise_std, w_covariance=Lambda)(prompt)
    assert trajectory[0].abs().max() == 0
    for which in range(5):
        x, y, x_query = prompt.x[0, which], prompt.y[0, which], prompt.x_query[0, which]
        covariance = x @ Lambda @ x.T + noise_std**2 * torch.eye(n_context).double()
        expected = (x @ Lambda @ x_query) @ torch.linalg.solve(covariance, y)
        torch.testing.assert_close(trajectory[1, 0, which], expected, **EXACT)


def test_with_a_round_prior_it_is_ridge_or_least_squares(draw):
    prompt = Prompt(draw.normal(5, 9, 4), draw.normal(5, 9), draw.normal(5, 4))
    torch.testing.assert_close(Bayes(noise_std=0.5)(prompt), Ridge(ridge=0.25)(prompt), **EXACT)
    torch.testing.assert_close(Bayes(noise_std=0.0)(prompt), LeastSquares()(prompt), **EXACT)


def test_no_other_prior_or_noise_has_a_smaller_loss(draw):
    Lambda = prior(draw)
    root = torch.linalg.cholesky(Lambda)
    x, x_query = draw.normal(20_000, 6, 4), draw.normal(20_000, 4)
    w = draw.normal(20_000, 4) @ root.T
    y = torch.einsum("mbnd,mbd->mbn", x, w) + 0.5 * draw.normal(20_000, 6)
    prompt, target = Prompt(x, y, x_query), torch.einsum("mbd,mbd->mb", x_query, w)

    def loss(predictor):
        return (predictor(prompt)[-1] - target).square().mean().item()

    best = loss(Bayes(noise_std=0.5, w_covariance=Lambda))
    others = [
        Bayes(noise_std=0.5),
        Bayes(noise_std=1.0, w_covariance=Lambda),
        Bayes(noise_std=0.2, w_covariance=Lambda),
    ]
    assert best < min(loss(other) for other in others)


def test_it_asks_the_task():
    task = SimpleNamespace(
        target="linear", n_distractors=0, noise_std=0.3, w_covariance_matrix=lambda: 2 * torch.eye(4).double()
    )
    bayes = Bayes.best_for(task=task)
    assert bayes.noise_std == 0.3
    assert torch.equal(bayes.w_covariance, 2 * torch.eye(4).double())
    for change in ({"target": "relu"}, {"n_distractors": 1}):
        with pytest.raises(ValueError, match="target="):
            Bayes.best_for(task=SimpleNamespace(**vars(task) | change))


def test_impossible_constants_are_refused():
    for noise_std in (-1.0, math.nan):
        with pytest.raises(ValueError, match="noise_std="):
            Bayes(noise_std=noise_std)
    with pytest.raises(ValueError, match="w_covariance"):
        Bayes(noise_std=0.1, w_covariance=-torch.eye(4))


@pytest.mark.parametrize("noise_std", [0.0, 0.5])
def test_it_answers_with_weights_if_asked_to(noise_std, draw):
    prompt = Prompt(draw.normal(5, 9, 4), draw.normal(5, 9), draw.normal(5, 4))
    labels = Bayes(noise_std=noise_std, w_covariance=prior(draw))
    weights = replace(labels, returns="weights")(prompt)
    assert weights.shape == (2, 1, 5, 4)
    torch.testing.assert_close(torch.einsum("tmbd,mbd->tmb", weights, prompt.x_query), labels(prompt), **EXACT)
