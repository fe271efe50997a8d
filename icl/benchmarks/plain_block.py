"""A looped transformer as one would write it with torch.nn for one model: the twin that the bank is timed against.

References:
    Yang, Lee, Nowak, Papailiopoulos 2023, Looped transformers are better at learning learning algorithms,
    arXiv:2311.12424
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """Pre-LN attention (SDPA) and MLP."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm_1(h)).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        h = h + self.out(attended)
        return h + self.down(F.gelu(self.up(self.norm_2(h)), approximate="tanh"))


class PlainLoop(nn.Module):
    """z ← LN(block(z + e)), n times, and the guess at the x tokens after every loop; x is B P D, y is B P."""

    def __init__(self, dim: int, n_context: int, width: int, n_heads: int) -> None:
        super().__init__()
        self.read_in, self.read_out = nn.Linear(dim, width), nn.Linear(width, 1)
        self.positions = nn.Parameter(0.02 * torch.randn(2 * n_context + 2, width))
        self.block, self.norm = PlainBlock(width, n_heads), nn.LayerNorm(width)

    def forward(self, x: Tensor, y: Tensor, n_loops: int) -> Tensor:
        labels = F.pad(y[..., None], (0, x.shape[2] - 1))
        e = self.read_in(torch.stack((x, labels), 2).flatten(1, 2)) + self.positions
        z, guesses = torch.zeros_like(e), []
        for _ in range(n_loops):
            z = self.norm(self.block(z + e))
            guesses.append(self.read_out(z[:, ::2])[..., 0])
        return torch.stack(guesses)
