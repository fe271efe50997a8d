"""The parameters of a GPT-style decoder as a bank: tokens x_1, (y_1, 0, ..), x_2, .. in, guesses of y at every x out.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
"""

from collections.abc import Iterator
from itertools import repeat

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.models.arguments import at_least_one
from icl.models.attention_kernels import Kernel
from icl.models.first_values import check_seeds
from icl.models.gpt_layers import Decoders, Layer
from icl.rng import Draw

# Of the largest array that a chunk of members makes: for the caches of a CPU, for the memory of a GPU.
CHUNK_FLOATS = {"cpu": 2**20, "cuda": 2**28}
POSITION_STD = 0.02
BIAS_OF = {"read_in_bias": "read_in", "read_out_bias": "read_out", "b_qkv": "W_qkv", "b_o": "W_o", "b_up": "W_up",
           "b_down": "W_down"}  # fmt: skip
LAYERED = {"gain_1", "shift_1", "W_qkv", "b_qkv", "W_o", "b_o", "gain_2", "shift_2", "W_up", "b_up", "W_down", "b_down"}


def check_sizes(**sizes: int) -> None:
    """Raises ValueError for a size below 1, or heads that do not divide the width."""
    at_least_one(**sizes)
    if sizes["width"] % sizes["n_heads"]:
        raise ValueError(f"n_heads={sizes['n_heads']} must divide width={sizes['width']}")


class GPT(nn.Module):
    """The parameters of M decoders of L layers and width E, each (M, ...), and those of a layer (M, L, ...).

    First values are those of `torch.nn.Linear`: weights and biases uniform within 1/√fan_in, positions N(0, 0.02²),
    LayerNorms the identity. (GPT-2's own, N(0, 0.02²) weights, leave a model of width 64 on a plateau.)
    """

    positions: Tensor
    read_in: Tensor

    def __init__(
        self, *, dim: int, n_tokens: int, n_layers: int, width: int, n_heads: int, n_seeds: int,
        device: torch.device | str, dtype: torch.dtype, kernel: Kernel = "softmax", tokens_a_pair: int = 2,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_heads, self.n_seeds, self.tokens_a_pair = n_heads, n_seeds, tokens_a_pair
        self.kernel: Kernel = kernel
        wide, layers = 4 * width, (n_layers,)
        self.fan_in = dict.fromkeys(("read_out", "W_qkv", "W_o", "W_up"), width) | {"read_in": dim, "W_down": wide}
        shapes = {
            "read_in": (dim, width), "read_in_bias": (1, width), "positions": (n_tokens, width),
            "gain_1": (*layers, 1, width), "shift_1": (*layers, 1, width),
            "W_qkv": (*layers, width, 3 * width), "b_qkv": (*layers, 1, 3 * width),
            "W_o": (*layers, width, width), "b_o": (*layers, 1, width),
            "gain_2": (*layers, 1, width), "shift_2": (*layers, 1, width),
            "W_up": (*layers, width, wide), "b_up": (*layers, 1, wide),
            "W_down": (*layers, wide, width), "b_down": (*layers, 1, width),
            "gain": (1, width), "shift": (1, width), "read_out": (width, 1), "read_out_bias": (1, 1),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(n_seeds, *shape, device=device, dtype=dtype)))

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        check_seeds(draw, self.n_seeds)
        for name, parameter in self.named_parameters():
            fan_in = self.fan_in.get(BIAS_OF.get(name, name))
            if fan_in is not None:
                parameter.copy_((2 * draw.uniform(*parameter.shape[1:]) - 1) / fan_in**0.5)
            elif name == "positions":
                parameter.copy_(POSITION_STD * draw.normal(*parameter.shape[1:]))
            else:
                parameter.fill_(1.0 if name.startswith("gain") else 0.0)

    def chunk_size(self, n_prompts: int, n_positions: int, device: torch.device) -> int:
        """Members whose arrays fit the caches together; all chunks have one size, or nearly."""
        limit = CHUNK_FLOATS["cpu" if device.type == "cpu" else "cuda"]
        most = max(1, limit // (n_prompts * self.tokens_a_pair * n_positions * 4 * self.positions.shape[2]))
        return -(-self.n_seeds // -(-self.n_seeds // most))

    def chunks(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]
    ) -> Iterator[tuple[Decoders, Float[Tensor, "#m B P D"], Float[Tensor, "#m B P"]]]:
        """A few members at a time with their prompts, so that a bank is never slower than its members one by one.

        Raises:
            ValueError: more positions than there are position vectors, or another dimension of x.
        """
        n_prompts, n_positions, dim = x.shape[1:]
        n_tokens = self.positions.shape[1]
        if self.tokens_a_pair * (n_positions - 1) + 1 > n_tokens or dim != self.read_in.shape[1]:
            raise ValueError(
                f"a prompt of {n_positions} positions of dimension {dim} does not fit: the model was built for at "
                f"most {(n_tokens - 1) // self.tokens_a_pair + 1} positions (n_context + 1) of dimension "
                f"{self.read_in.shape[1]}"
            )
        size = self.chunk_size(n_prompts, n_positions, x.device)
        pieces = {name: p.split(size) for name, p in self.named_parameters()}
        xs, ys = (t.split(size) if t.shape[0] > 1 else repeat(t) for t in (x, y))
        for i, (x_part, y_part) in enumerate(zip(xs, ys)):
            if i == len(pieces["positions"]):
                return
            part = {name: piece[i] for name, piece in pieces.items()}
            rows = {name: p.unbind(1) for name, p in part.items() if name in LAYERED}
            layers = tuple(Layer.of(dict(zip(rows, row))) for row in zip(*rows.values()))
            yield Decoders(self.n_heads, self.kernel, layers, part), x_part, y_part
