"""Loss and gradients of a bank a few members at a time: forward and backward of some before the forward of the next.

A bank of large models that goes forward as a whole keeps the activations of all members until the backward pass, which
then finds none of them in cache: eight transformers were 6 % slower than the same eight one after the other. A model
that has `members_at_once(prompt)` is taken in parts of that many members. Every member still sees the same numbers.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from icl.core import Prompt, Sample


class MemberParts:
    """`gradients(objective, sample)` of one bank; the parts are views of its parameters, made once a size."""

    def __init__(self, model: Any):
        self.model = model
        self.parameters = list(model.parameters())
        self.n_members = self.parameters[0].shape[0]
        self._parts: dict[int, list[tuple[int, Any]]] = {}

    def gradients(self, objective: Any, sample: Sample | None) -> tuple[Tensor, Sequence[Tensor]]:
        """The loss of every member, and the gradient of its own for every parameter."""
        size = self._size(sample)
        if sample is None or size >= self.n_members:
            loss = objective(self.model, sample)
            return loss, torch.autograd.grad(loss.sum(), self.parameters)
        losses, found = [], [torch.empty_like(p) for p in self.parameters]
        for start, part in self._of(size):
            stop = min(start + size, self.n_members)
            loss = objective(part, members_of(sample, start, stop))
            gradients = torch.autograd.grad(loss.sum(), list(part.parameters()))
            for whole, gradient in zip(found, gradients, strict=True):
                whole[start:stop] = gradient
            losses.append(loss.detach())
        return torch.cat(losses), found

    def _size(self, sample: Sample | None) -> int:
        at_once = getattr(self.model, "members_at_once", None)
        return self.n_members if at_once is None or sample is None else at_once(sample.prompt)

    def _of(self, size: int) -> list[tuple[int, Any]]:
        if size not in self._parts:
            starts = range(0, self.n_members, size)
            self._parts[size] = [(a, part_of(self.model, a, min(a + size, self.n_members))) for a in starts]
        return self._parts[size]


def part_of(bank: nn.Module, start: int, stop: int) -> Any:
    """Members start..stop-1 of a bank as a bank of their own, its parameters views of the same memory."""
    part = copy.copy(bank)
    if getattr(bank, "n_seeds", None) is not None:
        part.__dict__["n_seeds"] = stop - start
    part.__dict__["_parameters"] = {
        name: None if p is None else nn.Parameter(p.detach()[start:stop], requires_grad=p.requires_grad)
        for name, p in bank._parameters.items()
    }
    part.__dict__["_modules"] = {
        name: None if module is None else part_of(module, start, stop) for name, module in bank._modules.items()
    }
    return part


def members_of(sample: Sample, start: int, stop: int) -> Sample:
    """The prompts of members start..stop-1; those that all members share stay as they are."""

    def cut(t: Tensor) -> Tensor:
        return t[start:stop] if t.shape[0] > 1 else t

    prompt = Prompt(cut(sample.prompt.x), cut(sample.prompt.y), cut(sample.prompt.x_query))
    return Sample(prompt, cut(sample.target), None if sample.w_star is None else cut(sample.w_star))
