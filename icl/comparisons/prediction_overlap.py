"""Do finetuning and in-context learning predict the same? (accuracies, Rec2FTP, TokenOverlap, OCS)

References:
    Dai et al. 2022, arXiv:2212.10559 (Rec2FTP);  Shen et al. 2023, arXiv:2310.08540 (TokenOverlap, OCS)
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from icl.algorithms.language_arm import calibrated
from icl.comparisons.language_member import Member, arm_numbers, by_rate, number
from icl.comparisons.measured import Measured
from icl.comparisons.walk import estimate
from icl.models.causal_lm_reading import Reading
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class PredictionOverlap:
    """On the same queries, with the predictions calibrated (the batch's mean label scores taken off) or `raw`:

        rec2ftp       = N[(FT right, zero-shot wrong) and ICL right] / N[FT right, zero-shot wrong],  nan without any
        token_overlap = |T_ICL ∩ T_FT| / K,   T the K most probable next tokens of the whole vocabulary
        ocs           = Σ_{T ∩ T'} p p' / √(Σ_T p² Σ_T' p'²)

    Shen et al. print OCS with a factor (K − |T ∩ T'|) under the root, which divides by zero where the sets agree; this
    is the cosine of the two top-K vectors, in [0, 1], one for equal distributions. `accuracy_vocabulary` is that of
    the argmax over the whole vocabulary. Numbers are at the chosen learning rate, and nan where it diverged.
    """

    reads: ClassVar[str] = "words"
    numbers: ClassVar[tuple[str, ...]] = (
        "accuracy", "accuracy_raw", "accuracy_vocabulary", "gain", "icl_ahead", "rec2ftp", "n_fixed", "n_fixed_by_both",
        "rec2ftp_raw", "n_fixed_raw", "token_overlap", "ocs", "learning_rate", "diverged",
    )  # fmt: skip
    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k={self.k} must be >= 1")

    def measure(self, model: Member, reference: Any, task: Any, draw: Draw) -> Measured:
        start, arm, target = reference.start, model.arm(reference), model.sample.target
        zero, icl, tuned = model.zero_shot(start), model.in_context(start), arm.best.reading
        right = {n: calibrated(r.label_logits) == target for n, r in (("zero", zero), ("icl", icl), ("ft", tuned))}
        raw = {n: r.label_logits.argmax(-1) == target for n, r in (("zero", zero), ("icl", icl), ("ft", tuned))}
        p, q = (next_token(r) for r in (icl, tuned))
        words = model.prompt.label_words[:, 0]
        alive = float("nan") if arm.best.diverged else 1.0
        accuracies = {
            "accuracy": right["ft"].double()[None], "gain": (right["ft"].double() - right["zero"].double())[None],
            "icl_ahead": (right["icl"].double() - right["ft"].double())[None],
        }  # fmt: skip
        numbers, intervals = estimate({name: alive * v for name, v in accuracies.items()}, dict, draw)
        numbers |= {
            "accuracy_raw": number(alive * raw["ft"].double().mean()),
            "accuracy_vocabulary": number(alive * (q.argmax(-1) == words[target]).double().mean()),
            "token_overlap": number(alive * token_overlap(p, q, self.k).mean()),
            "ocs": number(alive * overlap_cosine(p, q, self.k).mean()),
        }
        recovered, fixed, both = rec2ftp(right["zero"], right["icl"], right["ft"])
        recovered_raw, fixed_raw, _ = rec2ftp(raw["zero"], raw["icl"], raw["ft"])
        numbers |= {
            "rec2ftp": number(alive * recovered), "n_fixed": number(fixed), "n_fixed_by_both": number(both),
            "rec2ftp_raw": number(alive * recovered_raw), "n_fixed_raw": number(fixed_raw),
        }  # fmt: skip
        rates = [(calibrated(one.reading.label_logits) == target).double().mean().item() for one in arm.grid]
        title, icl_accuracy = "Accuracy after finetuning, by learning rate", right["icl"].double().mean().item()
        curves = by_rate(title, "Calibrated accuracy", arm, rates, icl_accuracy, "in context")
        return Measured(numbers=numbers | arm_numbers(arm), intervals=intervals, curves=curves, n_prompts=len(target))


def next_token(reading: Reading) -> Float[Tensor, "B V"]:
    """Over the whole vocabulary."""
    assert reading.probabilities is not None
    return reading.probabilities


def rec2ftp(zero: Bool[Tensor, "B"], icl: Bool[Tensor, "B"], tuned: Bool[Tensor, "B"]) -> tuple[float, int, int]:
    """The ratio (nan without a denominator), and its denominator and numerator."""
    fixed = tuned & ~zero
    n_fixed, n_both = int(fixed.sum()), int((fixed & icl).sum())
    return (n_both / n_fixed if n_fixed else float("nan")), n_fixed, n_both


def _top(p: Float[Tensor, "B V"], k: int) -> Float[Tensor, "B V"]:
    """p where it is among the k largest of its row, 0 elsewhere."""
    places: Int[Tensor, "B k"] = p.topk(min(k, p.shape[-1]), -1).indices
    return torch.zeros_like(p).scatter(-1, places, p.gather(-1, places))


def token_overlap(p: Float[Tensor, "B V"], q: Float[Tensor, "B V"], k: int) -> Float[Tensor, "B"]:
    """|T ∩ T'| / K."""
    k = min(k, p.shape[-1])
    both = torch.stack([torch.zeros_like(p).scatter(-1, r.topk(k, -1).indices, 1.0) for r in (p, q)]).prod(0)
    return both.sum(-1) / k


def overlap_cosine(p: Float[Tensor, "B V"], q: Float[Tensor, "B V"], k: int) -> Float[Tensor, "B"]:
    """The cosine of the two top-K vectors."""
    return torch.nn.functional.cosine_similarity(_top(p, k), _top(q, k), dim=-1)
