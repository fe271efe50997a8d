"""A GPT-style transformer that learns in context: pre-LN, GELU, learned positions, guesses at every x.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.models.attention_kernels import Kernel
from icl.models.decoder_predictor import DecoderPredictor, LayeredPredictor, Stream
from icl.models.gpt_layers import Decoders, normed


class Transformer(LayeredPredictor, DecoderPredictor):
    """Tokens x_1, (y_1, 0, ..), x_2, .. of width E go through L causal layers; a step is a layer.

    The read-out of a layer goes through the final LayerNorm. `passes` goes through the whole stack again. `attention`
    is softmax, linear or gaussian (`attention_kernels`).
    """

    n_passes: ClassVar[int] = 1

    def __init__(
        self,
        *,
        dim: int,
        n_context: int,
        n_layers: int = 3,
        width: int = 64,
        n_heads: int = 2,
        attention: Kernel = "softmax",
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(dim=dim, n_context=n_context, n_layers=n_layers, width=width, n_heads=n_heads,
                         n_seeds=n_seeds, device=device, dtype=dtype, kernel=attention)  # fmt: skip

    def streams(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], steps: int) -> Iterator[Stream]:
        for decoders, x_part, y_part in self.gpt.chunks(x, y):
            yield decoders.stream(x_part, y_part, steps), decoders.read

    def last_every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "M B P"]:
        """`every_prefix(x, y)[-1]`, without the read-outs of the other layers."""
        return self.passes(x, y, 1)[-1]

    def hidden(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "L1 M B S E"]:
        """The residual stream after 0..L layers, x at the even tokens and y at the odd ones."""
        return torch.cat([torch.stack(stream) for stream, _ in self.streams(x, y, self.n_layers)], dim=1)

    def attention_weights(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]
    ) -> Float[Tensor, "L M B H S S"]:
        """What every token takes from every other, a layer and head."""
        return torch.cat([_weights(*part) for part in self.gpt.chunks(x, y)], dim=1)

    def passes(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], n: int) -> Float[Tensor, "K M B P"]:
        """The guesses after the whole stack was applied 1..n times, which nothing trained it for."""
        if n < 1:
            raise ValueError(f"n={n} must be >= 1")
        return torch.cat([_after_stacks(*part, n) for part in self.gpt.chunks(x, y)], dim=1)


def _weights(decoders: Decoders, x: Tensor, y: Tensor) -> Float[Tensor, "L m B H S S"]:
    stream = decoders.stream(x, y, len(decoders.layers) - 1)
    return torch.stack(
        [layer.weights(h, decoders.n_heads, decoders.kernel) for layer, h in zip(decoders.layers, stream)]
    )


def _after_stacks(decoders: Decoders, x: Tensor, y: Tensor, n: int) -> Float[Tensor, "K m B P"]:
    h, guesses = decoders.embed(x, y), []
    for _ in range(n - 1):
        h = decoders.stack(h)
        guesses.append(decoders.guess(normed(h[:, :, ::2])))
    return torch.stack([*guesses, decoders.guess(normed(decoders.stack(h, only_x=True)))])
