"""The loss with w and the query integrated out, against the sampled loss over a basis of both."""

import pytest
import torch

from icl.core import Prompt, Sample
from icl.models.linear_attention import LinearAttention
from icl.models.preconditioned_attention import PreconditionedAttention
from icl.objectives.last import Last
from icl.objectives.residual import Residual
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

SKEWED = {"covariance_spectrum": [1.0, 0.5, 0.25], "rotation_seed": 1}
LAWS = [
    {},
    {"inputs": "uniform", "weight_scale": 0.7},
    SKEWED | {"w_covariance": "inverse_covariance", "input_scale": 1.5},
    SKEWED | {"w_covariance": [[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.3]]},
]


def bank(n_layers: int, **options) -> PreconditionedAttention:
    model = PreconditionedAttention(dim=3, n_layers=n_layers, n_seeds=2, init_std=0.4, dtype=torch.float64, **options)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    return model


@pytest.mark.parametrize("law", LAWS, ids=range(len(LAWS)))
@pytest.mark.parametrize(("n_layers", "tied"), [(1, True), (2, True), (5, True), (3, False)])
def test_it_is_the_mean_over_weights_and_queries(n_layers, tied, law):
    """The error is bilinear in w = C v and x_query = T u: its mean square is the sum over unit vectors v and u."""
    task, model = LinearRegression(dim=3, n_context=6, **law), bank(n_layers, tied=tied)
    x = task.sample(4, Draw([0, 1], "x", dtype=torch.float64)).prompt.x
    T, C = task.mixing(), torch.linalg.cholesky(task.w_covariance_matrix())
    total = torch.zeros(2, dtype=torch.float64)
    for w in C.T:
        for x_query in T.T:
            query = x_query.expand(2, 4, -1)
            total = total + Last(unit="mse")(model, Sample(Prompt(x, x @ w, query), query @ w, None))
    sample = Sample(Prompt(x, torch.zeros_like(x[..., 0]), x[:, :, 0]), torch.zeros_like(x[..., 0, 0]), None)
    found = Residual(task=task, unit="mse")(model, sample)
    torch.testing.assert_close(found, total, **EXACT)
    slopes = [torch.autograd.grad(loss.sum(), model.A)[0] for loss in (found, total)]
    torch.testing.assert_close(*slopes, **EXACT)


def test_its_mean_and_gradient_are_those_of_sampled_prompts():
    task, model = LinearRegression(dim=3, n_context=12), bank(3, tied=True)
    with torch.no_grad():
        model.A.copy_(-0.6 * torch.eye(3, dtype=torch.float64) + 0.05 * model.A)
    sample = task.sample(60_000, Draw([0, 1], "s", dtype=torch.float64))
    found, sampled = (objective(model, sample) for objective in (Residual(task=task), Last()))
    assert torch.allclose(found, sampled, rtol=0.1)
    slopes = [torch.autograd.grad(loss.sum(), model.A, retain_graph=True)[0] for loss in (found, sampled)]
    assert (slopes[0] - slopes[1]).norm() < 0.1 * slopes[0].norm() + 0.02


@pytest.mark.parametrize("field", [{"noise_std": 0.1}, {"target": "relu"}, {"n_distractors": 1}, {"n_active": 2}])
def test_other_labels_are_refused(field):
    with pytest.raises(ValueError, match=f"task.{next(iter(field))}="):
        Residual(task=LinearRegression(dim=3, n_context=6, **field))


def test_other_models_are_refused(draw):
    task = LinearRegression(dim=3, n_context=6)
    sample = task.sample(2, draw)
    for model in (bank(2, x_update=True), LinearAttention(dim=3, dtype=torch.float64)):
        with pytest.raises(ValueError, match="must be preconditioned attention"):
            Residual(task=task)(model, sample)
