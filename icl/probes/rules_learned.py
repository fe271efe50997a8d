"""How many rules the weights of a surrogate hold, and how soon."""

from dataclasses import dataclass, replace
from typing import ClassVar

from icl.comparisons.learning_time import first_of_all, shares_held
from icl.comparisons.measured import Curve, Measured
from icl.comparisons.translated import looked_up, own_draw, shares, translating
from icl.rng import Draw
from icl.runs import Run


@dataclass(frozen=True, kw_only=True)
class RulesLearned:
    """A rule is held where the largest entry of its column of W is its value. Of a trained surrogate:

    share       share of the rules that its weights hold at the end (mean over books)
    steps       the first snapshot from which on it holds all, nan if there is none; cycles: over d n²
    accuracy    share of the pairs of new strings that it translates right without context
    looked_up   the same for a table of the windows of 2d letters that the training strings show: what the same
                supervised outputs are worth to a learner that knows nothing of phrasebooks
    """

    numbers: ClassVar[tuple[str, ...]] = ("share", "steps", "cycles", "accuracy", "looked_up")
    n_prompts: int = 64

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        at, share = shares_held(run)
        steps, own = first_of_all(at, share), own_draw(run, draw)
        without = replace(translating(run), dropout=1.0)
        numbers = {
            "share": share[:, -1],
            "steps": steps,
            "cycles": steps / (run.task.n_levels * run.task.n_pairs),
            "accuracy": shares(run.model, without, own, self.n_prompts)[0].mean(-1),
            "looked_up": looked_up(run.task, own, self.n_prompts),
        }
        curve = Curve(
            kind="line", title="Rules in the weights", x_label="training step", y_label="share of all rules", x=at,
            model=share.tolist(),
        )  # fmt: skip
        return Measured(numbers=numbers, curves={"rules": curve}, n_prompts=self.n_prompts)
