"""Does finetuning move the attention scores the way that demonstrations in context do? (SimAM, SimAM-delta, Kendall)

References:
    Dai et al. 2022, arXiv:2212.10559;  Deutch et al. 2023, arXiv:2311.07772 (SimAM-delta)
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.language_arm import Tuned
from icl.comparisons.language_member import Member, arm_numbers, by_layer, by_rate, number
from icl.comparisons.measured import Measured
from icl.models.causal_lm_reading import Inside, Reading
from icl.models.causal_lm_tokens import demo_positions
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class AttentionSimilarity:
    """With m the scores q·k/√d, before the softmax, of a query's last token to the query's own tokens, a head:

        sim_am_before = cos(m_ICL, m_0)     sim_am_after = cos(m_ICL, m_FT)     sim_am_change = after − before
        sim_am_delta  = cos(m_ICL − m_0, m_FT − m_0)

    means over queries, heads, layers. In the first layer m_ICL = m_0 but for rounding, so its delta is noise.
    `kendall` is τ between the ICL scores of the demonstrations' tokens, summed over heads, and Σ_h q'·q: the attention
    queries q' that these tokens had when they were trained on, and the query's q after it (before the rotation of
    positions), over the first `kendall_queries` queries. Numbers are at the chosen learning rate, and nan where it
    diverged.
    """

    reads: ClassVar[str] = "words"
    numbers: ClassVar[tuple[str, ...]] = (
        "sim_am_before", "sim_am_after", "sim_am_change", "sim_am_delta", "kendall", "learning_rate", "diverged",
    )  # fmt: skip
    kendall_queries: int = 50

    def measure(self, model: Member, reference: Any, task: Any, draw: Draw) -> Measured:
        start, arm = reference.start, model.arm(reference)
        zero, icl = inside(model.zero_shot(start)), inside(model.in_context(start))
        before = cosine(icl.own_scores, zero.own_scores)
        parts = [_two(zero, icl, inside(one.reading)) for one in arm.grid]
        after, delta = parts[arm.chosen]
        alive = float("nan") if arm.best.diverged else 1.0
        tau = number(float("nan"))
        if arm.best.demo_queries is not None:
            tau = number(kendall(icl, arm.best, demo_positions(model.prompt), self.kendall_queries))
        numbers = {
            "sim_am_before": number(before.mean()),
            "sim_am_after": number(alive * after.mean()),
            "sim_am_change": number(alive * (after - before).mean()),
            "sim_am_delta": number(alive * delta.mean()),
            "kendall": alive * tau,
        }
        curves = {
            "sim_am_delta_by_layer": by_layer("Similarity of changes of attention", "SimAM-delta", delta.mean((0, 2))),
            "sim_am_change_by_layer": by_layer("Change of SimAM", "SimAM change", (after - before).mean((0, 2))),
        }
        titles = ("Change of SimAM, by learning rate", "SimAM-delta, by learning rate")
        curves |= by_rate(
            titles[0], "SimAM change", arm, [(a - before).mean().item() for a, _ in parts], 0.0, "no change"
        )
        curves |= by_rate(titles[1], "SimAM-delta", arm, [d.mean().item() for _, d in parts])
        return Measured(numbers=numbers | arm_numbers(arm), curves=curves, n_prompts=len(before))


def inside(reading: Reading) -> Inside:
    assert reading.inside is not None
    return reading.inside


def cosine(a: Float[Tensor, "B L H S"], b: Float[Tensor, "B L H S"]) -> Float[Tensor, "B L H"]:
    """Over a query's own tokens; the zeros beyond its length change nothing."""
    return F.cosine_similarity(a, b, dim=-1)


def _two(zero: Inside, icl: Inside, tuned: Inside) -> tuple[Tensor, Tensor]:
    """SimAM after, and SimAM-delta."""
    own = tuned.own_scores
    return cosine(icl.own_scores, own), cosine(icl.own_scores - zero.own_scores, own - zero.own_scores)


def kendall(icl: Inside, tuned: Tuned, places: Tensor, n_queries: int) -> Float[Tensor, ""]:
    """The mean τ over queries and layers."""
    assert tuned.demo_queries is not None
    b = min(n_queries, len(icl.context_scores))
    in_context = icl.context_scores[:b, :, places.to(icl.context_scores.device)]
    trained = torch.einsum("blk,zlk->blz", inside(tuned.reading).attention_query[:b], tuned.demo_queries)
    return torch.stack([kendall_tau(x, y).mean() for x, y in zip(in_context, trained, strict=True)]).mean()


def kendall_tau(x: Float[Tensor, "*b Z"], y: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b"]:
    """τ = (concordant − discordant pairs) / (Z (Z − 1) / 2)."""
    n = x.shape[-1]
    if n < 2:
        return torch.full(x.shape[:-1], float("nan"))
    i, j = torch.triu_indices(n, n, 1)
    return ((x[..., i] - x[..., j]).sign() * (y[..., i] - y[..., j]).sign()).mean(-1)
