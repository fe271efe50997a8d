"""A signal in the middle of an update waits for its end; what is saved then is the state after a whole step."""

import os
import signal

import pytest
import torch

from icl.config import Train
from icl.config.interrupts import Held, Interrupted, interruptible
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import fit
from icl.training.checkpoints import load_checkpoint
from icl.training.optimizers import BankOptimizer

TASK, TRAIN = LinearRegression(dim=3, n_context=4), Train(steps=12, batch_size=4, checkpoint_every=100, lr=1e-2)


def trained(folder=None):
    model = LinearAttention(dim=3, n_seeds=2)
    fit(TASK, model, Last(), TRAIN, seeds=[0, 1], folder=folder)
    return model


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_inside_the_optimiser_leaves_a_whole_step(number, tmp_path, monkeypatch):
    expected = trained()
    original = BankOptimizer._adam

    def adam(self, *rest):
        update = original(self, *rest)  # the moments are new, the parameters are not
        if self.n_updates == 6:
            os.kill(os.getpid(), number)
        return update

    monkeypatch.setattr(BankOptimizer, "_adam", adam)
    with pytest.raises(Interrupted) as asked, interruptible():
        trained(tmp_path)
    assert asked.value.code == 128 + number
    monkeypatch.setattr(BankOptimizer, "_adam", original)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[1]["step"] == 6
    for name, value in trained(tmp_path).state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])


def test_a_handler_that_returns_lets_the_training_go_on(tmp_path, monkeypatch):
    """A cluster's own handler, for instance one that only makes a note."""
    expected, seen = trained(), []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    original = LinearRegression.sample

    def sample(self, batch_size, draw):
        if draw.step == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert seen == []
        return original(self, batch_size, draw)

    try:
        monkeypatch.setattr(LinearRegression, "sample", sample)
        model = trained(tmp_path)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])


def test_the_second_signal_does_not_wait():
    with interruptible(), Held():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with interruptible(), Held():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("error", [ValueError("of compiled code"), SystemExit(2)])
def test_an_error_that_takes_the_place_of_a_signal_is_the_signal(error):
    def compiled() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise error from None

    with pytest.raises(Interrupted) as asked, interruptible():
        compiled()
    assert asked.value.code == 128 + signal.SIGTERM


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(ValueError, match="mine"), interruptible():
        raise ValueError("mine")
