"""Whether the rules that a translator learned from its context can be read out of it again.

References:
    Zhu, Panigrahi, Arora 2025, On the power of context-enhanced learning in LLMs, arXiv:2503.01821, Sec. 6
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.translated import own_draw, translating
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class RuleLeak:
    """The key of a rule is shown alone, as a rule without its value or as a pair of the source, and nothing else.

    What the model then says is held against the value π_l(key), for every rule of every book l = 1..d:

        greedy        share of rules whose value is the most likely pair of the book's alphabet; chance 1/n²
        sampled       mean probability of the value, among those pairs; chance 1/n²
        unfiltered    as greedy, among the pairs of all alphabets; chance 1/(d n²)
        membership    mean chance that a rule's value is likelier than another pair: the AUC of telling rules seen in
                      context from others by the model's loss; chance 1/2

    `.._earlier` is the mean over books 1..d−1, of which the training loss never saw an output, `.._last` is book d,
    whose outputs it saw, `.._held_out` that over the rules of book 1 that were shown and never needed (nan if there are
    none). Intervals are over rules (Wilson; `membership`, `sampled`: normal, cut to 0..1).
    """

    numbers: ClassVar[tuple[str, ...]] = tuple(
        f"{what}_{which}"
        for what in ("greedy", "sampled", "unfiltered", "membership")
        for which in ("earlier", "last", "held_out")
    )
    shown_as: Literal["rule", "source"] = "rule"

    def __post_init__(self) -> None:
        if self.shown_as not in ("rule", "source"):
            raise ValueError(f"shown_as={self.shown_as!r} must be rule or source")

    @torch.no_grad()
    def measure_run(self, run: Run, draw: Draw) -> Measured:
        task = translating(run)
        if not hasattr(run.model, "asked_for_rules"):
            raise ValueError(f"{type(run.model).__name__} cannot be asked for a rule; it needs model=llama_translator")
        own = own_draw(run, draw)
        books, held_out = task.fixed_books(own), run.task.held_out_rules(own)
        logits = run.model.asked_for_rules(as_source=self.shown_as == "source")  # (M, d, n², d n²)
        found = {name: value.double() for name, value in read_out(logits, books).items()}
        numbers, intervals = {}, {}
        for name, value in found.items():
            parts = {
                "earlier": value[:, :-1].flatten(1),
                "last": value[:, -1],
                "held_out": value[:, 0].gather(1, held_out),
            }
            numbers |= {f"{name}_{which}": part.mean(1) for which, part in parts.items()}
            over = wilson if name in ("greedy", "unfiltered") else normal
            intervals |= {f"{name}_{which}": over(part) for which, part in parts.items() if part.shape[1]}
        chance = 1 / task.n_pairs
        curve = Curve(
            kind="line", title="Rules read out of the weights", x_label="book", y_label="share of its rules, greedy",
            x=list(range(1, task.n_levels + 1)), model=found["greedy"].mean(2).tolist(),
            reference=[[chance] * task.n_levels], reference_label="chance",
        )  # fmt: skip
        return Measured(numbers=numbers, intervals=intervals, curves={"books": curve})


def read_out(logits: Float[Tensor, "M d n2 V"], books: Int[Tensor, "M d n2"]) -> dict[str, Tensor]:
    """The four measures for every rule, "M d n2" each."""
    n_levels, n2 = books.shape[1:]
    offset = n2 * torch.arange(n_levels, device=books.device)[:, None]
    own = torch.stack([logits[:, level, :, level * n2 : (level + 1) * n2] for level in range(n_levels)], 1)
    value = own.gather(-1, books[..., None])
    others = torch.ones_like(own).scatter(-1, books[..., None], 0.0)
    return {
        "greedy": (own.argmax(-1) == books).double(),
        "sampled": own.softmax(-1).gather(-1, books[..., None])[..., 0],
        "unfiltered": (logits.argmax(-1) == books + offset).double(),
        "membership": (((value > own) + 0.5 * (value == own)) * others).sum(-1) / (n2 - 1),
    }


def wilson(values: Float[Tensor, "M K"], z: float = 1.96) -> Float[Tensor, "M 2"]:
    """95 % for a share of K."""
    k, p = values.shape[1], values.mean(1)
    middle, half = p + z * z / (2 * k), z * (p * (1 - p) / k + z * z / (4 * k * k)) ** 0.5
    return torch.stack([middle - half, middle + half], -1) / (1 + z * z / k)


def normal(values: Float[Tensor, "M K"]) -> Float[Tensor, "M 2"]:
    half = 1.96 * values.std(1) / values.shape[1] ** 0.5
    return torch.stack([values.mean(1) - half, values.mean(1) + half], -1).clamp(0, 1)
