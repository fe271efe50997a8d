"""What a translator has learned: its accuracy with the phrasebooks in the prompt, without them, and with new ones."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.translated import by_snapshot, interval, own_draw, shares, translating
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class Translation:
    """Share of the answer's pairs that are right, on `n_prompts` new strings a member; chance is 1/n².

        without_context   no rule is shown: what is in the weights
        with_context      all rules are shown, those that were trained on
        fresh             new phrasebooks in every prompt: the ability to read them
        fresh_least       the same, of the worst level;  started_fresh: that, of the weights training started from

    Intervals are over strings. The curves follow the first two through training.
    """

    numbers: ClassVar[tuple[str, ...]] = ("without_context", "with_context", "fresh", "fresh_least", "started_fresh")
    n_prompts: int = 512
    n_curve_prompts: int = 128

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        task, own = translating(run), own_draw(run, draw)
        fixed = replace(task, books="fixed")
        fresh_task = replace(task, books="fresh")
        fresh = shares(run.model, fresh_task, own, self.n_prompts, every_level=True)
        values = {
            "without_context": shares(run.model, replace(fixed, dropout=1.0), own, self.n_prompts)[0],
            "with_context": shares(run.model, fixed, own, self.n_prompts)[0],
            "fresh": fresh[-1],
        }
        numbers = {name: value.mean(-1) for name, value in values.items()}
        numbers["fresh_least"] = fresh.mean(-1).amin(0)
        step, first = next(run.snapshots(), (-1, None)) if run.folder.has("snapshots.safetensors") else (-1, None)
        numbers["started_fresh"] = torch.full_like(numbers["fresh"], torch.nan)
        if step == 0:
            numbers["started_fresh"] = shares(first, fresh_task, own, self.n_prompts, every_level=True).mean(-1).amin(0)
        curves = {}
        n = min(self.n_curve_prompts, self.n_prompts)
        for name, asked in {"without": replace(fixed, dropout=1.0), "with": fixed}.items():
            steps, accuracy = by_snapshot(run, asked, own, n)
            if steps:
                curves[name] = Curve(
                    kind="line", title=f"Accuracy {name} context", x_label="training step",
                    y_label="share of pairs that are right", x=steps, model=accuracy.tolist(),
                )  # fmt: skip
        intervals = {name: interval(value) for name, value in values.items()}
        return Measured(numbers=numbers, intervals=intervals, curves=curves, n_prompts=self.n_prompts)
