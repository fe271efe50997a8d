"""Whether rules that were shown, but never needed for an answer, are learned from the context all the same."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from icl.comparisons.measured import Measured
from icl.comparisons.translated import own_draw, translating
from icl.core import last_step
from icl.rng import Draw
from icl.runs import Run
from icl.tasks.phrasebooks import shift


@dataclass(frozen=True, kw_only=True)
class HeldOutRules:
    """Accuracy without context on pairs of the answer, by what they need of the `held_out` rules of book 1:

    needed      none of the rules that they depend on was held out in training
    held_out    at least one was
    """

    numbers: ClassVar[tuple[str, ...]] = ("needed", "held_out")
    n_prompts: int = 256

    @torch.no_grad()
    def measure_run(self, run: Run, draw: Draw) -> Measured:
        own, trained = own_draw(run, draw), run.task
        if not getattr(trained, "held_out", 0):
            raise ValueError("no rule was held out; it needs task.held_out >= 1")
        task = replace(translating(run), dropout=1.0)
        sample = task.sample(self.n_prompts, own)
        first = shift(sample.prompt.source, task.n_letters)  # what book 1 is asked for
        touched = (first[..., None] == trained.held_out_rules(own)[:, None, None]).any(-1)
        depends = torch.stack([touched.roll(-i, -1) for i in range(task.n_levels)]).any(0)
        right = last_step(run.model, sample.prompt).argmax(-1) == sample.target[:, :, -1]
        numbers = {
            name: (right & part).sum((1, 2)).double() / part.sum((1, 2))
            for name, part in {"needed": ~depends, "held_out": depends}.items()
        }
        return Measured(numbers=numbers, n_prompts=self.n_prompts)
