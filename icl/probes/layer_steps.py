"""Which step of which algorithm is every layer? Read-outs fitted to each layer, candidates fitted to each read-out.

References:
    Fu, Chen, Jia, Sharan 2023, Transformers learn to achieve second-order convergence rates, arXiv:2310.17086
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.filters import GradientDescentOnSum, IterativeNewton
from icl.comparisons.identification.identify import Identified, identify
from icl.comparisons.identification.layers import layers_of
from icl.comparisons.identification.question import Question
from icl.comparisons.identification.similarity import errors, similarity_of_errors
from icl.comparisons.measured import Curve, Measured
from icl.rng import Draw

NEWTON = tuple(range(1, 15))
DESCENT = (1, 2, 3, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300, 500, 1000)
STEP_SIZE = 0.01  # of gradient descent on the sum of squares, for x of unit variance: that of the source
PLACES = ("first", "last_but_one", "last")
PER_LAYER = ("newton_step", "newton_similarity", "gd_steps", "gd_similarity", "error", "size", "zero_similarity")


@dataclass(frozen=True, kw_only=True)
class LayerSteps:
    """A linear read-out for every layer, fitted on `n_readout` prompts; then, on others, at every position,

        newton_step, gd_steps               the step of iterative Newton, and of gradient descent on the sum of squares
                                            with the source's step size, whose errors are most similar to the layer's
        newton_similarity, gd_similarity    that similarity of errors; zero_similarity that to the zero predictor
        error, size                         E (ŷ − y)² / E y² and E ŷ² / E y²

    each of the `first`, the `last_but_one` and the `last` layer, and `newton_steps_gained` by the last one. A layer
    that does nothing yet has `size` near 0, and is similar to every algorithm with tiny steps. The maps show every
    layer, beside every candidate of an identification whose open numbers were fitted to that layer on prompts of
    their own (few candidates if `quick`). A model without hidden states is asked what it says after every step.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        *(f"{what}_{place}" for what in PER_LAYER for place in PLACES), "newton_steps_gained"
    )  # fmt: skip
    n_readout: int = 8000
    n_fit: int = 256
    n_prompts: int = 1000
    quick: bool = False

    def __post_init__(self) -> None:
        if self.n_readout < 1:
            raise ValueError(f"n_readout={self.n_readout} must be >= 1")
        self.question()

    def question(self) -> Question:
        """Candidates that see the spectrum."""
        return Question(n_fit=self.n_fit, n_prompts=self.n_prompts, learners=False, quick=self.quick)

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        question, n_readout = self.question(), min(self.n_readout, 8 * self.n_prompts)
        layers = layers_of(model, task, question.every(task), n_readout, draw.at(0, f"{draw.name}/readout"))
        found = identify(layers, task, draw, question)
        own = errors(found.answers, found.slots.target)
        scans = {
            "newton": _scan(found, own, IterativeNewton(), NEWTON, []),
            "gd": _scan(found, own, GradientDescentOnSum(), DESCENT, [STEP_SIZE / found.slots.spectra.variance]),
        }
        shape = (layers.n_layers, -1)
        power = found.slots.label_square
        zero = errors(torch.zeros_like(found.slots.target)[None], found.slots.target)
        values = {
            "newton_step": torch.tensor(NEWTON).double()[scans["newton"].argmax(0)],
            "newton_similarity": scans["newton"].amax(0),
            "gd_steps": torch.tensor(DESCENT).double()[scans["gd"].argmax(0)],
            "gd_similarity": scans["gd"].amax(0),
            "error": (found.answers - found.slots.target).square().mean((1, 2)) / power,
            "size": found.answers.square().mean((1, 2)) / power,
            "zero_similarity": similarity_of_errors(own, zero),
        }
        by_layer = {name: value.unflatten(0, shape) for name, value in values.items()}  # L M
        at = dict(zip(PLACES, (0, max(layers.n_layers - 2, 0), layers.n_layers - 1)))
        numbers = {f"{name}_{place}": v[at[place]] for name, v in by_layer.items() for place in PLACES}
        numbers["newton_steps_gained"] = numbers["newton_step_last"] - numbers["newton_step_last_but_one"]
        curves = self._curves(found, layers.n_layers, scans)
        return Measured(numbers=numbers, curves=curves, n_prompts=self.n_prompts)

    def _curves(self, found: Identified, n_layers: int, scans: dict[str, Tensor]) -> dict[str, Curve]:
        names = [f"layer {layer}" for layer in range(1, n_layers + 1)]
        note = f"similarity of errors, median over members; {self.n_prompts:,} prompts"

        def median(similarity: Float[Tensor, "R LM"]) -> list[list[float]]:
            return similarity.unflatten(1, (n_layers, -1)).median(2).values.tolist()

        out = {
            "candidates": Curve(
                kind="map", title="Every layer beside every candidate", x_label="", y_label="", x=names, y=found.names,
                model=median(found.similarity), note=note,
            )
        }  # fmt: skip
        for key, title, steps in (("newton", "iterative Newton", NEWTON), ("gd", "gradient descent", DESCENT)):
            out[key] = Curve(
                kind="map", title=f"Every layer beside every step of {title}", x_label="step", y_label="",
                x=[float(t) for t in steps], y=names, model=torch.tensor(median(scans[key])).T.tolist(), note=note,
            )  # fmt: skip
        return out


def _scan(
    found: Identified, own: Float[Tensor, "LM B K"], family: Any, steps: tuple[int, ...], values: list[float]
) -> Float[Tensor, "T LM"]:
    """Similarity of errors of every layer to every step of one algorithm."""
    column = torch.tensor(values, dtype=torch.float64)[:, None]
    guesses = family.guesses(found.slots, steps, column)
    return torch.stack([similarity_of_errors(own, errors(guess, found.slots.target)) for guess in guesses])
