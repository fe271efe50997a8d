"""Where the tokens of a transformer look, by layer and head.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677 (the copy layer)
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import chunks, n_members
from icl.config import ConfigError
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """Mean attention over prompts, tokens x_1, y_1, x_2, ..; of all layers and heads the largest, or at the query

        copy             from a label y_i to its own x_i: a pair is put together, the first half of an induction head
        previous         from x_i to the label before it, y_{i−1}
        labels, inputs   from the query to all labels, and to all inputs of the context; mean of the last layer's heads

    beside a map of every head's attention from the query, and the whole map of the head that copies most.
    """

    numbers: ClassVar[tuple[str, ...]] = ("copy", "previous", "labels", "inputs")
    n_prompts: int = 500

    def __post_init__(self) -> None:
        if self.n_prompts < 1:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 1")

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        if not hasattr(model, "attention_weights"):
            raise ConfigError(f"{type(model).__name__} has no attention weights to show")
        with torch.no_grad():
            maps = [
                model.attention_weights(*sample.prompt.positions()).double().sum(2)
                for sample in chunks(task, self.n_prompts, 16 * n_members(model), draw)
            ]
        mean = (torch.stack(maps).sum(0) / self.n_prompts).cpu()  # L M H S S
        copied = mean.diagonal(-1, -2, -1)[..., ::2].mean(-1)  # y_i is token 2i − 1, its x_i the one before
        before = mean.diagonal(-1, -2, -1)[..., 1::2].mean(-1)
        query = mean[-1, :, :, -1].mean(1)  # M S
        numbers = {
            "copy": copied.amax((0, 2)), "previous": before.amax((0, 2)),
            "labels": query[:, 1::2].sum(1), "inputs": query[:, :-1:2].sum(1),
        }  # fmt: skip
        return Measured(numbers=numbers, curves=self._curves(mean, copied), n_prompts=self.n_prompts)

    def _curves(self, mean: Float[Tensor, "L M H S S"], copied: Float[Tensor, "L M H"]) -> dict[str, Curve]:
        n_layers, _, n_heads, n_tokens, _ = mean.shape
        tokens = [f"{'xy'[i % 2]}{i // 2 + 1}" for i in range(n_tokens)]
        heads = [f"layer {l + 1}, head {h + 1}" for l in range(n_layers) for h in range(n_heads)]
        layer, head = divmod(int(copied[:, 0].flatten().argmax()), n_heads)
        note = f"first member of the bank; mean over {self.n_prompts:,} prompts"
        return {
            "query": Curve(
                kind="map", title="What the query attends to", x_label="token", y_label="", x=tokens, y=heads,
                model=mean[:, 0, :, -1].flatten(0, 1).tolist(), note=note,
            ),
            "copying_head": Curve(
                kind="map", title=f"The head that copies most: layer {layer + 1}, head {head + 1}", x_label="to",
                y_label="from", x=tokens, y=tokens, model=mean[layer, 0, head].tolist(), note=note,
            ),
        }  # fmt: skip
