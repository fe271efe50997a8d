"""The learning rate over a training, as a share of `train.lr`.

References: Loshchilov & Hutter 2016, SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983
"""

import math

from icl.config import Train


def schedule_factor(train: Train, step: int) -> float:
    """The share of `lr` in force at `step` (0-based); the formula is in `Train`."""
    warm = min(1.0, (step + 1) / train.warmup) if train.warmup else 1.0
    if train.schedule == "constant" or train.steps == 0:
        return warm
    if train.schedule == "restarts":
        return warm * _half_cosine(_since_restart(train, step))
    progress = max(0.0, (step / train.steps - train.hold) / (1 - train.hold))
    return warm * (1 - progress if train.schedule == "linear" else _half_cosine(progress))


def _half_cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _since_restart(train: Train, step: int) -> float:
    """The share of the current period that is over; periods are R, R g, R g², ..."""
    assert train.restart_every is not None
    length, start = float(train.restart_every), 0.0
    while step >= start + length:
        start, length = start + length, length * train.restart_growth
    return (step - start) / length
