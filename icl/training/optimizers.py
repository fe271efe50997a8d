"""The update rules of a bank: learning rate, weight decay and clipping belong to a member.

`torch.optim` has one learning rate a group and `clip_grad_norm_` one norm over everything, so both would mix the
members. Here all gradients are one matrix (M, F), a row a member, and every rule is a few row-wise operations:

    sgd         m ← μ m + g,  w ← w − η m            normalized  w ← w − η m / ‖m‖
    sign        w ← w − η sign(m)                    adam, adamw as in torch.optim

Any other rule is that of pytorch_optimizer (icl/training/library.py); one large model has torch's own (`optimizer_of`).
References: Kingma & Ba 2014 (Adam), Loshchilov & Hutter 2017 (AdamW), Bernstein et al. 2018 (sign, with momentum);
equal to torch.optim member by member.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.config import Train
from icl.config.build import check_component, locate
from icl.config.machines import Accelerate
from icl.config.recipe import LIBRARY_OPTIMIZERS
from icl.rng import Draw
from icl.training.gradients import clip_coordinates, clip_norm_, clip_units, noise
from icl.training.library import LibraryRule, library_class, options_of
from icl.training.schedules import schedule_factor

__all__ = ["BankOptimizer", "optimizer_of", "project", "schedule_factor"]


class BankOptimizer:
    """One update rule for M independent models whose parameters all have shape (M, ...)."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        train: Train,
        *,
        lr: Sequence[float] | None = None,
        weight_decay: Sequence[float] | None = None,
        clip: Sequence[float | None] | None = None,
        noise: Draw | None = None,
    ):
        self.parameters = list(parameters)
        self.train, self.noise = train, noise
        n_members, like = self.parameters[0].shape[0], self.parameters[0]
        self.shapes = [p.shape for p in self.parameters]
        self.sizes = [p[0].numel() for p in self.parameters]

        def column(values: Sequence[float] | None, default: float) -> Tensor:
            return like.new_tensor(values or [default] * n_members).view(-1, 1)

        self.lr = column(lr, train.lr)
        self.weight_decay = column(weight_decay, train.weight_decay)
        limits = [math.inf if c is None else c for c in (clip or [train.clip] * n_members)]
        self.clip = column(limits, math.inf)
        self.clips, self.decays = any(map(math.isfinite, limits)), any(weight_decay or [train.weight_decay])
        self.library: LibraryRule | None = None
        if train.optimizer in LIBRARY_OPTIMIZERS:
            rates = lr or [train.lr] * n_members, weight_decay or [train.weight_decay] * n_members
            self.library = LibraryRule(self.parameters, train, *rates)
        n_moments = {"adam": 2, "adamw": 2}.get(train.optimizer, int(train.momentum > 0 and self.library is None))
        self.moments = [like.new_zeros(n_members, sum(self.sizes)) for _ in range(n_moments)]
        self.n_updates = 0

    def step(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Update the parameters in place; `factor` is the schedule's share of the learning rate."""
        self.n_updates += 1
        self._update(gradients, factor, *self._corrections(self.n_updates))

    def to_device(self) -> None:
        """Get ready for `step_on_device`: the numbers of every update as a table, and the count of updates."""
        rows = [(schedule_factor(self.train, k), *self._corrections(k + 1)) for k in range(self.train.steps)]
        like = self.parameters[0]
        self.table = torch.tensor(rows, dtype=torch.float64).to(device=like.device, dtype=like.dtype)
        self.count = torch.tensor([self.n_updates], device=like.device)

    def step_on_device(self, gradients: Sequence[Tensor]) -> None:
        """The same update, of which the host knows no number: it may be captured in a graph. `n_updates` stays."""
        row = self.table.index_select(0, self.count).view(-1, 1)
        self._update(gradients, row[0], row[1], row[2])
        self.count += 1

    def _corrections(self, n: int) -> tuple[float, float]:
        """Adam's 1/√(1 − β₂ⁿ) and 1 − β₁ⁿ."""
        beta1, beta2 = self.train.betas
        return 1 / math.sqrt(1 - beta2**n), 1 - beta1**n

    @torch.no_grad()
    def _update(
        self, gradients: Sequence[Tensor], factor: float | Tensor, scale: float | Tensor, debias: float | Tensor
    ) -> None:
        grad = self._prepared(gradients)
        if self.library is not None:
            self.library.step(self._pieces(grad), float(factor))
            return
        lr = self.lr * factor
        adam = self.train.optimizer in ("adam", "adamw")
        update = self._adam(grad, lr, scale, debias) if adam else self._descent(grad, lr)
        torch._foreach_sub_(self.parameters, self._pieces(update))

    def _prepared(self, gradients: Sequence[Tensor]) -> Float[Tensor, "M F"]:
        """The gradients as one matrix, clipped (by unit, by coordinate, by norm), then with noise."""
        limit = self.train.adaptive_clip
        if limit is not None:
            gradients = [clip_units(g, p, limit) for g, p in zip(gradients, self.parameters, strict=True)]
        grad = self._flat(gradients)
        if self.train.clip_share:
            grad = clip_coordinates(grad, self.train.clip_share)
        if self.clips:
            clip_norm_(grad, self.clip)
        if self.train.gradient_noise:
            if self.noise is None:
                raise ValueError("gradient_noise needs a draw: BankOptimizer(..., noise=Draw(seeds, name))")
            grad += noise(self.noise, self.n_updates - 1, grad.shape[1], self.train.gradient_noise)
        return grad

    def _pieces(self, flat: Float[Tensor, "M F"]) -> list[Tensor]:
        return [u.view(shape) for u, shape in zip(flat.split(self.sizes, dim=1), self.shapes, strict=True)]

    def _flat(self, tensors: Sequence[Tensor]) -> Float[Tensor, "M F"]:
        return torch.cat([t.reshape(t.shape[0], -1) for t in tensors], dim=1)

    def _decayed(self, grad: Tensor) -> Tensor:
        return grad.addcmul_(self.weight_decay, self._flat(self.parameters)) if self.decays else grad

    def _descent(self, grad: Tensor, lr: Tensor) -> Tensor:
        """sgd, normalized, sign. A gradient of zero has no direction: that member stays where it is."""
        grad = self._decayed(grad)
        if self.moments:
            grad = self.moments[0].mul_(self.train.momentum).add_(grad)
        if self.train.optimizer == "sign":
            grad = grad.sign()
        elif self.train.optimizer == "normalized":
            norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
            grad = grad / torch.where(norm == 0, 1, norm)
        return lr * grad

    def _adam(self, grad: Tensor, lr: Tensor, scale: float | Tensor, debias: float | Tensor) -> Tensor:
        beta1, beta2 = self.train.betas
        decoupled = self.train.optimizer == "adamw"
        grad = grad if decoupled else self._decayed(grad)
        mean, square = self.moments
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = square.sqrt().mul_(scale).add_(self.train.eps)
        update = (mean / denominator).mul_(lr / debias)
        if decoupled and self.decays:
            update.addcmul_(lr * self.weight_decay, self._flat(self.parameters))
        return update

    # ---- for checkpoints
    def state(self) -> dict[str, Tensor]:
        own = {f"optimizer.{i}": moment for i, moment in enumerate(self.moments)}
        library = {} if self.library is None else self.library.state()
        return own | {f"optimizer.{key}": value for key, value in library.items()}

    def load(self, state: dict[str, Tensor], n_updates: int) -> None:
        for i, moment in enumerate(self.moments):
            moment.copy_(state[f"optimizer.{i}"])
        if self.library is not None:
            own = {k.removeprefix("optimizer."): v for k, v in state.items() if k.startswith("optimizer.")}
            self.library.load({k: v for k, v in own.items() if "." in k})
        self.n_updates = n_updates


def optimizer_of(loss: nn.Module, train: Train, options: Accelerate) -> torch.optim.Optimizer:
    """The update rule of `train`, or the class that `accelerate.optimizer` names; one model, so any may be had."""
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    rates = {"lr": train.lr, "weight_decay": train.weight_decay}
    if options.optimizer is not None:
        check_component("accelerate.optimizer", options.optimizer, supplied=("params", *rates))
        own = {key: value for key, value in options.optimizer.items() if key != "_target_"}
        return locate("accelerate.optimizer", options.optimizer["_target_"])(loss.parameters(), **rates, **own)
    if train.optimizer in LIBRARY_OPTIMIZERS:
        kind = library_class(train.optimizer)
        return kind(loss.parameters(), **rates, **options_of(kind, train))
    own = {"momentum": train.momentum} if train.optimizer == "sgd" else {"betas": tuple(train.betas), "eps": train.eps}
    return kinds[train.optimizer](loss.parameters(), **rates, **own)


def project(model: Any) -> None:
    """Weights back to where the model allows them, if it has a `project_`; after every update."""
    own = getattr(model, "project_", None)
    if own is not None:
        own()
