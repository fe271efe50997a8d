"""The trainer of one large model: alone equal to a bank of one; over two real ranks equal to one plain loop."""

import pytest
import torch

import ranked
from icl.config import Train
from icl.config.machines import Accelerate
from icl.objectives.last import Last
from icl.rng import Draw
from icl.training.accelerated import Large, fit_large, parts
from icl.training.bank import INIT, fit
from icl.training.batches import DATA
from icl.training.elastic import RanksFailed, over_ranks
from icl.training.optimizers import optimizer_of, schedule_factor
from tolerances import EXACT

RULES = ("SGD", "RAdam", "NAdam", "Adamax", "Adagrad", "RMSprop", "Adadelta")


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_one_rank_is_a_bank_of_one_member(accumulation):
    bank, large = ranked.model(), ranked.model()
    expected = fit(ranked.TASK, bank, Last(), ranked.TRAIN, seeds=[3])
    found = fit_large(ranked.TASK, large, Last(), ranked.TRAIN, seed=3, options=Accelerate(accumulation=accumulation))
    assert found.steps == expected.steps
    for name, value in bank.state_dict().items():
        torch.testing.assert_close(large.state_dict()[name], value, **EXACT)
    torch.testing.assert_close(torch.stack(found.loss), torch.stack(expected.loss), **EXACT)
    assert sorted(found.snapshots) == sorted(expected.snapshots)
    for step, state in expected.snapshots.items():
        for name, value in state.items():
            torch.testing.assert_close(found.snapshots[step][name], value, **EXACT)


@pytest.mark.parametrize("optimizer", [None, *({"_target_": f"torch.optim.{name}"} for name in RULES)])
def test_an_interrupted_training_goes_on_with_the_same_bits(optimizer, tmp_path, monkeypatch):
    options = Accelerate(accumulation=2, optimizer=optimizer)
    whole, resumed = ranked.model(), ranked.model()
    expected = fit_large(ranked.TASK, whole, Last(), ranked.TRAIN, seed=3, options=options)
    ranked.interrupted(tmp_path, at=8, options=options)
    found = fit_large(ranked.TASK, resumed, Last(), ranked.TRAIN, seed=3, options=options, folder=tmp_path)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert torch.equal(torch.stack(found.loss), torch.stack(expected.loss))
    assert found.steps == expected.steps


def test_bf16_products_keep_the_weights_in_fp32():
    model = ranked.model(torch.float32)
    history = fit_large(ranked.TASK, model, Last(), ranked.TRAIN, options=Accelerate(mixed_precision="bf16"))
    exact = fit_large(ranked.TASK, ranked.model(torch.float32), Last(), ranked.TRAIN)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history.loss[0] != exact.loss[0]
    torch.testing.assert_close(history.loss[0], exact.loss[0], rtol=0.05, atol=0)


def test_the_parts_of_a_sample_are_the_sample(draw):
    sample = ranked.TASK.sample(6, draw)
    pieces = parts(sample, 3)
    assert torch.equal(torch.cat([p.target for p in pieces], 1), sample.target)
    assert torch.equal(torch.cat([p.prompt.x for p in pieces], 1), sample.prompt.x)
    assert parts(None, 3) == [None]


def test_an_optimiser_of_the_extra_trains():
    pytest.importorskip("pytorch_optimizer", reason="needs the extra `optim`")
    options = Accelerate(optimizer={"_target_": "pytorch_optimizer.Lion", "betas": [0.9, 0.99]})
    history = fit_large(ranked.TASK, ranked.model(), Last(), Train(steps=160, batch_size=256, lr=3e-3), options=options)
    assert history.loss[-1] < 0.6 * history.loss[0]


def plain_loop() -> tuple[dict[str, torch.Tensor], list[float]]:
    """Both ranks' prompts in one batch, torch.optim, no accelerate."""
    model = ranked.model()
    model.reset(Draw([3], INIT, dtype=torch.float64))
    optimizer = optimizer_of(model, ranked.TRAIN, Accelerate())
    losses = []
    for step in range(ranked.TRAIN.steps):
        half = [ranked.TASK.sample(4, Draw([3], DATA, rank=r, dtype=torch.float64).at(step)) for r in range(2)]
        loss = sum(Last()(model, sample) for sample in half) / 2
        optimizer.zero_grad()
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), ranked.TRAIN.clip)
        optimizer.param_groups[0]["lr"] = ranked.TRAIN.lr * schedule_factor(ranked.TRAIN, step)
        optimizer.step()
        losses.append(loss.item())
    return model.state_dict(), losses


@pytest.mark.slow
def test_two_ranks_are_one_plain_loop_over_both_shares(tmp_path):
    """DDP, accumulation and FSDP2 on two real processes (gloo), each interrupted at step 8 and resumed, too."""
    expected, losses = plain_loop()
    ways = {"ddp": {}, "accumulated": {"accumulation": 2}, "fsdp2": {"sharding": "fsdp2"}}
    found = over_ranks(ranked.all_ways, str(tmp_path), ways, devices=2)
    for way, one in found.items():
        assert one["ranks"] == 2, way  # accelerate launch --cpu would have started one, and said nothing
        for name, value in expected.items():
            torch.testing.assert_close(torch.tensor(one["weights"][name], dtype=torch.float64), value, **EXACT)
        assert [row[0] for row in one["loss"]] == pytest.approx(losses, rel=1e-9)
        assert one["resumed"] == {"weights": one["weights"], "loss": one["loss"], "steps": one["steps"]}
    assert found["fsdp2"]["held"] == found["ddp"]["held"] // 2


@pytest.mark.slow
def test_a_rank_that_fails_is_named():
    with pytest.raises(RanksFailed, match="of 2: ValueError: the third wheel is missing"):
        over_ranks(ranked.broken, devices=2)


def test_shares_must_be_whole():
    with pytest.raises(ValueError, match="must be a multiple of ranks x accumulation = 3"):
        Large(task=ranked.TASK, model=ranked.model(), objective=Last(), train=ranked.TRAIN, seed=0,
              options=Accelerate(accumulation=3))  # fmt: skip
