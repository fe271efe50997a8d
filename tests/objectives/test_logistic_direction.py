"""A gradient that does not underflow: in direction that of the loss, where the usual one has lost it."""

import pytest
import torch
from torch import Tensor

from icl.algorithms.max_margin import constraints_of, smallest_frobenius
from icl.config import Train
from icl.models.single_query_attention import SingleQueryAttention
from icl.objectives.logistic import Logistic
from icl.objectives.logistic_direction import LogisticDirection
from icl.rng import Draw
from icl.tasks.token_separation import TokenSeparation
from icl.training.bank import fit
from icl.training.batches import training_draw, training_set

TASK = TokenSeparation(dim=12, n_context=5)


def model_of(form: str, seeds=range(2), **options) -> SingleQueryAttention:
    model = SingleQueryAttention(dim=12, form=form, n_seeds=len(seeds), dtype=torch.float64, **options)
    model.reset(Draw(seeds, "init", dtype=torch.float64))
    return model


def gradients(objective, model, sample) -> list[Tensor]:
    return [g.flatten(1) for g in torch.autograd.grad(objective(model, sample).sum(), list(model.parameters()))]


@pytest.mark.parametrize("form", ["p", "W", "KQ"])
def test_value_and_direction_are_those_of_the_logistic_loss(form):
    sample = TASK.sample(6, Draw([0, 1], "t", dtype=torch.float64))
    model = model_of(form)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.3 * Draw([0, 1], "w", dtype=torch.float64).normal(*weight.shape[1:]))
    torch.testing.assert_close(LogisticDirection()(model, sample), Logistic()(model, sample), rtol=1e-12, atol=0)
    ours = torch.cat(gradients(LogisticDirection(), model, sample), 1)
    usual = torch.cat(gradients(Logistic(), model, sample), 1)
    torch.testing.assert_close(torch.nn.functional.normalize(ours), torch.nn.functional.normalize(usual), rtol=1e-10,
                               atol=1e-12)  # fmt: skip


def test_the_relative_logits_change_no_guess_and_no_gradient_while_nothing_cancels():
    sample = TASK.sample(6, Draw([0, 1], "t", dtype=torch.float64))
    plain, relative = model_of("W", relative=False), model_of("W")
    with torch.no_grad():
        for model in (plain, relative):
            model.W.copy_(0.2 * Draw([0, 1], "w", dtype=torch.float64).normal(12, 12))
    torch.testing.assert_close(plain.last(sample.prompt), relative.last(sample.prompt), rtol=1e-12, atol=1e-14)
    for ours, usual in zip(*(gradients(Logistic(), m, sample) for m in (relative, plain)), strict=True):
        torch.testing.assert_close(ours, usual, rtol=1e-9, atol=1e-12)


def cosine_at(norm: float, objective, relative: bool) -> Tensor:
    """Of p with the SVM of the selected tokens, when normalised descent has made `norm` (steps of 0.05)."""
    model, seeds = model_of("p", range(8), relative=relative), range(8)
    train = Train(steps=int(norm / 0.05), batch_size=6, n_batches=1, optimizer="normalized", lr=0.05, n_snapshots=0)
    fit(TASK, model, objective, train, seeds=seeds)
    sample = training_set(TASK, train, training_draw(train, seeds, device="cpu", dtype=torch.float64))
    found = []
    for m in seeds:
        x = sample.prompt.x[m].numpy()
        selected = (sample.prompt.x[m] @ model.W[m, :, 0].detach()).argmax(-1).numpy()
        rows, _ = constraints_of(x, selected, torch.ones(6, 1).double().numpy())
        best = torch.from_numpy(smallest_frobenius(rows).weights)
        found.append(torch.nn.functional.cosine_similarity(model.W[m, :, 0].detach(), best, dim=0))
    return torch.stack(found)


@pytest.mark.slow
def test_the_usual_gradient_falls_off_the_max_margin_direction_and_ours_does_not():
    """In float64: the part of the selected token cancels once 1 - s < 1e-16, and normalising blows rounding up."""
    usual, ours = cosine_at(90, Logistic(), relative=False), cosine_at(90, LogisticDirection(), relative=True)
    assert ours.min() > 0.99
    assert usual.median() < 0.95


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="relative=true"):
        LogisticDirection()(model_of("p", relative=False), TASK.sample(2, Draw([0], "t", dtype=torch.float64)))
