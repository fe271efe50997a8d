"""What predictors share that guess at every position of a prompt, and those of them that are built around one `GPT`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import Prompt
from icl.models.arguments import depth
from icl.models.attention_kernels import Kernel
from icl.models.gpt import GPT, check_sizes
from icl.rng import Draw

Stream = tuple[list[Tensor], Callable[[Tensor], Tensor]]


class PositionPredictor(nn.Module, ABC):
    """Guesses at every position, of which the query is the last; a subclass says how."""

    order_matters: ClassVar[bool] = True  # of the context: tokens have positions, and see only those before them

    @abstractmethod
    def every_prefix(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], *, steps: int | None = None
    ) -> Float[Tensor, "T M B P"]:
        """The guess at every position after 0..steps steps, in one pass."""

    @abstractmethod
    def last_every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "M B P"]:
        """`every_prefix(x, y)[-1]`."""

    def forward(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T M B"]:
        """The guess at the query after every step."""
        return self.every_prefix(*prompt.positions(), steps=steps)[..., -1]

    def last(self, prompt: Prompt) -> Float[Tensor, "M B"]:
        """The guess at the query after the last step."""
        return self.last_every_prefix(*prompt.positions())[..., -1]


class LayeredPredictor(PositionPredictor):
    """A step is a layer: entry l is what the trained read-out says to the tokens after layer l, entry 0 is 0.

    For l < L nothing trained it to say anything. An untied stack has no step beyond its last.
    """

    n_layers: int
    tokens_a_pair: int = 2  # x stands at the first of them

    @abstractmethod
    def streams(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], steps: int) -> Iterator[Stream]:
        """A few members at a time, in order: the tokens "m B S E" after 0..steps layers, and the read-out of some."""

    def every_prefix(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], *, steps: int | None = None
    ) -> Float[Tensor, "T M B P"]:
        """The guess at every position after 0..steps layers, in one pass.

        Raises:
            ValueError: `steps` < 0, or more than the layers.
        """
        parts = []
        for stream, guess in self.streams(x, y, depth(steps, self.n_layers)):
            first, *others = (h[:, :, :: self.tokens_a_pair] for h in stream)
            parts.append(torch.stack([first.new_zeros(first.shape[:3]), *map(guess, others)]))
        return torch.cat(parts, dim=1)


class DecoderPredictor(PositionPredictor):
    """Tokens x_1, (y_1, 0, ..), x_2, .. of width E for a decoder of L layers; a subclass says how they are applied."""

    def __init__(
        self, *, dim: int, n_context: int, n_layers: int, width: int, n_heads: int, n_seeds: int,
        device: torch.device | str, dtype: torch.dtype, kernel: Kernel = "softmax", tokens_a_pair: int = 2,
    ) -> None:  # fmt: skip
        super().__init__()
        check_sizes(dim=dim, n_context=n_context, n_layers=n_layers, width=width, n_heads=n_heads, n_seeds=n_seeds)
        self.n_layers, self.tokens_a_pair = n_layers, tokens_a_pair
        self.gpt = GPT(dim=dim, n_tokens=tokens_a_pair * n_context + 1, n_layers=n_layers, width=width,
                       n_heads=n_heads, n_seeds=n_seeds, device=device, dtype=dtype, kernel=kernel,
                       tokens_a_pair=tokens_a_pair)  # fmt: skip

    def reset(self, draw: Draw) -> None:
        """First values; `GPT.reset`."""
        self.gpt.reset(draw)

    def members_at_once(self, prompt: Prompt) -> int:
        """How many members should go forward and backward together."""
        return self.gpt.chunk_size(prompt.x.shape[1], prompt.x.shape[2] + 1, prompt.x.device)
