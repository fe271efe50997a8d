"""Linear attention restricted to the forms in which every layer is a preconditioned step: P = 0, and with x-update.

References:
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
    Gatmiry et al. 2024, Can looped transformers learn to implement multi-step gradient descent?, arXiv:2410.08292
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models.arguments import at_least_one, finite
from icl.models.first_values import draw_normal
from icl.models.preconditioned_attention_fast import last
from icl.rng import Draw


class PreconditionedAttention(nn.Module):
    """L layers P_l = [[B_l, 0], [0, 1]], Q_l = [[A_l, 0], [0, 0]] on tokens (x_j, y_j), the query's y being 0:

        y_j ← y_j + (1/N) Σᵢ y_i x_iᵀ A_l x_j,      x_j ← x_j + B_l (1/N) Σᵢ x_i x_iᵀ A_l x_j,

    i over the context, j over all, both from the tokens before the layer. The guess is minus the y of the query,
    0 before any layer. Without `x_update` there is no B ("P = 0" in the source): layer l then is the step of
    gradient descent that −A_lᵀ preconditions. With it B_{L−1} moves nothing that is read.

    Parameters are (M, L, D, D), L = 1 if `tied`, zero until `reset`, whose first values are N(0, init_std²).
    `symmetric`: A enters as (A + Aᵀ)/2, so it has no rotation. Labels are single numbers.
    """

    A: Tensor
    B: Tensor

    def __init__(
        self,
        *,
        dim: int,
        n_layers: int = 1,
        tied: bool = False,
        x_update: bool = False,
        symmetric: bool = False,
        init_std: float = 0.01,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(dim=dim, n_layers=n_layers, n_seeds=n_seeds)
        if x_update and n_layers < 2:
            raise ValueError(f"n_layers={n_layers} must be >= 2 with x_update: nothing reads the inputs after the last")
        finite(init_std=init_std)
        self.dim, self.n_layers, self.tied, self.n_seeds = dim, n_layers, tied, n_seeds
        self.x_update, self.symmetric, self.init_std = x_update, symmetric, init_std
        shape = (n_seeds, 1 if tied else n_layers, dim, dim)
        for name in ("A", "B") if x_update else ("A",):
            self.register_parameter(name, nn.Parameter(torch.zeros(shape, device=device, dtype=dtype)))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        draw_normal(self.parameters(), draw, self.init_std)

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        """The guess after every layer.

        Another depth by `steps`: a single layer or a tied stack goes on, an untied one may only stop early.

        Raises:
            ValueError: `steps` < 0, or more than the layers of an untied stack; labels of several numbers.
        """
        layers, (x, y, x_query) = self._layers(steps), self._fields(prompt)
        y_query = x_query.new_zeros(x_query.shape[:2]).expand(self.A.shape[0] if x.shape[0] == 1 else -1, -1)
        guesses = [-y_query]
        for A, B in layers:
            keys = torch.einsum("mbnd,mde->mbne", x, A) / max(x.shape[2], 1)  # x_iᵀ A / N
            scores, to_query = keys @ x.mT, (keys @ x_query[..., None])[..., 0]
            y_query = y_query + (y * to_query).sum(-1)
            y = y + (y[..., None, :] @ scores)[..., 0, :]
            if B is not None:
                x_query = x_query + torch.einsum("mde,mbne,mbn->mbd", B, x, to_query)
                x = x + torch.einsum("mde,mbie,mbij->mbjd", B, x, scores)
            guesses.append(-y_query)
        return torch.stack(guesses)

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B"]:
        """The guess after the last layer, equal to `self(prompt)[-1]` and many times faster."""
        x, y, x_query = self._fields(prompt)
        A, B = self._A(), self.B if self.x_update else None
        columns = x.permute(0, 3, 2, 1), y.mT[:, None], x_query.mT
        return last(A, B, *columns, n_layers=self.n_layers)

    def step_matrices(self) -> Float[Tensor, "M L D D"]:
        """η_l = −A_l: a layer is y_j ← y_j − (1/N) Σᵢ y_i x_iᵀ η_l x_j, and η_l = η I the step of size η."""
        return -self._A()

    def merged(self) -> tuple[Float[Tensor, "M L A A"], Float[Tensor, "M L A A"]]:
        """(P, Q) of the same layers as `LinearAttention` with `normalize` has them."""
        A = self._A()
        P, Q = (A.new_zeros(*A.shape[:2], self.dim + 1, self.dim + 1) for _ in range(2))
        P[..., -1, -1] = 1
        if self.x_update:
            P[..., :-1, :-1] = self.B
        Q[..., :-1, :-1] = A
        return P, Q

    def _A(self) -> Float[Tensor, "M L D D"]:
        return (self.A + self.A.mT) / 2 if self.symmetric else self.A

    def _layers(self, steps: int | None) -> list[tuple[Tensor, Tensor | None]]:
        """(A, B) of each step."""
        steps = self.n_layers if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        n_stored = self.A.shape[1]
        if steps > n_stored > 1:
            raise ValueError(f"steps={steps} must be <= {n_stored}, the layers of an untied stack")
        A = self._A()
        return [(A[:, l % n_stored], self.B[:, l % n_stored] if self.x_update else None) for l in range(steps)]

    def _fields(self, prompt: Prompt) -> tuple[Tensor, Tensor, Tensor]:
        if prompt.y.ndim != 3:
            raise ValueError(f"labels of shape {tuple(prompt.y.shape[3:])} must be single numbers for this model")
        return prompt.x, prompt.y, prompt.x_query
