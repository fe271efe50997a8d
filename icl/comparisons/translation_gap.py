"""Two trainings of a translator that differ in what they showed: who translates without context, and by how much."""

from dataclasses import dataclass, replace
from typing import ClassVar

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.translated import by_snapshot, interval, own_draw, shares, translating
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class TranslationGap:
    """gap: share of the pairs of `n_prompts` new strings that the run translates right without context, less the
    reference's on the same strings; its interval is over strings. The curve has both through training.
    """

    numbers: ClassVar[tuple[str, ...]] = ("gap",)
    n_prompts: int = 512
    n_curve_prompts: int = 128

    def measure_runs(self, run: Run, reference: Run, draw: Draw) -> Measured:
        fixed = replace(translating(run), books="fixed")
        own, without = own_draw(run, draw), replace(fixed, dropout=1.0)
        model, other = (shares(r.model, without, own, self.n_prompts)[0] for r in (run, reference))
        curves = {}
        n = min(self.n_curve_prompts, self.n_prompts)
        (steps, mine), (others, theirs) = (by_snapshot(r, without, own, n) for r in (run, reference))
        if steps and steps == others:
            curves["without"] = Curve(
                kind="line", title="Accuracy without context", x_label="training step",
                y_label="share of pairs that are right", x=steps, model=mine.tolist(), reference=theirs.tolist(),
            )  # fmt: skip
        return Measured(
            numbers={"gap": (model - other).mean(-1)},
            intervals={"gap": interval(model - other)},
            curves=curves,
            n_prompts=self.n_prompts,
        )
