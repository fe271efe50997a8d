"""Which activations carry the answer: those of another prompt are put in their place, and the guess is watched.

References:
    Vig et al. 2020, Causal mediation analysis; Meng et al. 2022, arXiv:2202.05262; Wang et al. 2022, arXiv:2211.00593
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import cut
from icl.config import ConfigError
from icl.models.gpt_layers import Decoders
from icl.rng import Draw

GROUPS = {"labels": slice(1, None, 2), "inputs": slice(0, -1, 2), "query": slice(-1, None)}


@dataclass(frozen=True, kw_only=True)
class ActivationPatching:
    """A prompt runs with the labels of another function on the same x; after l layers some tokens get the values that
    they have with its own labels. With ŷ_c the guess from the other labels, ŷ from its own and ŷ_p the patched one,

        restored = Σ (ŷ_p − ŷ_c)(ŷ − ŷ_c) / Σ (ŷ − ŷ_c)²:    0 nothing, 1 all of the answer came back.

        labels_l, inputs_l, query_l    all labels, all inputs of the context, or the query patched, after layer
                                       l = `embedding`, `first`, `last_but_one` or `last`

    Patched labels restore all after the embedding and nothing after the last layer, the patched query the reverse: in
    between one sees where the answer moves. The map patches one token at a time.
    """

    numbers: ClassVar[tuple[str, ...]] = tuple(
        f"{group}_{place}" for group in GROUPS for place in ("embedding", "first", "last_but_one", "last")
    )
    n_prompts: int = 200

    def __post_init__(self) -> None:
        if self.n_prompts < 2:
            raise ValueError(f"n_prompts={self.n_prompts} must be >= 2 (another prompt lends its labels)")

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        if not (hasattr(model, "gpt") and hasattr(model, "hidden")):
            raise ConfigError(f"{type(model).__name__} has no residual stream to patch")
        sample = cut(task.sample(self.n_prompts, draw.at(0)), 0, self.n_prompts)
        if sample.w_star is None or sample.w_star.ndim != 3:
            raise ConfigError("patching needs a task with one w* a prompt (target=linear)")
        x, y = sample.prompt.positions()
        other = torch.einsum("mbpd,mbd->mbp", x, sample.w_star.roll(1, 1).to(x))
        n_tokens = 2 * x.shape[2] - 1
        places = [*GROUPS.values(), *(slice(t, t + 1) for t in range(n_tokens))]
        with torch.no_grad():
            parts = [_patched(part, x_, y_, other, places) for part, x_, y_ in model.gpt.chunks(x, y)]
        restored = torch.cat(parts, 2).double().cpu()  # L1, places, M
        last = len(restored) - 1
        at = {"embedding": 0, "first": min(1, last), "last_but_one": max(last - 1, 0), "last": last}
        numbers = {f"{group}_{place}": restored[l, g] for g, group in enumerate(GROUPS) for place, l in at.items()}
        return Measured(numbers=numbers, curves={"tokens": self._curve(restored)}, n_prompts=self.n_prompts)

    def _curve(self, restored: Float[Tensor, "L1 R M"]) -> Curve:
        single = restored[:, len(GROUPS) :].median(2).values
        rows = ["embedding", *(f"layer {l}" for l in range(1, len(single)))]
        return Curve(
            kind="map", title="What one token's activation restores", x_label="token", y_label="",
            x=[f"{'xy'[i % 2]}{i // 2 + 1}" for i in range(single.shape[1])], y=rows, model=single.tolist(),
            note=f"share of the change of the guess, median over members; {self.n_prompts:,} prompts",
        )  # fmt: skip


def _patched(
    decoders: Decoders, x: Float[Tensor, "#m B P D"], y: Float[Tensor, "#m B P"], other: Float[Tensor, "#m B P"],
    places: list[slice],
) -> Float[Tensor, "L1 R m"]:  # fmt: skip
    """What is restored by every layer's activations at every place."""
    clean, corrupted = (decoders.stream(x, labels) for labels in (y, other))
    mine, theirs = (_query_guess(decoders, stream[-1]) for stream in (clean, corrupted))
    change = mine - theirs
    rows = []
    for layer, (own, foreign) in enumerate(zip(clean, corrupted)):
        for place in places:
            h = foreign.clone()
            h[:, :, place] = own[:, :, place]
            for following in decoders.layers[layer:]:
                h = decoders.through(following, h)
            moved = _query_guess(decoders, h) - theirs
            rows.append((moved * change).sum(1) / change.square().sum(1))
    return torch.stack(rows).unflatten(0, (len(clean), len(places)))


def _query_guess(decoders: Decoders, h: Float[Tensor, "m B S E"]) -> Float[Tensor, "m B"]:
    return decoders.read(h[:, :, -1:])[..., 0]
