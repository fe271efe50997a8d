"""SGD, Adam and AdamW for a bank: learning rate, weight decay and clipping belong to a member. One model: torch's own.

`torch.optim` has one learning rate a group and `clip_grad_norm_` one norm over everything, so both would mix the
members. Here all gradients are one matrix (M, F), a row a member, and every rule is a few row-wise operations.
References: Kingma & Ba 2014 (Adam), Loshchilov & Hutter 2017 (AdamW); equal to torch.optim member by member.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.config import Train
from icl.config.build import check_component, locate
from icl.config.machines import Accelerate

CLIP_EPS = 1e-6  # as in torch.nn.utils.clip_grad_norm_


def schedule_factor(train: Train, step: int) -> float:
    """The share of `lr` in force at `step` (0-based); the formula is in `Train`."""
    warm = min(1.0, (step + 1) / train.warmup) if train.warmup else 1.0
    if train.schedule == "constant" or train.steps == 0:
        return warm
    progress = max(0.0, (step / train.steps - train.hold) / (1 - train.hold))
    return warm * (1 - progress if train.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress)))


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
    ):
        self.parameters = list(parameters)
        self.train = train
        n_members, like = self.parameters[0].shape[0], self.parameters[0]
        self.shapes = [p.shape for p in self.parameters]
        self.sizes = [p[0].numel() for p in self.parameters]

        def column(values: Sequence[float] | None, default: float) -> Tensor:
            return like.new_tensor(values or [default] * n_members).view(-1, 1)

        self.lr = column(lr, train.lr)
        self.weight_decay = column(weight_decay, train.weight_decay)
        limits = [math.inf if c is None else c for c in (clip or [train.clip] * n_members)]
        self.clip = column(limits, math.inf)
        self.clips, self.decays = any(map(math.isfinite, limits)), bool(self.weight_decay.any())
        n_moments = {"adam": 2, "adamw": 2, "sgd": int(train.momentum > 0)}[train.optimizer]
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
        grad = self._flat(gradients)
        if self.clips:
            norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
            grad *= (self.clip / (norm + CLIP_EPS)).clamp_(max=1.0)
        lr = self.lr * factor
        update = self._sgd(grad, lr) if self.train.optimizer == "sgd" else self._adam(grad, lr, scale, debias)
        pieces = [u.view(shape) for u, shape in zip(update.split(self.sizes, dim=1), self.shapes, strict=True)]
        torch._foreach_sub_(self.parameters, pieces)

    def _flat(self, tensors: Sequence[Tensor]) -> Float[Tensor, "M F"]:
        return torch.cat([t.reshape(t.shape[0], -1) for t in tensors], dim=1)

    def _decayed(self, grad: Tensor) -> Tensor:
        return grad.addcmul_(self.weight_decay, self._flat(self.parameters)) if self.decays else grad

    def _sgd(self, grad: Tensor, lr: Tensor) -> Tensor:
        grad = self._decayed(grad)
        if self.moments:
            grad = self.moments[0].mul_(self.train.momentum).add_(grad)
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
        return {f"optimizer.{i}": moment for i, moment in enumerate(self.moments)}

    def load(self, state: dict[str, Tensor], n_updates: int) -> None:
        for i, moment in enumerate(self.moments):
            moment.copy_(state[f"optimizer.{i}"])
        self.n_updates = n_updates


def optimizer_of(loss: nn.Module, train: Train, options: Accelerate) -> torch.optim.Optimizer:
    """The update rule of `train`, or the class that `accelerate.optimizer` names; one model, so any may be had."""
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    rates = {"lr": train.lr, "weight_decay": train.weight_decay}
    if options.optimizer is not None:
        check_component("accelerate.optimizer", options.optimizer, supplied=("params", *rates))
        own = {key: value for key, value in options.optimizer.items() if key != "_target_"}
        return locate("accelerate.optimizer", options.optimizer["_target_"])(loss.parameters(), **rates, **own)
    own = {"momentum": train.momentum} if train.optimizer == "sgd" else {"betas": tuple(train.betas), "eps": train.eps}
    return kinds[train.optimizer](loss.parameters(), **rates, **own)
