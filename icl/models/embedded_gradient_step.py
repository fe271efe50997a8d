"""A learned feature map and gradient descent on top of it: what an embedding before linear attention should amount to.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models.arguments import at_least_one
from icl.models.embedded_attention import Embedding
from icl.rng import Draw


class EmbeddedGradientStep(nn.Module):
    """One step of gradient descent from w_0 = 0 on ½ mean (⟨w, φ(xᵢ)⟩ − yᵢ)², φ and the step size η trained:

        ŷ = ⟨w_1, φ(x_query)⟩ = (η/N) Σᵢ yᵢ ⟨φ(xᵢ), φ(x_query)⟩

    φ is the `Embedding` of x alone: the label enters through the gradient and nowhere else. `steps=` goes on with
    more of the same steps. First value of η: `init_step_size`.
    """

    def __init__(
        self,
        *,
        dim: int,
        x_scale: float = 0.4,
        width: int = 40,
        n_hidden: int = 160,
        init_step_size: float = 0.01,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(dim=dim)
        self.init_step_size = init_step_size
        self.embedding = Embedding(
            scales=[x_scale] * dim, width=width, n_hidden=n_hidden, n_seeds=n_seeds, device=device, dtype=dtype
        )
        self.step_size = nn.Parameter(torch.zeros(n_seeds, 1, device=device, dtype=dtype))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone."""
        self.embedding.reset(draw)
        self.step_size.fill_(self.init_step_size)

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        """The guess after 0..steps steps, one by default."""
        steps = 1 if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        features = self.embedding(torch.cat([prompt.x, prompt.x_query[:, :, None]], 2))
        context, query = features[:, :, :-1], features[:, :, -1]
        w = torch.zeros_like(query)
        trajectory = [torch.einsum("mbe,mbe->mb", w, query)]
        for _ in range(steps):
            residual = torch.einsum("mbne,mbe->mbn", context, w) - prompt.y
            grad = torch.einsum("mbne,mbn->mbe", context, residual) / max(context.shape[2], 1)
            w = w - self.step_size[:, None] * grad
            trajectory.append(torch.einsum("mbe,mbe->mb", w, query))
        return torch.stack(trajectory)
