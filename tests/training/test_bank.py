"""A bank member is a lone run is a plain torch.optim loop; interrupted is uninterrupted."""

import pytest
import torch

from icl.config import ConfigError, Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.objectives.population import Population
from icl.rng import Draw
from icl.runs import RunError
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import INIT, Bank, Stopped, fit
from icl.training.batches import DATA
from icl.training.checkpoints import NAME, PREVIOUS, load_checkpoint
from icl.training.history import log_spaced

TASK = LinearRegression(dim=3, n_context=5, inputs="uniform")
TRAIN = Train(steps=40, batch_size=8, clip=0.01, lr=1e-2, schedule="linear", hold=0.5, checkpoint_every=10)


def bank_of(seeds, train=TRAIN, **options) -> Bank:
    model = LinearAttention(dim=3, n_seeds=len(seeds), dtype=torch.float64)
    return Bank(task=TASK, model=model, objective=Last(), train=train, seeds=seeds, **options)


def weights(bank: Bank):
    return {k: v.clone() for k, v in bank.model.state_dict().items()}


@pytest.mark.parametrize("stream", ["own", "shared"])
def test_a_member_equals_the_lone_run(stream):
    train = Train(**(vars(TRAIN) | {"stream": stream}))
    bank = bank_of([4, 9, 2], train, lr=[1e-2, 3e-3, 1e-2])
    history = bank.run()
    lone = bank_of([9], train, lr=[3e-3])
    alone = lone.run()
    for name, value in weights(lone).items():
        torch.testing.assert_close(weights(bank)[name][1:2], value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.stack(history.loss)[:, 1:2], torch.stack(alone.loss), rtol=1e-9, atol=1e-9)


def test_a_lone_run_equals_a_plain_torch_loop():
    bank = bank_of([5])
    bank.run()
    model = LinearAttention(dim=3, dtype=torch.float64)
    model.reset(Draw([5], INIT, dtype=torch.float64))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.98))
    for step in range(40):
        sample = TASK.sample(8, Draw([5], DATA, step=step, dtype=torch.float64))
        loss = 0.5 * (model(sample.prompt)[-1] - sample.target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.param_groups[0]["lr"] = 1e-2 * (1.0 if step < 20 else 2 * (1 - step / 40))
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights(bank)[name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("budget_steps", [1, 10, 17])
def test_an_interrupted_bank_goes_on_with_the_same_bits(tmp_path, budget_steps, monkeypatch):
    whole = bank_of([0, 1])
    expected = whole.run()
    broken = bank_of([0, 1], folder=tmp_path)
    original, calls = Bank.step, []

    def interrupted(self, step):
        calls.append(step)
        if len(calls) == budget_steps:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(Bank, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    monkeypatch.setattr(Bank, "step", original)
    resumed = bank_of([0, 1], folder=tmp_path)
    history = resumed.run()
    for name, value in weights(whole).items():
        assert torch.equal(weights(resumed)[name], value)
    assert history.steps == expected.steps
    assert torch.equal(torch.stack(history.loss), torch.stack(expected.loss))
    assert history.snapshots.keys() == expected.snapshots.keys()


def test_a_budget_stops_and_leaves_a_checkpoint(tmp_path):
    train = Train(**(vars(TRAIN) | {"max_seconds": 1e-9}))
    with pytest.raises(Stopped, match="max_seconds"):
        bank_of([0], train, folder=tmp_path).run()
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[1]["step"] == 0


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path, capsys):
    bank_of([0], folder=tmp_path).run()
    path = tmp_path / NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[1]["step"] < 40
    assert "damaged" in capsys.readouterr().out
    assert not (tmp_path / PREVIOUS).exists()  # it is the newest now
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match="truncated"):
        load_checkpoint(tmp_path)


def test_population_training_meets_the_sampled_optimum():
    task = LinearRegression(dim=3, n_context=5)
    model = LinearAttention(dim=3, parametrization="merged", dtype=torch.float64, init="normal", init_scale=0.05)
    fit(task, model, Population(task=task), Train(steps=800, lr=3e-2, schedule="cosine"), seeds=[0])
    P, Q = model.merged()
    loss = task.one_layer_half_mse(P[:, 0, -1], Q[:, 0], normalize=False)
    assert loss.item() == pytest.approx(task.best_one_step_half_mse(), rel=1e-3)


def test_a_curriculum_changes_the_task_at_its_steps(monkeypatch):
    seen = []
    original = LinearRegression.sample
    monkeypatch.setattr(
        LinearRegression, "sample", lambda self, b, draw: (seen.append(self.n_context), original(self, b, draw))[1]
    )
    train = Train(steps=6, batch_size=2, curriculum={"task.n_context": {0: 2, 3: 4}})
    bank_of([0], train).run()
    assert seen == [2, 2, 2, 4, 4, 4]
    with pytest.raises(ConfigError, match="n_contxt"):
        bank_of([0], Train(curriculum={"task.n_contxt": {0: 2}}))


def test_a_fixed_set_of_prompts_comes_again_and_again():
    """Two batches by turns are a plain loop over the prompts of steps 0 and 1."""
    bank = bank_of([5], Train(steps=6, batch_size=4, optimizer="sgd", lr=0.1, n_batches=2))
    bank.run()
    model = LinearAttention(dim=3, dtype=torch.float64)
    model.reset(Draw([5], INIT, dtype=torch.float64))
    batches = [TASK.sample(4, Draw([5], DATA, step=step, dtype=torch.float64)) for step in (0, 1)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(6):
        optimizer.zero_grad()
        Last()(model, batches[step % 2]).sum().backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights(bank)[name], value, rtol=1e-9, atol=1e-12)
    with pytest.raises(ConfigError, match="n_batches=0 must be >= 1"):
        Train(n_batches=0)


def test_weights_are_kept_at_the_steps_that_were_asked_for():
    history = bank_of([0], Train(steps=6, batch_size=2, n_snapshots=0, snapshot_at=[2, 5, 9])).run()
    assert set(history.snapshots) == {2, 5}
    with pytest.raises(ConfigError, match="snapshot_at"):
        Train(snapshot_at=[-1])


def test_log_spaced_steps_hold_both_ends():
    assert {0, 1, 3000} <= log_spaced(3000, 20)
    assert log_spaced(0, 5) == {0}
    assert log_spaced(10, 0) == set()


def test_the_same_command_gives_the_same_bits():
    first, second = bank_of([0, 1]), bank_of([0, 1])
    first.run()
    second.run()
    for name, value in weights(first).items():
        assert torch.equal(weights(second)[name], value)
