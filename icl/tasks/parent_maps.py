"""Latent graphs of a sequence: which earlier positions a token depends on.

A graph of N positions with k parents a position is a table (N, k) of positions; a root has −1 everywhere.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

GRAPHS = ("chain", "pairs", "random_tree")
ROOT = -1


def named(graph: str, n_context: int, n_parents: int) -> Int[Tensor, "N K"]:
    """`chain`: the k tokens before; the first k are roots. `pairs`: the odd tokens follow the even ones, roots."""
    rows = []
    for i in range(n_context):
        inside = i >= n_parents and (graph == "chain" or i % 2 == 1)
        rows.append([i - n_parents + j if inside else ROOT for j in range(n_parents)])
    return torch.tensor(rows)


def random_tree(uniform: Float[Tensor, "*m N"]) -> Int[Tensor, "*m N 1"]:
    """p(i) uniform on −1..i−1, from one uniform number a position."""
    n = torch.arange(uniform.shape[-1], device=uniform.device)
    return ((uniform.double() * (n + 1)).long().clamp(max=n) - 1)[..., None]


def read(rows: Sequence[int | Sequence[int]], n_context: int, n_parents: int) -> Int[Tensor, "N K"]:
    """A graph that is written out, one number or one list of k numbers a position.

    Raises:
        ValueError: it has another size, or a parent does not come before its child (so there is no cycle).
    """
    if len(rows) != n_context:
        raise ValueError(f"graph has {len(rows)} positions, n_context is {n_context}")
    table = []
    for child, row in enumerate(rows):
        own = [row] if isinstance(row, int) else list(row)
        own = own * n_parents if own == [ROOT] else own
        if len(own) != n_parents:
            raise ValueError(f"graph[{child}]={row} must be -1 (a root) or have n_parents={n_parents} entries")
        for parent in own:
            if not (ROOT <= parent < child) or (parent == ROOT and set(own) != {ROOT}):
                allowed = f"-1 (a root), or 0..{child - 1}" if child else "-1 (a root)"
                raise ValueError(
                    f"graph[{child}]={row}: a parent must come before its child ({allowed}), so that there is no cycle"
                )
        table.append(own)
    return torch.tensor(table)
