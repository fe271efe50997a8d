"""Does finetuning move the attention blocks' outputs the way that demonstrations in context do? (SimAOU)

References:
    Dai et al. 2022, arXiv:2212.10559;  Deutch et al. 2023, arXiv:2311.07772 (without the normalisation)
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.language_member import Member, arm_numbers, by_layer, by_rate, number
from icl.comparisons.measured import Measured
from icl.comparisons.walk import estimate
from icl.models.causal_lm_reading import Reading
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class UpdateSimilarity:
    """SimAOU_l = cos(h_ICL − h_0, h_FT − h_0), with h the output of attention block l at the last token of a query.

    h_0 is zero-shot. The mean is over queries, then layers. `sim_aou_normalised` scales every h to length one first, as
    Dai et al. do: unrelated updates then look alike (1/4 where they are √3 times as long as h_0, 1/2 in the limit).
    `gaussian` puts a standard normal direction in place of the second argument, `uniform` one of uniform *positive*
    entries as in the source's code, which is biased. `ses_above_gaussian` is the difference to the Gaussian in paired
    standard errors over queries. Numbers are at the chosen learning rate, and nan where it diverged.
    """

    reads: ClassVar[str] = "words"
    numbers: ClassVar[tuple[str, ...]] = (
        "sim_aou", "sim_aou_normalised", "gaussian", "uniform", "ses_above_gaussian", "learning_rate", "diverged",
    )  # fmt: skip

    def measure(self, model: Member, reference: Any, task: Any, draw: Draw) -> Measured:
        start, arm = reference.start, model.arm(reference)
        zero, icl = model.zero_shot(start), model.in_context(start)
        best = arm.best
        plain, scaled = similarity(zero, icl, best.reading), similarity(zero, icl, best.reading, normalised=True)
        update = _out(icl) - _out(zero)
        noise = draw.at(0, "update_similarity").normal(*update.shape)[0].to(update)
        positive = draw.at(0, "update_similarity").uniform(*update.shape)[0].to(update)
        gaussian, uniform = (F.cosine_similarity(update, other, dim=-1) for other in (noise, positive))
        above = (plain - gaussian).mean(1)
        alive = float("nan") if best.diverged else 1.0
        estimated, intervals = estimate({"sim_aou": alive * plain.mean(1)[None]}, dict, draw)
        numbers = estimated | {
            "sim_aou_normalised": number(alive * scaled.mean()),
            "gaussian": number(gaussian.mean()),
            "uniform": number(uniform.mean()),
            "ses_above_gaussian": number(alive * above.mean() / (above.std() / len(above) ** 0.5)),
        }
        rates = [similarity(zero, icl, one.reading).mean().item() for one in arm.grid]
        curves = {"sim_aou_by_layer": by_layer("Similarity of updates", "SimAOU", plain.mean(0), gaussian.mean(0))}
        curves |= by_rate("Similarity of updates, by learning rate", "SimAOU", arm, rates)
        return Measured(numbers=numbers | arm_numbers(arm), intervals=intervals, curves=curves, n_prompts=len(update))


def _out(reading: Reading) -> Float[Tensor, "B L E"]:
    assert reading.inside is not None
    return reading.inside.attention_out


def similarity(zero: Reading, icl: Reading, tuned: Reading, *, normalised: bool = False) -> Float[Tensor, "B L"]:
    """cos(h_ICL − h_0, h_FT − h_0), a query and layer."""
    return update_cosine(*(_out(r) for r in (zero, icl, tuned)), normalised=normalised)


def update_cosine(
    zero: Float[Tensor, "... E"], icl: Float[Tensor, "... E"], tuned: Float[Tensor, "... E"], *, normalised: bool
) -> Float[Tensor, "..."]:
    """The cosine of two updates from the same place, each output scaled to length one first if asked."""
    if normalised:
        zero, icl, tuned = (F.normalize(h, dim=-1) for h in (zero, icl, tuned))
    return F.cosine_similarity(icl - zero, tuned - zero, dim=-1)


def normalisation_artefact(c: float) -> float:
    """What `normalised` makes of independent updates r ⟂ r' ⟂ h_0 with |r|² = |r'|² = c |h_0|².

    It is (1 − s)/2 with s = 1/√(1 + c), where the cosine of the updates themselves is 0.
    """
    return (1 - (1 + c) ** -0.5) / 2
