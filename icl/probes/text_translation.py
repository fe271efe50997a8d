"""What a finetuned language model translates with and without context, and what its training cost."""

import resource
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Measured
from icl.comparisons.translated import interval, members, own_draw, translating
from icl.rng import Draw
from icl.runs import Run
from icl.training.batches import training_draw


@dataclass(frozen=True, kw_only=True)
class TextTranslation:
    """Share of the answer's letters that are the most likely token, after the true ones before it; `n_prompts` strings.

    with_context, without_context    all rules shown, or none; chance among the language's letters is 1/n
    started_with, started_without    the same of the pretrained weights
    tokens_per_second                tokens of all training texts over the wall time of the training
    peak_gib                         the largest resident size of this process so far
    padding_share                    of the tokens that the model was given; texts are packed
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "with_context", "without_context", "started_with", "started_without", "tokens_per_second", "peak_gib",
        "padding_share",
    )  # fmt: skip
    n_prompts: int = 16

    @torch.no_grad()
    def measure_run(self, run: Run, draw: Draw) -> Measured:
        if not hasattr(run.model, "answers"):
            raise ValueError(f"{type(run.model).__name__} writes no text; it needs model=finetuned_lm")
        own, task, model = own_draw(run, draw), translating(run), run.model
        tasks = {"with": task, "without": replace(task, dropout=1.0)}
        values = {f"{name}_context": self._shares(model, asked, own) for name, asked in tasks.items()}
        model.reset(Draw(list(range(run.config.seed, run.config.seed + model.n_seeds)), "init"))
        values |= {f"started_{name}": self._shares(model, asked, own) for name, asked in tasks.items()}
        used, given = tokens(run)
        numbers = {name: value.mean(-1) for name, value in values.items()}
        seconds = max(run.result["wall_seconds"], 1e-9)
        numbers |= {name: torch.full_like(numbers["with_context"], value) for name, value in {
            "tokens_per_second": used / seconds, "padding_share": 1 - used / max(given, 1),
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }.items()}  # fmt: skip
        intervals = {name: interval(value) for name, value in values.items()}
        return Measured(numbers=numbers, intervals=intervals, n_prompts=self.n_prompts)

    def _shares(self, model: Any, task: Any, own: Draw) -> Float[Tensor, "M B"]:
        """A prompt after the other, as their logits are large."""
        sample = task.sample(self.n_prompts, own)
        parts = [
            replace(sample, prompt=sample.prompt.chunk(i, i + 1), target=sample.target[:, i : i + 1])
            for i in range(self.n_prompts)
        ]
        return torch.cat([model.answers(part)[1].double().mean(-1) for part in parts], 1).cpu()


def tokens(run: Run) -> tuple[int, int]:
    """(tokens of all training texts, tokens that the model was given for them): the training's draws once more."""
    from icl.config import Train
    from icl.config.schema import plain
    from icl.training.curricula import Curriculum

    train, model = Train(**plain(run.config.train)), run.model
    curriculum = Curriculum(train, task=run.task, objective=None)
    draw = training_draw(train, members(run), device="cpu", dtype=torch.float32)
    used = given = 0
    for step in range(train.steps):
        task, _ = curriculum.at(step)
        sample = task.sample(train.batch_size, draw.at(train.data_step(step)))
        for m in range(model.n_seeds):
            used += sum(len(text) for text, _ in model.writer.texts(sample, m))
            given += len(model.writer.pack(sample, m)[0])
    return used, given
