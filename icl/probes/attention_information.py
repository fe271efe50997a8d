"""What the gradient of the first attention layer knows of a causal graph: the mutual information of tokens.

References:
    Nichani, Damian, Lee 2024, How transformers learn causal structure with gradient descent, arXiv:2402.14735
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.comparisons.measured import Curve, Measured
from icl.probes.loss_surface import LossSurface
from icl.probes.parameter_norms import flat
from icl.probes.training_loss import as_double, objective_of, seeds_of
from icl.rng import Draw
from icl.runs import Run
from icl.tasks.causal_graph import stationary

LEAST = 1e-30


@dataclass(frozen=True, kw_only=True)
class AttentionInformation:
    """g_ij = −∂L/∂A_ij of the positions' block of layer 1 early in training, beside I_ij of the tokens i > j.

        I(i; j) = E_π Σ_{s,s'} P(x_j = s, x_i = s')² / (μ_s μ_s') − 1     the χ² mutual information given π

    It is largest between a token and its parent (data processing), and by the source's theorem g is I up to a constant
    a row. Read at the first snapshot at or after `step`, on `n_prompts` prompts of the member's own law. (On
    the chain at the lab's recipe that is so from step 157 to 556, when the second layer has begun to use what the first
    copies; the gradients of the first hundred steps are smaller and say nothing of the graph.)

        gradient_accuracy       edges (i, p(i)) where g_ij is largest at j = p(i), among the j < i
        information_accuracy    the same of I: 1 unless the graph cannot be told from pairs
        correlation             of g and I over all j < i of rows that have a parent, rows centred
    """

    numbers: ClassVar[tuple[str, ...]] = ("gradient_accuracy", "information_accuracy", "correlation")
    step: int = 150
    n_prompts: int = 4000

    def __post_init__(self) -> None:
        if self.step < 0 or self.n_prompts < 1:
            raise ValueError(f"step={self.step} must be >= 0 and n_prompts={self.n_prompts} >= 1")

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        task, model = run.task, run.model
        if not (hasattr(model, "copied_block") and hasattr(task, "parents") and task.n_parents == 1):
            raise ValueError("attention_information reads a disentangled_transformer on causal_graph with one parent")
        own = Draw(seeds_of(run), f"{draw.name}/own", device=draw.device, dtype=torch.float64)
        parents = task.parents(own).expand(len(own.seeds), -1, -1)[..., 0]
        step, theta = self._early(run)
        sample = as_double(task.sample(self.n_prompts, own))
        surface = LossSurface(model, objective_of(run), [sample])
        pieces = zip(surface.shapes, surface.gradient(theta).split(surface.sizes, dim=1), strict=True)
        first = next(piece.view(len(theta), *model.A[0].shape[1:]) for name, piece in pieces if name.endswith("A.0"))
        g = -first[:, :, task.dim : task.dim + task.n_context, task.dim : task.dim + task.n_context].mean(1)
        pi = own.at(1).gamma(task.concentration, self.n_prompts, task.dim, task.dim).clamp(min=LEAST)
        pi = pi / pi.sum(-1, keepdim=True)
        information = torch.stack([mutual_information(p, rows) for p, rows in zip(pi, parents.tolist(), strict=True)])
        return Measured(
            numbers={
                "gradient_accuracy": accuracy(g, parents), "information_accuracy": accuracy(information, parents),
                "correlation": correlation(g, information, parents),
            },
            curves={
                "gradient": _map(g[0], f"of the gradient at step {step}"), "information": _map(information[0], "of I")
            },
            n_prompts=self.n_prompts,
        )  # fmt: skip

    def _early(self, run: Run) -> tuple[int, Float[Tensor, "M F"]]:
        if not run.folder.has("snapshots.safetensors"):
            raise ValueError("the run kept no snapshots (train.n_snapshots)")
        for step, bank in run.snapshots():
            if step >= min(self.step, run.config.train.steps):
                return step, flat(bank)
        return run.config.train.steps, flat(run.model)


def mutual_information(pi: Float[Tensor, "B S S"], parents: list[int]) -> Float[Tensor, "N N"]:
    """I of every pair of tokens, a mean over transition tables; 0 on the diagonal."""
    mu, powers = stationary(pi), [torch.eye(pi.shape[-1]).to(pi).expand_as(pi)]
    for _ in parents:
        powers.append(powers[-1] @ pi)
    lines = [ancestors(i, parents) for i in range(len(parents))]
    found = torch.zeros(len(parents), len(parents)).to(pi)
    for i, line in enumerate(lines):
        for j in range(i):
            common = next((a for a in line if a in lines[j]), None)
            if common is None:  # other roots: independent
                continue
            to_i, to_j = powers[line.index(common)], powers[lines[j].index(common)]
            joint = torch.einsum("bs,bsj,bsi->bji", mu, to_j, to_i)
            ratio = joint.square() / (mu[:, :, None] * mu[:, None]).clamp(min=LEAST)
            found[i, j] = found[j, i] = (ratio.sum((1, 2)) - 1).mean()
    return found


def ancestors(i: int, parents: list[int]) -> list[int]:
    """i, p(i), p(p(i)), .. up to its root."""
    line = [i]
    while parents[line[-1]] >= 0:
        line.append(parents[line[-1]])
    return line


def accuracy(value: Float[Tensor, "M N N"], parents: Int[Tensor, "M N"]) -> Float[Tensor, "M"]:
    """Share of tokens with a parent whose row is largest there, among earlier tokens."""
    earlier = torch.ones_like(value, dtype=torch.bool).tril(-1)
    best = value.masked_fill(~earlier, -torch.inf).argmax(-1)
    edges = (parents >= 0).double()
    return ((best == parents).double() * edges).sum(1) / edges.sum(1)


def correlation(a: Tensor, b: Tensor, parents: Int[Tensor, "M N"]) -> Float[Tensor, "M"]:
    """Over pairs j < i with i no root, each row less its mean."""
    pairs = (torch.ones_like(a).tril(-1) * (parents >= 0).to(a)[..., None]).double()
    count = pairs.sum(-1, keepdim=True).clamp(min=1)
    a, b = ((t - (t * pairs).sum(-1, keepdim=True) / count) * pairs for t in (a, b))
    return (a * b).sum((1, 2)) / (a.square().sum((1, 2)) * b.square().sum((1, 2))).sqrt()


def _map(value: Float[Tensor, "N N"], what: str) -> Curve:
    lower: list[Any] = value.tril(-1).tolist()
    n = list(range(len(lower)))
    return Curve(kind="map", title=f"Pairs of positions, {what}", x_label="j", y_label="i", x=n, y=n, model=lower)
