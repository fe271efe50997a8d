"""Whether attention went in the direction of a hard-margin SVM, at a given size of its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from icl.algorithms.max_margin import Infeasible, Separator, constraints_of, smallest_frobenius, smallest_nuclear
from icl.comparisons.measured import Curve, Measured
from icl.core import Prompt
from icl.rng import Draw
from icl.runs import Run
from icl.training.batches import training_draw, training_set

TIGHT = 1e-3  # above the accuracy of the nuclear solution


@dataclass(frozen=True, kw_only=True)
class MaxMarginDirection:
    """The first snapshot whose weights W are of `size` (`by` their Frobenius norm, or their smallest margin) against
    the SVMs of the tokens that attention selects at the end of training.

        cosine, cosine_nuclear              with the Frobenius, the nuclear solution
        frobenius_ratio, nuclear_ratio      norm of W at margin 1 over the smallest possible
        nearer_to_nuclear                   cosine_nuclear − cosine
        smallest_attention                  on a selected token, over sequences
        locally_optimal                     share of sequences where every token with a tight constraint (of the nuclear
                                            SVM for a product K Qᵀ) scores lower
        globally_optimal                    share where all do;   score y ⟨v, x⟩
        least_rise                          of the cosine between the sizes `rising`
        svm_gap                             the largest duality gap of the solutions, theirs, not the model's

    A size that was not reached gives nan. For a vector both norms are one.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "cosine", "cosine_nuclear", "frobenius_ratio", "nuclear_ratio", "nearer_to_nuclear", "smallest_attention",
        "locally_optimal", "globally_optimal", "least_rise", "svm_gap",
    )  # fmt: skip
    size: float
    by: Literal["norm", "margin"] = "norm"
    rising: Sequence[float] = ()
    nuclear: bool = True

    def __post_init__(self) -> None:
        if self.size <= 0 or self.by not in ("norm", "margin"):
            raise ValueError(f"size={self.size} by={self.by!r} must be > 0, and norm or margin")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        model, train = run.model.requires_grad_(False), run.config.train
        if not all(hasattr(model, name) for name in ("merged", "query", "scores", "logits", "form")):
            raise ValueError("max_margin_direction reads the model single_query_attention")
        if train.n_batches != 1:
            raise ValueError(f"max_margin_direction needs a training set: train.n_batches=1 (here {train.n_batches})")
        seeds = run.result["seeds"]
        sample = training_set(run.task, train, training_draw(train, seeds, device=draw.device, dtype=draw.dtype))
        states = {step: bank.requires_grad_(False) for step, bank in run.snapshots()}
        selected = model.logits(sample.prompt).argmax(-1)
        scores = model.scores(sample.prompt) * sample.target[..., None]
        paths = {step: bank.merged().double() for step, bank in states.items()}
        members, cosines, grown = [], [], []
        for m, seed in enumerate(seeds):
            case = Case.of(sample.prompt, model.query(sample.prompt), selected, m, f"seed {seed}")
            frobenius, nuclear = case.solved(self.nuclear)
            sizes = {step: case.size(W[m], self.by) for step, W in paths.items()}
            found = case.numbers(_first(paths, sizes, m, self.size), frobenius, nuclear)
            found |= optimality(scores[m], selected[m], case, nuclear if model.form == "KQ" else frobenius)
            path = [case.cosine(_first(paths, sizes, m, size), frobenius) for size in self.rising]
            found["least_rise"] = min(np.diff(path), default=float("nan"))
            at = next((step for step in sorted(sizes) if sizes[step] >= self.size), None)
            found["smallest_attention"] = float("nan") if at is None else attended(states[at], sample.prompt, m)
            members.append(found)
            grown.append(list(sizes.values()))
            cosines.append([case.cosine(W[m], frobenius) for W in paths.values()])
        numbers = {name: torch.tensor([found[name] for found in members]).double() for name in self.numbers}
        return Measured(numbers=numbers, curves=_curves(list(paths), cosines, grown, self.by))


@dataclass(frozen=True)
class Case:
    """One member's constraints."""

    constraints: np.ndarray
    pairs: np.ndarray
    shape: tuple[int, int]
    name: str

    @classmethod
    def of(cls, prompt: Prompt, query: Tensor, selected: Tensor, m: int, name: str) -> "Case":
        x, z = (t[m if t.shape[0] > 1 else 0].double().cpu().numpy() for t in (prompt.x, query))
        rows, pairs = constraints_of(x, selected[m].cpu().numpy(), z)
        return cls(rows, pairs, (x.shape[-1], z.shape[-1]), name)

    def solved(self, nuclear: bool) -> tuple[Separator, Separator]:
        try:
            frobenius = smallest_frobenius(self.constraints)
            both = min(self.shape) > 1 and nuclear
            return frobenius, smallest_nuclear(self.constraints, self.shape) if both else frobenius
        except Infeasible as error:
            i, t = self.pairs[error.constraint]
            raise ValueError(
                f"{self.name}: the attention SVM is infeasible: token {t} of sequence {i} cannot be put below the "
                "selected one together with the others"
            ) from None

    def size(self, W: Tensor, by: str) -> float:
        flat = W.cpu().numpy().ravel()
        return float(np.linalg.norm(flat) if by == "norm" else (self.constraints @ flat).min())

    def cosine(self, W: Tensor | None, to: Separator) -> float:
        if W is None or not W.any():
            return float("nan")
        flat, other = W.cpu().numpy().ravel(), to.weights.ravel()
        return float(flat @ other / np.linalg.norm(flat) / np.linalg.norm(other))

    def numbers(self, W: Tensor | None, frobenius: Separator, nuclear: Separator) -> dict[str, float]:
        cosines = self.cosine(W, frobenius), self.cosine(W, nuclear)
        matrix = np.full(self.shape, np.nan) if W is None else W.cpu().numpy()
        margin = (self.constraints @ matrix.ravel()).min()
        best = [solution.weights.reshape(self.shape) for solution in (frobenius, nuclear)]
        optima = float(np.linalg.norm(best[0])), float(np.linalg.norm(best[1], "nuc"))
        norms = float(np.linalg.norm(matrix)), float(np.linalg.norm(np.nan_to_num(matrix), "nuc"))
        ratios = [norm / margin / optimum if margin > 0 else float("nan") for norm, optimum in zip(norms, optima)]
        return {
            "cosine": cosines[0], "cosine_nuclear": cosines[1], "nearer_to_nuclear": cosines[1] - cosines[0],
            "frobenius_ratio": float(ratios[0]), "nuclear_ratio": float(ratios[1]),
            "svm_gap": max(frobenius.gap, nuclear.gap),
        }  # fmt: skip


def _first(paths: dict[int, Tensor], sizes: dict[int, float], m: int, size: float) -> Tensor | None:
    """W of member m at the first snapshot of at least `size`."""
    return next((paths[step][m] for step in sorted(sizes) if sizes[step] >= size), None)


def attended(bank: Any, prompt: Prompt, m: int) -> float:
    """The least attention that a selected token has, over the sequences of member m."""
    return bank.logits(prompt).softmax(-1).amax(-1)[m].min().item()


def optimality(scores: Tensor, selected: Tensor, case: Case, svm: Separator) -> dict[str, float]:
    """Shares of sequences whose selected token has the best score: of its tight neighbours, and of all."""
    margins = case.constraints @ svm.weights.ravel()
    locally = globally = 0
    for i, chosen in enumerate(selected.tolist()):
        others = [t for (j, t) in case.pairs if j == i]
        tight = [t for (j, t), margin in zip(case.pairs, margins, strict=True) if j == i and margin < 1 + TIGHT]
        locally += all(scores[i, t] < scores[i, chosen] for t in tight)
        globally += all(scores[i, t] < scores[i, chosen] for t in others)
    n = len(selected)
    return {"locally_optimal": locally / n, "globally_optimal": globally / n}


def _curves(steps: list[int], cosines: list[list[float]], grown: list[list[float]], by: str) -> dict[str, Curve]:
    measures = {
        "cosine": ("Towards the max-margin direction", "cosine to the Frobenius SVM", cosines),
        "size": ("How the weights grew", by, grown),
    }
    return {
        name: Curve(kind="line", title=title, x=steps[1:], model=[row[1:] for row in rows], log_x=True,
                    x_label="training step", y_label=label)
        for name, (title, label, rows) in measures.items()
    }  # fmt: skip
