"""Hessian products against finite differences and against a loss whose Hessian is given."""

import pytest
import torch
from probed import Quadratic, Rows, run_of

from icl.config import build_model
from icl.probes import loss_surface
from icl.probes.loss_surface import LossSurface
from icl.probes.parameter_norms import flat
from icl.probes.training_loss import objective_of, surface_of
from icl.rng import Draw
from options import composed
from tolerances import EXACT


def quadratic(draw, n_members=3, size=7):
    A, b = draw.normal(n_members, size, size)[0], draw.normal(n_members, size)[0]
    return LossSurface(Rows(torch.zeros_like(b)), Quadratic(A + A.mT, b), [torch.zeros(1), torch.ones(1)]), A + A.mT, b


def test_a_quadratic_has_its_own_gradient_and_hessian(draw):
    surface, H, b = quadratic(draw)
    theta, v = draw.normal(3, 7)[0], draw.normal(3, 7)[0]
    gradient = torch.einsum("mfg,mg->mf", H, theta) + b + 0.5  # the mean of two samples, 0 and 1
    torch.testing.assert_close(surface.gradient(theta), gradient, **EXACT)
    torch.testing.assert_close(surface.products(theta)(v), torch.einsum("mfg,mg->mf", H, v), **EXACT)
    torch.testing.assert_close(surface.hessian(theta), H, **EXACT)


@pytest.mark.parametrize(
    ("model", "fields"),
    [("preconditioned_attention_x_update", {}), ("linear_attention", {}), ("softmax_attention", {"init_scale": 1.0}),
     ("transformer", {"width": 4, "n_layers": 1})],
)  # fmt: skip
def test_products_are_differences_of_gradients_for_every_kind_of_model(model, fields, draw):
    cfg = composed(f"model={model}", "task.dim=2", "task.n_context=3", "n_seeds=2", "objective.unit=mse",
                   *(["model.n_layers=2"] if "precond" in model else []),
                   *(f"model.{k}={v}" for k, v in fields.items()))  # fmt: skip
    bank = build_model(cfg)
    bank.reset(Draw([0, 1], "init"))
    from icl.config import build

    sample = build(cfg.task, key="task").sample(5, Draw([0, 1], "data", dtype=torch.float64))
    surface = LossSurface(bank, build(cfg.objective, key="objective"), [sample])
    theta = flat(bank) * (10 if "attention" in model else 1)
    v = draw.normal(*theta.shape)[0]
    h = 1e-6
    difference = (surface.gradient(theta + h * v) - surface.gradient(theta - h * v)) / (2 * h)
    torch.testing.assert_close(surface.products(theta)(v), difference, rtol=1e-5, atol=1e-6)
    assert difference.abs().max() > 1e-4
    loss_difference = (surface.loss(theta + h * v) - surface.loss(theta - h * v)) / (2 * h)
    torch.testing.assert_close((surface.gradient(theta) * v).sum(1), loss_difference, rtol=1e-5, atol=1e-8)


def test_the_surface_of_a_run_is_its_training_set(tmp_path):
    run = run_of(tmp_path, "train=full_batch", "train.snapshot_at=[0,1]")
    surface = surface_of(run, 1, Draw([0], "probe", dtype=torch.float64))
    states = {step: flat(model) for step, model in run.snapshots()}
    losses = torch.tensor([row["loss"] for row in run.metrics], dtype=torch.float64)
    torch.testing.assert_close(surface.loss(states[0]), losses[0], **EXACT)
    step = states[0] - run.config.train.lr * surface.gradient(states[0])
    torch.testing.assert_close(step, states[1], **EXACT)
    assert objective_of(run).unit == "mse"


def test_a_hessian_that_is_too_large_is_refused_with_its_size(draw, monkeypatch):
    surface, _, _ = quadratic(draw)
    monkeypatch.setattr(loss_surface, "LARGEST_EXACT", 6)
    with pytest.raises(ValueError, match=r"the Hessian of 7 parameters is 0 MiB for 3 members.*use method=products"):
        surface.hessian(torch.zeros(3, 7))
    with pytest.raises(ValueError, match="2000000 parameters is 30,517,578 MiB"):
        loss_surface.check_exact(2_000_000, 1)
