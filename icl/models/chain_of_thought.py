"""Linear attention that thinks: it writes weight vectors, column after column, behind the prompt.

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models import chain_of_thought_fast
from icl.models.arguments import at_least_one, finite
from icl.models.columns import tokens
from icl.models.first_values import draw_normal
from icl.rng import Draw


class ChainOfThought(nn.Module):
    """One layer f(Z) = Z + V Z Zᵀ W Z / N, whose last column is appended as the next thought.

        rows       x: D | y: 1 | w: D | flag: 1,                    A = 2 D + 2
        Z_0      = [(xᵢ, yᵢ, 0, 0), i = 1..N;   z_0 = (0, 0, 0, 1)]
        z_{t+1}  = f(Z_t)[:, last],                                 Z_{t+1} = [Z_t, z_{t+1}]

    N is the number of pairs and does not grow with the thoughts. The guess after t thoughts is the w of z_t, a weight
    vector; entry 0 is 0. `n_thoughts` is the depth when none is asked for, any other is allowed; a model that does
    not think aloud is one with n_thoughts = 1, trained on w* itself.

    V, W are (M, A, A) with first values N(0, init_scale²). With `parametrization="block"` only the blocks that gradient
    descent needs are free, V31 (x to w) and W13 (w to x), both (M, D, D); W24 (flag to y) is −1 and the rest 0.
    """

    V: Tensor
    W: Tensor
    V31: Tensor
    W13: Tensor

    def __init__(
        self,
        *,
        dim: int,
        n_thoughts: int = 10,
        parametrization: Literal["full", "block"] = "full",
        init_scale: float = 0.02,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(dim=dim, n_thoughts=n_thoughts, n_seeds=n_seeds)
        if parametrization not in ("full", "block"):
            raise ValueError(f"parametrization={parametrization} must be full or block")
        finite(init_scale=init_scale)
        self.dim, self.n_thoughts, self.n_seeds = dim, n_thoughts, n_seeds
        self.parametrization, self.init_scale = parametrization, init_scale
        self.size = 2 * dim + 2
        names, size = (("V", "W"), self.size) if parametrization == "full" else (("V31", "W13"), dim)
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.zeros(n_seeds, size, size, device=device, dtype=dtype)))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        draw_normal(self.parameters(), draw, self.init_scale)

    def matrices(self) -> tuple[Float[Tensor, "M A A"], Float[Tensor, "M A A"]]:
        """(V, W), whole."""
        if self.parametrization == "full":
            return self.V, self.W
        d, n_after = self.dim, self.dim + 2
        V = nn.functional.pad(self.V31, (0, n_after, d + 1, 1))
        W = nn.functional.pad(self.W13, (d + 1, 1, 0, n_after))
        flag_to_y = torch.zeros(self.size, self.size).to(W)
        flag_to_y[d, -1] = -1
        return V, W + flag_to_y

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B D"]:
        """The weights after every thought, each thought read from the model's own ones.

        Raises:
            ValueError: `steps` < 0.
        """
        thoughts = chain_of_thought_fast.rollout(*self.matrices(), self._context(prompt), steps=self._depth(steps))
        return thoughts[:, :, self.dim + 1 : -1].mT

    def recompute(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B D"]:
        """`forward` as it is written down: the whole sequence goes through the layer again for every thought."""
        Z = self.sequence(prompt)
        for _ in range(self._depth(steps)):
            Z = torch.cat([Z, self.layer(Z, prompt.x.shape[2])[..., -1:]], -1)
        thoughts = Z[..., prompt.x.shape[2] :]
        return thoughts[:, :, self.dim + 1 : -1].permute(3, 0, 1, 2)

    def teacher_forced(self, prompt: Prompt, weights: Float[Tensor, "T #M B D"]) -> Float[Tensor, "T #M B A"]:
        """f(Z_t)[:, last] where the thoughts up to t are `weights[..t]`, for every t in one masked pass."""
        given = weights.permute(1, 3, 0, 2)
        found = chain_of_thought_fast.teacher_forced(*self.matrices(), self._context(prompt), given)
        return found.permute(2, 0, 3, 1)

    def teacher_forced_one_by_one(
        self, prompt: Prompt, weights: Float[Tensor, "T #M B D"]
    ) -> Float[Tensor, "T #M B A"]:
        """`teacher_forced` as it is written down: for every t the sequence Z_t is made and goes through the layer."""
        Z, found = self.sequence(prompt)[..., :-1], []
        for column in self.thought(weights):
            Z = torch.cat([Z, column.expand(Z.shape[0], -1, -1)[..., None]], -1)
            found.append(self.layer(Z, prompt.x.shape[2])[..., -1])
        return torch.stack(found)

    def thought(self, weights: Float[Tensor, "T #M B D"]) -> Float[Tensor, "T #M B A"]:
        """The column that says w: (0, 0, w, 1)."""
        return nn.functional.pad(nn.functional.pad(weights, (0, 1), value=1.0), (self.dim + 1, 0))

    def sequence(self, prompt: Prompt) -> Float[Tensor, "#M B A N1"]:
        """Z_0, for every member."""
        pairs = torch.cat([prompt.x, prompt.y[..., None]], -1).mT
        pairs = nn.functional.pad(pairs, (0, 0, 0, self.dim + 1))
        start = self.thought(torch.zeros_like(prompt.x_query)[None])[0, ..., None]
        Z = torch.cat([pairs, start], -1)
        return Z.expand(max(Z.shape[0], self.n_seeds), -1, -1, -1)

    def layer(self, Z: Float[Tensor, "#M B A N1"], n_context: int) -> Float[Tensor, "M B A N1"]:
        """f(Z) = Z + V Z Zᵀ W Z / N."""
        V, W = (weight[:, None] for weight in self.matrices())
        return Z + V @ Z @ (Z.mT @ (W @ Z)) / max(n_context, 1)

    def _context(self, prompt: Prompt) -> Float[Tensor, "#M C N B"]:
        """(xᵢ, yᵢ) as columns, C = D + 1, prompts the last axis.

        Raises:
            ValueError: the prompt has another dimension than the model, or labels that are no numbers.
        """
        if prompt.x.shape[-1] != self.dim or prompt.y.ndim != 3:
            shape = tuple(prompt.x.shape[-1:] + prompt.y.shape[3:])
            raise ValueError(
                f"the prompt's x and y have shape {shape} a pair, the model takes dim={self.dim} and one y"
            )
        return tokens(prompt.x.permute(0, 3, 2, 1), prompt.y[..., None].permute(0, 3, 2, 1))

    def _depth(self, steps: int | None) -> int:
        if steps is not None and steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        return self.n_thoughts if steps is None else steps
