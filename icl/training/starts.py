"""Where the first weights of a job come from when it goes on from another run: `start` in the configuration."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from icl.config import ConfigError
from icl.config.start import start_folder
from icl.runs import RunError, RunFolder


def first_weights(cfg: Any) -> dict[str, Tensor] | None:
    """The final weights of the run that `cfg` goes on from, a row a member of `cfg`; None if it goes on from none.

    A start of one member is that of every member; of as many, member by member.

    Raises:
        RunError: the start is no finished run.
        ConfigError: it has another number of members.
    """
    path = start_folder(cfg)
    if path is None:
        return None
    folder = RunFolder(path)
    if not folder.finished:
        raise RunError(f"start={path} is no finished run folder")
    weights = folder.tensors("weights")
    members = next(iter(weights.values())).shape[0]
    if members not in (1, cfg.n_seeds):
        raise ConfigError(f"start={path} has {members} members, this run {cfg.n_seeds} (allowed: 1 or as many)")
    return {key: value.expand(cfg.n_seeds, *value.shape[1:]) for key, value in weights.items()}


def of_bank(configs: Sequence[Any]) -> dict[str, Tensor] | None:
    """The first weights of all jobs of a bank, one after the other."""
    found = [first_weights(cfg) for cfg in configs]
    if found[0] is None:
        return None
    return {key: torch.cat([weights[key] for weights in found if weights is not None]) for key in found[0]}


def load_start(model: Any, weights: dict[str, Tensor]) -> None:
    """Put them into the model.

    Raises:
        ValueError: they are of another model.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise ValueError(f"start: its weights do not fit this model: {what}") from None
