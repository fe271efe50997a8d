"""Update rules of pytorch_optimizer inside a bank: one group of its parameters for each rate that members have.

Its optimisers know one learning rate a group. Members that stand side by side and share their rates are one slice of
every parameter; the optimiser steps on views of those slices, so nothing is copied. Rules that act coordinate by
coordinate then keep members apart; the others are refused for more than one (`icl.config.recipe.check_members`).

References: pytorch_optimizer, https://github.com/kozistr/pytorch_optimizer
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from icl.config import ConfigError, Train
from icl.config.recipe import LONE_OPTIMIZERS, check_members


def library_class(name: str) -> Any:
    """The class that pytorch_optimizer calls `name`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from pytorch_optimizer import load_optimizer
    except ImportError:
        raise ConfigError(f"train.optimizer={name} needs the extra optim: pip install icl-lab[optim]") from None
    return load_optimizer(name)


def options_of(kind: Any, train: Train) -> dict[str, Any]:
    """The fields of `train` that the class knows, then `optimizer_options`, which win.

    Raises:
        ConfigError: an option is no argument of the class.
    """
    known = inspect.signature(kind).parameters
    fields = {"betas": tuple(train.betas), "eps": train.eps, "momentum": train.momentum}
    if "betas" in known and len(known["betas"].default) != 2:
        del fields["betas"]
    own = dict(train.optimizer_options)
    for option in own:
        if option not in known or option in ("params", "lr", "weight_decay", "kwargs"):
            allowed = sorted(set(known) - {"params", "lr", "weight_decay", "kwargs"})
            raise ConfigError(
                f"train.optimizer_options.{option} is unknown to {train.optimizer} (known: {', '.join(allowed)})"
            )
    return {key: value for key, value in fields.items() if key in known} | own


class LibraryRule:
    """pytorch_optimizer's `train.optimizer` on the parameters (M, ...) of a bank, changed in place."""

    def __init__(self, parameters: Sequence[Tensor], train: Train, lr: Sequence[float], weight_decay: Sequence[float]):
        check_members(train, len(lr))
        kind = library_class(train.optimizer)
        self.lr: list[float] = []
        self.slices: list[slice | int] = []
        self.views: list[list[Tensor]] = []
        groups = []
        for start, stop in _side_by_side(list(zip(lr, weight_decay, strict=True))):
            # A rule that looks at the shape of a weight must see that of a lone model.
            where: slice | int = start if train.optimizer in LONE_OPTIMIZERS else slice(start, stop)
            views = [p.detach()[where].requires_grad_() for p in parameters]
            groups.append({"params": views, "lr": lr[start], "weight_decay": weight_decay[start]})
            self.lr.append(lr[start])
            self.slices.append(where)
            self.views.append(views)
        try:
            self.optimizer = kind(groups, lr=lr[0], weight_decay=weight_decay[0], **options_of(kind, train))
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigError(f"train.optimizer={train.optimizer}: {str(error).splitlines()[0]}") from None

    def step(self, gradients: Sequence[Tensor], factor: float) -> None:
        for group, lr, where, views in zip(self.optimizer.param_groups, self.lr, self.slices, self.views, strict=True):
            group["lr"] = lr * factor
            for view, gradient in zip(views, gradients, strict=True):
                view.grad = gradient[where].contiguous()
        self.optimizer.step()

    # ---- for checkpoints: everything is a tensor
    def state(self) -> dict[str, Tensor]:
        found = self.optimizer.state_dict()
        tensors = {}
        for index, own in found["state"].items():
            tensors |= {f"moment.{index}.{key}": v for key, v in own.items() if isinstance(v, Tensor)}
            numbers = {key: v for key, v in own.items() if isinstance(v, int | float)}
            tensors |= {f"number.{index}.{key}": _as_tensor(v) for key, v in numbers.items()}
        for index, group in enumerate(found["param_groups"]):
            numbers = {key: v for key, v in group.items() if isinstance(v, int | float) and key != "lr"}
            tensors |= {f"group.{index}.{key}": _as_tensor(v) for key, v in numbers.items()}
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        found = self.optimizer.state_dict()
        state: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            room, index, name = key.split(".", 2)
            if room == "group":
                found["param_groups"][int(index)][name] = value.item()
            else:
                state.setdefault(int(index), {})[name] = value if room == "moment" else value.item()
        self.optimizer.load_state_dict({"state": state, "param_groups": found["param_groups"]})


def _side_by_side(rates: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """(start, stop) of every run of equal neighbours."""
    starts = [i for i in range(len(rates)) if i == 0 or rates[i] != rates[i - 1]]
    return list(zip(starts, [*starts[1:], len(rates)], strict=True))


def _as_tensor(value: bool | int | float) -> Tensor:
    return torch.tensor(value, dtype=None if isinstance(value, bool | int) else torch.float64)
