"""A stack of linear self-attention layers: no softmax, no 1/√d, the query never a key.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
    Ahn et al. 2023, Transformers learn to implement preconditioned gradient descent, arXiv:2306.00297
    Mahankali, Hashimoto, Ma 2023, One step of gradient descent is provably optimal, arXiv:2307.03576
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models import linear_attention_fast
from icl.models.arguments import at_least_one, finite
from icl.models.first_values import draw_normal, draw_truncated_normal
from icl.models.linear_attention_reapplied import reapply
from icl.rng import Draw

WEIGHTS = {"factored": ("W_K", "W_Q", "W_V", "W_O"), "merged": ("P", "Q")}


class LinearAttention(nn.Module):
    """Tokens e_i = (x_i, y_i) of size A = D + O and the query (x_query, −w_init x_query), moved L times by

        e_j ← e_j + c W_O Σᵢ (W_V e_i) (W_K e_i)ᵀ (W_Q e_j),   i over the context, j over all,

    with c = 1/N if `normalize`, else 1. The guess is minus the y of the query; entry 0 of the trajectory is
    w_init x_query, zero unless a construction sets it. W_O is the P of von Oswald et al. In the P and Q of
    Ahn et al., the parameters with `parametrization="merged"`, a layer is

        e_j ← e_j + c P G Q e_j,     P = W_O W_V,   Q = W_Kᵀ W_Q,   G = Σᵢ e_i e_iᵀ.

    Parameters are (M, L, A, A), L = 1 if `tied`, and zero until `reset` or `load_state_dict`. First values:
    `von_oswald` truncated normal of variance init_scale / (n_layers A), `normal` N(0, init_scale²).
    """

    w_init: Tensor
    W_K: Tensor
    W_Q: Tensor
    W_V: Tensor
    W_O: Tensor
    P: Tensor
    Q: Tensor

    def __init__(
        self,
        *,
        dim: int,
        n_layers: int = 1,
        tied: bool = False,
        parametrization: Literal["factored", "merged"] = "factored",
        normalize: bool = False,
        n_outputs: int | None = None,
        init: Literal["von_oswald", "normal"] = "von_oswald",
        init_scale: float = 0.002,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(dim=dim, n_layers=n_layers, n_outputs=n_outputs, n_seeds=n_seeds)
        if parametrization not in WEIGHTS:
            raise ValueError(f"parametrization={parametrization} must be one of {', '.join(WEIGHTS)}")
        if init not in ("von_oswald", "normal"):
            raise ValueError(f"init={init} must be von_oswald or normal")
        finite(init_scale=init_scale)
        self.dim, self.n_layers, self.tied, self.normalize = dim, n_layers, tied, normalize
        self.n_outputs, self.n_seeds = n_outputs, n_seeds
        self.parametrization, self.init, self.init_scale = parametrization, init, init_scale
        size = dim + (n_outputs or 1)
        shape = (n_seeds, 1 if tied else n_layers, size, size)
        for name in WEIGHTS[parametrization]:
            self.register_parameter(name, nn.Parameter(torch.zeros(shape, device=device, dtype=dtype)))
        self.register_buffer("w_init", torch.zeros(n_seeds, n_outputs or 1, dim, device=device, dtype=dtype))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        if self.init == "normal":
            draw_normal(self.parameters(), draw, self.init_scale)
        else:
            draw_truncated_normal(self.parameters(), draw, self.init_scale / self.n_layers)
        self.w_init.zero_()

    def forward(
        self, prompt: Prompt, *, steps: int | None = None, damping: float | None = None
    ) -> Float[Tensor, "T #M B *out"]:
        """The guess after every layer.

        Another depth by `steps`: a single layer or a tied stack goes on, an untied one may only stop early.
        With `damping` x stays and only `damping` times the update of y is added (von Oswald et al.'s
        re-application).

        Raises:
            ValueError: `steps` < 0, or more than the layers of an untied stack.
        """
        layers = self._layers(steps)
        if damping is not None:
            return self._out(reapply(*self._columns(prompt), layers=layers, damping=damping))
        tokens = self.tokens(prompt)
        guesses = [-tokens[:, :, -1, self.dim :]]
        for layer in layers:
            tokens = tokens + self.update(tokens, layer)
            guesses.append(-tokens[:, :, -1, self.dim :])
        return self._out(torch.stack(guesses).mT)

    def tokens(self, prompt: Prompt) -> Float[Tensor, "M B N1 A"]:
        """e_1 .. e_N and e_q, for every member."""
        y_query = -torch.einsum("mod,mbd->mbo", self.w_init, prompt.x_query)
        context = torch.cat([prompt.x, self._labels(prompt)], -1)
        query = torch.cat([prompt.x_query.expand(y_query.shape[0], -1, -1), y_query], -1)
        return torch.cat([context.expand(y_query.shape[0], -1, -1, -1), query[:, :, None]], 2)

    def update(self, tokens: Float[Tensor, "M B N1 A"], layer: int) -> Float[Tensor, "M B N1 A"]:
        """c W_O Σᵢ (W_V e_i) (W_K e_i)ᵀ (W_Q e_j), or c P G Q e_j, for every token j."""
        context = tokens[:, :, :-1]  # the query is never a key
        scale = 1 / max(context.shape[2], 1) if self.normalize else 1.0
        if self.parametrization == "merged":
            gram = torch.einsum("mbna,mbnc->mbac", context, context)
            queries = torch.einsum("mca,mbja->mbjc", self.Q[:, layer], tokens)
            attended = torch.einsum("mbac,mbjc->mbja", gram, queries)
            return scale * torch.einsum("mca,mbja->mbjc", self.P[:, layer], attended)
        keys = torch.einsum("mka,mbna->mbnk", self.W_K[:, layer], context)
        values = torch.einsum("mva,mbna->mbnv", self.W_V[:, layer], context)
        queries = torch.einsum("mka,mbja->mbjk", self.W_Q[:, layer], tokens)
        scores = torch.einsum("mbjk,mbnk->mbjn", queries, keys)
        attended = torch.einsum("mbjn,mbnv->mbjv", scores, values)
        return scale * torch.einsum("mav,mbjv->mbja", self.W_O[:, layer], attended)

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B *out"]:
        """The guess after the last layer, equal to `self(prompt)[-1]` and many times faster."""
        return self._out(linear_attention_fast.last(*self._columns(prompt), n_layers=self.n_layers))

    def merged(self) -> tuple[Float[Tensor, "M L A A"], Float[Tensor, "M L A A"]]:
        """(P, Q), without c."""
        if self.parametrization == "merged":
            return self.P, self.Q
        return self.W_O @ self.W_V, self.W_K.mT @ self.W_Q

    def preconditioner(self, n_context: int | None = None) -> Float[Tensor, "M D D"]:
        """Γ of the one-layer guess ŷ = x_queryᵀ Γ Σᵢ yᵢ xᵢ, the part of it that gradient descent has too.

        Raises:
            ValueError: more layers or outputs than one, or `normalize` without `n_context`.
        """
        if self.n_layers > 1 or self.n_outputs is not None:
            raise ValueError(f"n_layers={self.n_layers}, n_outputs={self.n_outputs} must be 1 and None")
        if self.normalize and n_context is None:
            raise ValueError("n_context=None must be given: the layer divides by it")
        P, Q = self.merged()
        scale = 1 / n_context if self.normalize and n_context else 1.0
        return -scale * P[:, 0, -1, -1, None, None] * Q[:, 0, : self.dim, : self.dim].mT

    def _layers(self, steps: int | None) -> list[int]:
        """Which of the stored layers makes each step."""
        steps = self.n_layers if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        if self.tied or self.n_layers == 1:
            return [0] * steps
        if steps > self.n_layers:
            raise ValueError(f"steps={steps} must be <= {self.n_layers}, the layers of an untied stack")
        return list(range(steps))

    def _labels(self, prompt: Prompt) -> Float[Tensor, "#M B N O"]:
        return prompt.y[..., None] if self.n_outputs is None else prompt.y

    def _out(self, guess: Float[Tensor, "*T M O B"]) -> Float[Tensor, "..."]:
        return guess.squeeze(-2) if self.n_outputs is None else guess.mT

    def _columns(self, prompt: Prompt) -> tuple[Tensor, ...]:
        """(c P, Q, S, x, y, x_query) for the fast forms: tokens are columns, prompts the last axis."""
        P, Q = self.merged()
        c = 1 / max(prompt.x.shape[2], 1) if self.normalize else 1.0
        identity = torch.eye(self.dim, device=self.w_init.device, dtype=self.w_init.dtype).expand(self.n_seeds, -1, -1)
        start = torch.cat([identity, -self.w_init], 1)
        x, y = prompt.x.permute(0, 3, 2, 1), self._labels(prompt).permute(0, 3, 2, 1)
        return c * P, Q, start, x, y, prompt.x_query.mT
