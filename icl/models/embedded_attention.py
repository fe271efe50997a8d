"""Linear attention on tokens that an MLP has embedded: the layer's gradient step is made in a learned feature space.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models.arguments import at_least_one, finite
from icl.models.first_values import check_seeds, draw_truncated_normal
from icl.rng import Draw


class Embedding(nn.Module):
    """h = e + W_2 gelu(W_1 e + b_1) + b_2,   e = W_in (s ⊙ t) + b_in,   of a token t of size I; h has size E.

    s are fixed `scales`, which bring a task's numbers to the size of 1. First values, as torch has them: weights and
    biases uniform within ± 1/√fan-in. (Truncated normal weights of variance 1/fan-in learned sines half as well.)
    """

    scales: Tensor

    def __init__(
        self, *, scales: Sequence[float], width: int, n_hidden: int, n_seeds: int, device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        super().__init__()
        at_least_one(width=width, n_hidden=n_hidden, n_seeds=n_seeds)
        if not all(0 < scale < math.inf for scale in scales):
            raise ValueError(f"scales={list(scales)} must be > 0 and finite")

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(n_seeds, *shape, device=device, dtype=dtype))

        self.register_buffer("scales", torch.tensor(scales, device=device, dtype=dtype), persistent=False)
        self.W_in, self.b_in = parameter(len(scales), width), parameter(1, width)
        self.W_1, self.b_1 = parameter(width, n_hidden), parameter(1, n_hidden)
        self.W_2, self.b_2 = parameter(n_hidden, width), parameter(1, width)

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        check_seeds(draw, self.W_in.shape[0])
        for weight, bias in ((self.W_in, self.b_in), (self.W_1, self.b_1), (self.W_2, self.b_2)):
            bound = 1 / math.sqrt(weight.shape[1])
            for values in (weight, bias):
                values.copy_(bound * (2 * draw.uniform(*values.shape[1:]) - 1))

    def forward(self, t: Float[Tensor, "#M *batch I"]) -> Float[Tensor, "M *batch E"]:
        """All tokens of a member in three matrix products."""
        n_members = max(t.shape[0], self.W_in.shape[0])
        flat = (self.scales * t).flatten(1, -2).expand(n_members, -1, -1)
        e = torch.baddbmm(self.b_in, flat, self.W_in)
        hidden = nn.functional.gelu(torch.baddbmm(self.b_1, e, self.W_1))
        return (e + torch.baddbmm(self.b_2, hidden, self.W_2)).unflatten(1, t.shape[1:-1])


class EmbeddedAttention(nn.Module):
    """Tokens (x_i, y_i) and (x_query, 0) embedded to h_i and h_q, then one layer of linear attention:

        ŷ = −(1/N) Σᵢ ⟨p, hᵢ⟩ ⟨hᵢ, A h_q⟩,

    with A = W_Kᵀ W_Q and p the last row of W_O W_V, merged: all that the guess reads of a layer. It is the change
    of the query's last channel: entry 0 of the trajectory is zero, and what the embedding alone writes there
    (a function of x_query) is left out. First values of A and p: truncated normal of variance init_scale / E.
    """

    def __init__(
        self,
        *,
        dim: int,
        x_scale: float = 0.4,
        y_scale: float = 4.0,
        width: int = 40,
        n_hidden: int = 160,
        init_scale: float = 0.1,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(dim=dim)
        finite(init_scale=init_scale)
        self.init_scale = init_scale
        self.embedding = Embedding(
            scales=[*[x_scale] * dim, y_scale], width=width, n_hidden=n_hidden, n_seeds=n_seeds, device=device,
            dtype=dtype,
        )  # fmt: skip
        self.A = nn.Parameter(torch.zeros(n_seeds, width, width, device=device, dtype=dtype))
        self.p = nn.Parameter(torch.zeros(n_seeds, width, device=device, dtype=dtype))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone."""
        self.embedding.reset(draw)
        draw_truncated_normal((self.A, self.p), draw, self.init_scale)

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        """0, then the guess of the layer.

        Raises:
            ValueError: more than one step is asked for; A and p move no token but the query.
        """
        if steps not in (None, 0, 1):
            raise ValueError(f"steps={steps} must be 0 or 1, the layer only reads the query")
        guess = self.last(prompt)
        return torch.stack([torch.zeros_like(guess), guess][: 1 if steps == 0 else 2])

    def last(self, prompt: Prompt) -> Float[Tensor, "#M B"]:
        """The guess."""
        x = torch.cat([prompt.x, prompt.x_query[:, :, None]], 2)
        y = torch.cat([prompt.y, torch.zeros_like(prompt.x_query[..., :1])], 2)
        h = self.embedding(torch.cat([x, y[..., None]], -1))
        context, query = h[:, :, :-1], h[:, :, -1]
        values = torch.einsum("mbne,me->mbn", context, self.p)
        moment = torch.einsum("mbn,mbne->mbe", values, context) / max(context.shape[2], 1)
        return -(moment * torch.einsum("mef,mbf->mbe", self.A, query)).sum(-1)
