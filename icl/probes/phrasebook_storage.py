"""In which layer a phrasebook is stored: layers put back to where they were before it was learned.

References:
    Zhu, Panigrahi, Arora 2025, On the power of context-enhanced learning in LLMs, arXiv:2503.01821, Sec. 6 (stitching)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.translated import own_draw, translating
from icl.core import Sample, last_step
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class PhrasebookStorage:
    """The trained model with one layer of the model that it started from; prompts show all books but one.

        whole_first, whole_last      accuracy of the trained model without book 1 (without book d), all others shown
        layer_first, layer_last      the layer, from 0, without whose training that accuracy falls most
        drop_first, drop_last        by how much
        moved_least, moved_most      change of the hidden states at the source, ‖h − h_start‖ / ‖h_start‖ without
                                     context, in the layer where it is least and most

    The map has the drop for every book and layer. It needs a snapshot of step 0, the start.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "whole_first", "whole_last", "layer_first", "layer_last", "drop_first", "drop_last", "moved_least", "moved_most"
    )  # fmt: skip
    n_prompts: int = 128

    @torch.no_grad()
    def measure_run(self, run: Run, draw: Draw) -> Measured:
        if not hasattr(run.model, "hidden_states"):
            raise ValueError(f"{type(run.model).__name__} has no layers to put back; it needs model=llama_translator")
        step, before = next(run.snapshots(), (None, None))
        if step != 0 or before is None:
            raise ValueError("there is no snapshot of step 0, the start; state train.snapshot_at=[0]")
        task = replace(translating(run), books="fixed")
        sample = task.sample(self.n_prompts, replace(own_draw(run, draw), dtype=draw.dtype))
        model, n_layers = run.model, len(run.model.lm.model.layers)
        trained, start = ({k: v.clone() for k, v in m.state_dict().items()} for m in (model, before))
        accuracy = []
        for layer in (None, *range(n_layers)):
            model.load_state_dict(stitched(trained, start, layer))
            accuracy.append(torch.stack([without_book(model, sample, b, task) for b in range(task.n_levels)], 1))
        model.load_state_dict(trained)
        whole, drops = accuracy[0], accuracy[0][:, :, None] - torch.stack(accuracy[1:], 2)  # (M, d), (M, d, layers)
        moved = distances(model, before, without_any(sample))
        numbers = {
            "whole_first": whole[:, 0], "whole_last": whole[:, -1], "moved_least": moved.amin(1),
            "layer_first": drops[:, 0].argmax(1).double(), "layer_last": drops[:, -1].argmax(1).double(),
            "drop_first": drops[:, 0].amax(1), "drop_last": drops[:, -1].amax(1), "moved_most": moved.amax(1),
        }  # fmt: skip
        return Measured(numbers=numbers, curves=curves(drops, moved), n_prompts=self.n_prompts)


def stitched(trained: Mapping[str, Tensor], start: Mapping[str, Tensor], layer: int | None) -> dict[str, Tensor]:
    """The trained weights, but those of `layer`, which are the start's."""
    return {k: start[k] if layer is not None and f".layers.{layer}." in k else v for k, v in trained.items()}


def without_book(model: Any, sample: Sample, book: int, task: Any) -> Float[Tensor, "M"]:
    """Accuracy on the answer when every rule but those of `book` is shown."""
    prompt = replace(sample.prompt, shown=sample.prompt.keys // task.n_pairs != book)
    return (last_step(model, prompt).argmax(-1) == sample.target[:, :, -1]).double().mean((1, 2))


def without_any(sample: Sample) -> Any:
    return replace(sample.prompt, shown=torch.zeros_like(sample.prompt.shown))


def distances(model: Any, before: Any, prompt: Any) -> Float[Tensor, "M L"]:
    """‖h − h_start‖ / ‖h_start‖ over all source positions, after each layer."""
    h, h0 = (m.hidden_states(prompt).double() for m in (model, before))  # (M, L, B, S, E)
    return (h - h0).flatten(2).norm(dim=2) / h0.flatten(2).norm(dim=2)


def curves(drops: Float[Tensor, "M d L"], moved: Float[Tensor, "M L"]) -> dict[str, Curve]:
    layers = list(range(drops.shape[2]))
    return {
        "drops": Curve(
            kind="map", title="Accuracy lost when a layer is put back", x_label="layer", y_label="book not shown",
            x=layers, y=list(range(1, drops.shape[1] + 1)), model=drops.mean(0).tolist(), note="mean over members",
        ),
        "moved": Curve(
            kind="line", title="How far training moved the hidden states", x_label="layer",
            y_label="relative change at the source", x=layers, model=moved.tolist(),
        ),
    }  # fmt: skip
