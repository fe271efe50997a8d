"""What can be read linearly from the hidden states of every layer, and how much of that is due to training.

References:
    Akyürek et al. 2022, What learning algorithm is in-context learning?, arXiv:2211.15661 (w and Xᵀy are decodable)
    Hewitt, Liang 2019, Designing and interpreting probes with control tasks, arXiv:1909.03368
"""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.comparisons.walk import chunks, n_members
from icl.config import ConfigError
from icl.core import Prompt
from icl.rng import Draw

TARGETS = ("weights", "moment", "second_moments")
KINDS = ("best", "untrained", "shuffled", "selectivity")
AT_ONCE = 500
RIDGE = 1e-4  # of the features' mean square


@dataclass(frozen=True, kw_only=True)
class LinearReadout:
    """A linear read-out after every layer, from the mean of the labels' tokens (whoever reads a context attends to all
    of it) and the query's token, by ridge regression, for

        weights          w of least norm that fits the context        moment     (1/N) Σᵢ yᵢ xᵢ
        second_moments   (1/N) Σᵢ xᵢ xᵢᵀ

    fitted on `n_fit` prompts and judged by R² on `n_prompts` others, mean over the entries of the target:

        T_best           of the best layer
        T_untrained      of the best layer of the same model at first values: what any random features would give
        T_shuffled       of the best layer, on targets of other prompts (a control task: what a read-out invents)
        T_selectivity    best − the larger of the two
    """

    numbers: ClassVar[tuple[str, ...]] = tuple(f"{target}_{kind}" for target in TARGETS for kind in KINDS)
    n_fit: int = 8000
    n_prompts: int = 2000

    def __post_init__(self) -> None:
        for name in ("n_fit", "n_prompts"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}={getattr(self, name)} must be >= 2")

    def measure(self, model: Any, task: Any, draw: Draw) -> Measured:
        if not hasattr(model, "hidden"):
            raise ConfigError(f"{type(model).__name__} has no hidden states to read")
        untrained = copy.deepcopy(model)
        untrained.reset(Draw(range(n_members(model)), f"{draw.name}/untrained", dtype=draw.dtype, device=draw.device))
        n_fit = min(self.n_fit, 8 * self.n_prompts)
        scores = {
            "best": _scores(model, task, n_fit, self.n_prompts, draw, shuffle=False),
            "untrained": _scores(untrained, task, n_fit, self.n_prompts, draw, shuffle=False),
            "shuffled": _scores(model, task, n_fit, self.n_prompts, draw, shuffle=True),
        }
        numbers = {}
        for target in TARGETS:
            best = {kind: score[target].amax(0) for kind, score in scores.items()}
            numbers |= {f"{target}_{kind}": value for kind, value in best.items()}
            numbers[f"{target}_selectivity"] = best["best"] - torch.maximum(best["untrained"], best["shuffled"])
        curves = {target: self._curve(target, scores) for target in TARGETS}
        return Measured(numbers=numbers, curves=curves, n_prompts=self.n_prompts)

    def _curve(self, target: str, scores: dict[str, dict[str, Tensor]]) -> Curve:
        trained, untrained = scores["best"][target], scores["untrained"][target]
        return Curve(
            kind="line", title=f"Linear read-out: {target.replace('_', ' ')}", x_label="layer (0: embedding)",
            y_label="R² on other prompts", x=[float(l) for l in range(len(trained))], model=trained.T.tolist(),
            reference=untrained.T.tolist(), reference_label="untrained", note=f"{self.n_prompts:,} prompts",
        )  # fmt: skip


def targets_of(prompt: Prompt) -> dict[str, Float[Tensor, "B F"]]:
    """What is to be read, float64."""
    x, y = prompt.x[0].double(), prompt.y[0].double()
    if y.ndim != 2:
        raise ConfigError("a read-out needs a task with scalar labels")
    upper = torch.triu_indices(x.shape[-1], x.shape[-1])
    second = torch.einsum("bnd,bne->bde", x, x) / x.shape[1]
    return {
        "weights": (torch.linalg.pinv(x, rtol=1e-6) @ y[..., None])[..., 0],
        "moment": torch.einsum("bnd,bn->bd", x, y) / x.shape[1],
        "second_moments": second[:, upper[0], upper[1]],
    }


def _features(model: Any, prompt: Prompt) -> Float[Tensor, "L M B F"]:
    """The labels' tokens, through a LayerNorm and then their mean; the query's token; and a constant."""
    stream = model.hidden(*prompt.positions())
    h = F.layer_norm(stream, stream.shape[-1:]).double()
    labels, query = h[..., 1::2, :].mean(-2), h[..., -1, :]
    return torch.cat([labels, query, torch.ones_like(query[..., :1])], -1)


def _scores(
    model: Any, task: Any, n_fit: int, n_prompts: int, draw: Draw, *, shuffle: bool
) -> dict[str, Float[Tensor, "L M"]]:
    """R² of every layer and member, for every target."""
    with torch.no_grad():
        gram: Tensor | float = 0.0
        moment: Tensor | float = 0.0
        sizes: list[int] = []
        for h, target in _pieces(model, task, n_fit, draw.at(0, f"{draw.name}/fit"), shuffle):
            gram = gram + torch.einsum("lmbe,lmbf->lmef", h, h)
            moment = moment + torch.einsum("lmbe,bf->lmef", h, torch.cat(list(target.values()), 1))
            sizes = [t.shape[1] for t in target.values()]
        assert isinstance(gram, Tensor)
        scale = RIDGE * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        readout = torch.linalg.solve(gram + scale * torch.eye(gram.shape[-1]).to(gram), moment)
        guesses, truths = [], []
        for h, target in _pieces(model, task, n_prompts, draw.at(0, f"{draw.name}/judge"), shuffle):
            guesses.append(torch.einsum("lmbe,lmef->lmbf", h, readout))
            truths.append(torch.cat(list(target.values()), 1))
    guess, truth = torch.cat(guesses, 2), torch.cat(truths)
    left = (guess - truth).square().mean(2) / truth.var(0, correction=0)
    parts = (1 - left).split(sizes, -1)
    return {name: part.mean(-1).cpu() for name, part in zip(TARGETS, parts, strict=True)}


def _pieces(model: Any, task: Any, n: int, draw: Draw, shuffle: bool) -> Any:
    """(features, targets), a few prompts at a time."""
    for sample in chunks(task, n, n_members(model), draw):
        size = sample.prompt.x.shape[1]
        for start in range(0, size, AT_ONCE):
            prompt = sample.prompt.chunk(start, start + AT_ONCE)
            target = targets_of(prompt)
            if shuffle:
                target = {name: t.roll(1, 0) for name, t in target.items()}
            yield _features(model, prompt), target
