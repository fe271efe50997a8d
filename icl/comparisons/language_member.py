"""One member of a study of a language model: its prompt, and every reading of it that more than one question needs."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.language_arm import Arm
from icl.comparisons.measured import Curve
from icl.core import TokenPrompt, TokenSample
from icl.models.causal_lm_reading import Reading
from icl.rng import Draw


class Member:
    """The seed's demonstrations and queries before one model; readings are made once and shared by all comparisons.

    The queries are the same in every arm: zero-shot, in context, after any finetuning, trained or not.
    """

    def __init__(self, model: Any, task: Any, seed: int, n_queries: int | None = None) -> None:
        self.model, self.task, self.seed = model, task, seed
        text = task.sample(task.n_queries if n_queries is None else n_queries, Draw([seed], "text"))
        self.sample: TokenSample = model.encode(text)
        self.validation: TokenSample = model.encode(text, queries="validation")
        self._readings: dict[tuple[str, int], Reading] = {}
        self._arm: tuple[Any, Arm] | None = None

    @property
    def prompt(self) -> TokenPrompt:
        return self.sample.prompt

    def zero_shot(self, start: str = "trained") -> Reading:
        return self._read(start, 0)

    def in_context(self, start: str = "trained") -> Reading:
        return self._read(start, self.prompt.n_demos)

    def _read(self, start: str, n_demos: int) -> Reading:
        key = start, n_demos
        if key not in self._readings:
            for other in [k for k in self._readings if k[0] not in ("trained", start)]:
                del self._readings[other]  # one untrained baseline at a time, as the model holds them
            self._readings[key] = self.model.read(
                self.prompt, n_demos=n_demos, start=start, seed=self.seed, capture=True
            )
        return self._readings[key]

    def arm(self, reference: Any) -> Arm:
        """What the reference does with this prompt; the last one is kept."""
        if self._arm is None or self._arm[0] is not reference:
            self._arm = None
            self._arm = reference, reference.arm(self.model, self.sample, self.validation, seed=self.seed)
        return self._arm[1]


def number(value: Tensor | float) -> Float[Tensor, "1"]:
    """One member's number."""
    return torch.as_tensor(value, dtype=torch.float64).reshape(1)


def by_layer(
    title: str, y_label: str, profile: Float[Tensor, "L"], baseline: Float[Tensor, "L"] | None = None
) -> Curve:
    """A number a layer, and beside it, dashed, what it may be held against."""
    reference = [] if baseline is None else [baseline.tolist()]
    return Curve(
        kind="line", title=title, x_label="layer", y_label=y_label, x=list(range(len(profile))),
        model=[profile.tolist()], reference=reference, reference_label="Gaussian direction", model_label="this arm",
    )  # fmt: skip


def by_rate(
    title: str, y_label: str, arm: Arm, values: list[float], baseline: float | None = None, label: str = "reference"
) -> dict[str, Curve]:
    """A number a learning rate, where there is more than one; diverged ones are left out (null)."""
    if len(arm.grid) < 2:
        return {}
    x = [one.lr for one in arm.grid]
    y = [float("nan") if one.diverged else value for one, value in zip(arm.grid, values, strict=True)]
    reference = [] if baseline is None else [[baseline] * len(x)]
    diverged = [f"{one.lr:g}" for one in arm.grid if one.diverged]
    note = f"diverged and left out: {', '.join(diverged)}" if diverged else ""
    curve = Curve(
        kind="line", title=title, x_label="learning rate", y_label=y_label, x=x, model=[y], reference=reference,
        reference_label=label, log_x=True, note=note, model_label="this arm",
    )  # fmt: skip
    return {f"{y_label.replace(' ', '_').lower()}_by_learning_rate": curve}


def arm_numbers(arm: Arm) -> dict[str, Tensor]:
    """The chosen learning rate, and the share of the grid that diverged."""
    return {
        "learning_rate": number(arm.best.lr),
        "diverged": number(sum(one.diverged for one in arm.grid) / len(arm.grid)),
    }
