"""A bank a few members at a time is the bank as a whole, in values and gradients; parts share its memory."""

import pytest
import torch

from icl.config import Train
from icl.models import gpt
from icl.models.looped_transformer import LoopedTransformer
from icl.models.transformer import Transformer
from icl.objectives.every_position import EveryPosition
from icl.objectives.window import Window
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import fit
from icl.training.member_parts import MemberParts, part_of
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=4, positions="every")
ONE = 3 * 10 * 4 * 8  # floats of the largest array of a member: 3 prompts, 10 tokens, 4 x 8 wide


def bank(kind=Transformer, n_seeds=5):
    model = kind(dim=3, n_context=4, width=8, n_seeds=n_seeds, dtype=torch.float64)
    model.reset(Draw(range(n_seeds), "init", dtype=torch.float64))
    return model


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("kind", "objective"), [(Transformer, EveryPosition()), (LoopedTransformer, Window(n_loops=3, window=2))]
)
def test_parts_are_the_whole(members, shared, kind, objective, monkeypatch):
    model = bank(kind)
    sample = TASK.sample(3, Draw([0] if shared else range(5), "t", dtype=torch.float64))
    assert model.members_at_once(sample.prompt) == 5
    loss, gradients = MemberParts(model).gradients(objective, sample)
    monkeypatch.setitem(gpt.CHUNK_FLOATS, "cpu", members * ONE)
    assert model.members_at_once(sample.prompt) == members
    parts = MemberParts(model)
    for _ in range(2):  # made, then used again
        loss_by_part, by_part = parts.gradients(objective, sample)
        torch.testing.assert_close(loss_by_part, loss.detach(), **EXACT)
        torch.testing.assert_close(list(by_part), list(gradients), **EXACT)


def test_a_part_reads_what_was_written_to_the_bank():
    model = bank()
    part = part_of(model, 1, 3)
    assert [p.shape[0] for p in part.parameters()] == [2] * len(list(model.parameters()))
    assert (part.gpt.n_seeds, model.gpt.n_seeds) == (2, 5)
    with torch.no_grad():
        model.gpt.W_o.add_(1.0)
    assert torch.equal(part.gpt.W_o, model.gpt.W_o[1:3])
    assert part.state_dict().keys() == model.state_dict().keys()


def test_training_by_parts_is_training_as_a_whole(monkeypatch):
    train = Train(steps=6, batch_size=3, lr=1e-2, clip=1.0, n_snapshots=0)
    whole, by_parts = bank(), bank()
    expected = fit(TASK, whole, EveryPosition(), train, seeds=range(5))
    monkeypatch.setitem(gpt.CHUNK_FLOATS, "cpu", 2 * ONE)
    found = fit(TASK, by_parts, EveryPosition(), train, seeds=range(5))
    torch.testing.assert_close(torch.stack(found.loss), torch.stack(expected.loss), rtol=1e-9, atol=1e-12)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(by_parts.state_dict()[name], value, rtol=1e-7, atol=1e-9)
