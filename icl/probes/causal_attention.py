"""Whether a disentangled transformer found the causal graph of its sequences, and how near to Bayes it guesses."""

from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl.algorithms.graph_posterior import GraphPosterior, matching
from icl.comparisons.measured import Curve, Measured
from icl.core import Sample
from icl.objectives.cross_entropy import cross_entropy
from icl.rng import Draw
from icl.runs import Run

MAPPED = 8  # members whose attention is kept as a map


@dataclass(frozen=True, kw_only=True)
class CausalAttention:
    """The first layer against the graph, the second against the induction head, the guess against Bayes.

        edge_accuracy         share of edges (i, p(i)) where the mean attention of layer 1 from i is largest on p(i)
        parent_attention      mean over edges of that attention on p(i)
        matching_attention    attention of layer 2 from the query on positions whose parent holds the query's token,
                              over the prompts that have one
        copied_diagonal       block of A[1] between the query's token and the copied one: diagonal minus the rest
        gap                   cross-entropy above the Bayes reference (nats); gap_share: over that of the uniform guess
        n_edges               of the member's graph
        pooled_edge_accuracy, share_found (parent_attention > 0.6), share_near (gap_share < 0.22)    over all members

    Several heads of layer 1 are given to several parents in their best order. Prompts are the member's own.
    """

    numbers: ClassVar[tuple[str, ...]] = (
        "edge_accuracy", "parent_attention", "matching_attention", "copied_diagonal", "gap", "gap_share", "n_edges",
        "pooled_edge_accuracy", "share_found", "share_near",
    )  # fmt: skip
    n_prompts: int = 4000

    def measure_run(self, run: Run, draw: Draw) -> Measured:
        model, task = run.model.requires_grad_(False), run.task
        if not (hasattr(model, "copied_block") and hasattr(task, "parents") and len(model.n_heads) == 2):
            raise ValueError("causal_attention reads a two-layer disentangled_transformer on the task causal_graph")
        parents = task.parents(Draw(run.result["seeds"], draw.name, device=draw.device))
        parents = parents.expand(len(run.result["seeds"]), -1, -1)
        sample = task.sample(self.n_prompts, Draw(run.result["seeds"], draw.name, device=draw.device, dtype=draw.dtype))
        attention = first_layer(model, sample)
        order = best_order(attention, parents)
        found = self._edges(attention[:, order], parents) | self._losses(model, task, sample, parents)
        found["matching_attention"] = second_layer(model, sample, parents)
        found["copied_diagonal"] = torch.stack([diagonal(model.copied_block(h)) for h in order]).mean(0)
        curves = self._curves(run, sample, parents, order) | maps(attention[:, order], parents)
        return Measured(numbers=found, curves=curves, n_prompts=self.n_prompts)

    def _edges(self, attention: Float[Tensor, "M K P P"], parents: Int[Tensor, "M N K"]) -> dict[str, Tensor]:
        edges = (parents >= 0).double()
        right = (attention[:, :, :-1].argmax(-1).mT == parents).double() * edges
        on_parent = parent_weight(attention, parents)
        n_edges = edges.sum((1, 2))
        mean = on_parent.sum((1, 2)) / n_edges
        return {
            "edge_accuracy": right.sum((1, 2)) / n_edges,
            "parent_attention": mean,
            "n_edges": n_edges,
            "pooled_edge_accuracy": right.sum() / n_edges.sum(),
            "share_found": (mean > 0.6).double().mean(),
        }

    def _losses(self, model: Any, task: Any, sample: Sample, parents: Int[Tensor, "M N K"]) -> dict[str, Tensor]:
        bayes = GraphPosterior(parents=parents, concentration=task.concentration)(sample.prompt)[-1]
        best = cross_entropy(bayes, sample.target).double().mean(-1)
        uniform = cross_entropy(torch.zeros_like(bayes), sample.target).double().mean(-1)
        gap = cross_entropy(model.last(sample.prompt), sample.target).double().mean(-1) - best
        share = gap / (uniform - best)
        return {"gap": gap, "gap_share": share, "share_near": (share < 0.22).double().mean()}

    def _curves(self, run: Run, sample: Sample, parents: Tensor, order: list[int]) -> dict[str, Curve]:
        few = Sample(sample.prompt.chunk(0, 500), sample.target[:, :500], None)
        steps, weights = [], []
        for step, bank in run.snapshots():
            attention = first_layer(bank.requires_grad_(False), few)[:, order]
            n_edges = (parents >= 0).sum((1, 2))
            steps.append(step)
            weights.append(parent_weight(attention, parents).sum((1, 2)) / n_edges)
        if not steps:
            return {}
        rows = torch.stack(weights, 1).tolist()
        return {"parent_attention": Curve(kind="line", title="The first layer finds the parents", x=steps, model=rows,
                                          x_label="training step", y_label="attention on the parent")}  # fmt: skip


def maps(attention: Float[Tensor, "M K P P"], parents: Int[Tensor, "M N K"]) -> dict[str, Curve]:
    """Attention of layer 1 beside the graph (1 on a parent), a map a member and head, of the first members."""
    found = {}
    positions = list(range(attention.shape[-1]))
    for m in range(min(len(attention), MAPPED)):
        for head in range(attention.shape[1]):
            graph = [[float(p == parent) for p in positions] for parent in [*parents[m, :, head].tolist(), -1]]
            found[f"attention_{m}_{head}"] = Curve(
                kind="map", title=f"Layer 1, member {m}" + (f", head {head}" if attention.shape[1] > 1 else ""),
                x_label="position looked at", y_label="position looking", x=positions, y=positions,
                model=attention[m, head].tolist(), reference=graph, note="mean over prompts",
            )  # fmt: skip
    return found


def first_layer(model: Any, sample: Sample) -> Float[Tensor, "M H P P"]:
    """The attention of layer 1, mean over prompts, in float64."""
    return model.attention(model.stream(sample.prompt), 0).double().mean(1)


def parent_weight(attention: Float[Tensor, "M K P P"], parents: Int[Tensor, "M N K"]) -> Float[Tensor, "M N K"]:
    """The attention of head k from i on its k-th parent, 0 for roots."""
    on = attention[:, :, :-1].gather(3, parents.mT.clamp(min=0)[..., None])[..., 0].mT
    return on * (parents >= 0)


def best_order(attention: Float[Tensor, "M H P P"], parents: Int[Tensor, "M N K"]) -> list[int]:
    """Which head goes to which parent: the choice with the most attention on parents, over all members."""
    n_heads, n_parents = attention.shape[1], parents.shape[-1]
    if n_heads < n_parents:
        raise ValueError(f"layer 1 has {n_heads} heads, the graph {n_parents} parents a position")
    choices = list(permutations(range(n_heads), n_parents))
    return list(max(choices, key=lambda order: parent_weight(attention[:, list(order)], parents).sum().item()))


def second_layer(model: Any, sample: Sample, parents: Int[Tensor, "M N K"]) -> Float[Tensor, "M"]:
    """How much of the query's attention is on positions whose parents hold the query."""
    h = model.stream(sample.prompt)
    h = torch.cat([h, *(model.attention(h, 0) @ h[:, :, None]).unbind(2)], -1)
    weights = model.attention(h, 1, query_only=True).mean(2)[:, :, 0, :-1].double()
    same = matching(sample.prompt, parents)[:, :, 0].double()
    some = (same.sum(-1) > 0).double()
    return ((weights * same).sum(-1) * some).sum(-1) / some.sum(-1)


def diagonal(block: Float[Tensor, "M H S S"]) -> Float[Tensor, "M"]:
    """Mean of the diagonal minus mean of the rest."""
    size = block.shape[-1]
    on = block.diagonal(dim1=-2, dim2=-1).double().sum(-1)
    rest = block.double().sum((-2, -1)) - on
    return (on / size - rest / (size * (size - 1))).mean(1)
