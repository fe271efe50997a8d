"""Backbones of Hugging Face between a linear read-in and read-out: the decoders that others use, on the same prompts.

References:
    Garg et al. 2022, What can transformers learn in-context?, arXiv:2208.01066 (GPT-2, inputs as embeddings)
    Wolf et al. 2020, Transformers: state-of-the-art natural language processing, arXiv:1910.03771
"""

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from icl.core import Prompt
from icl.models.decoder_predictor import LayeredPredictor, Stream
from icl.models.first_values import check_seeds
from icl.models.gpt import POSITION_STD, check_sizes
from icl.rng import Draw


class HfBackbone(LayeredPredictor):
    """Tokens x_1, (y_1, 0, ..), x_2, .. through a linear read-in, a causal backbone, and a read-out at every x.

    A step is a layer, read out through the final norm, as in `Transformer`. The parameters carry the leading axis M
    like those of every model here; the members run one after the other, for the modules of Hugging Face know no bank.
    Their own token embedding is not used, and is no parameter.

    First values are those of `torch.nn.Linear`, norms the identity, learned positions N(0, 0.02²); with `init_std`
    weights are normal with that deviation and biases 0 (0.02 in GPT-2, which leaves narrow models on a plateau).
    """

    n_passes: ClassVar[int] = 1
    FINAL_NORM: ClassVar[str]
    UNUSED: ClassVar[str]

    def __init__(
        self,
        *,
        dim: int,
        n_context: int,
        n_layers: int = 3,
        width: int = 64,
        n_heads: int = 2,
        init_std: float | None = None,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, n_context=n_context, n_layers=n_layers, width=width, n_heads=n_heads, n_seeds=n_seeds)
        if init_std is not None and not init_std > 0:
            raise ValueError(f"init_std={init_std} must be > 0, or null for that of torch.nn.Linear")
        self.dim, self.n_tokens, self.n_layers, self.n_seeds = dim, 2 * n_context + 1, n_layers, n_seeds
        self.init_std = init_std
        backbone = self.backbone(self.n_tokens, n_layers, width, n_heads).to(device=device, dtype=dtype).eval()
        self._backbone = (backbone.requires_grad_(False),)  # in a tuple: a skeleton whose own weights are no parameters
        own = {name: p.shape for name, p in backbone.named_parameters() if name != self.UNUSED}
        ends = {
            "read_in.weight": (width, dim),
            "read_in.bias": (width,),
            "read_out.weight": (1, width),
            "read_out.bias": (1,),
        }
        self.fan_in = {name: self.inputs_of(name, shape, width) for name, shape in (own | ends).items()}
        self.weights = nn.ParameterDict(
            {_key(name): nn.Parameter(torch.zeros(n_seeds, *shape, device=device, dtype=dtype))
             for name, shape in (own | ends).items()}
        )  # fmt: skip

    @abstractmethod
    def backbone(self, n_tokens: int, n_layers: int, width: int, n_heads: int) -> Any:
        """The module, called with `inputs_embeds`."""

    @abstractmethod
    def inputs_of(self, name: str, shape: tuple[int, ...], width: int) -> int | None:
        """Fan-in of the linear map that a parameter belongs to; None for norms and positions."""

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone.

        Raises:
            ValueError: `draw` has not one seed a member.
        """
        check_seeds(draw, self.n_seeds)
        for name, fan_in in self.fan_in.items():
            parameter = self.weights[_key(name)]
            if fan_in is None:
                learned = "wpe" in name
                parameter.copy_(
                    POSITION_STD * draw.normal(*parameter.shape[1:]) if learned else _identity(parameter, name)
                )
            elif self.init_std is None:
                parameter.copy_((2 * draw.uniform(*parameter.shape[1:]) - 1) / fan_in**0.5)
            else:
                normal = self.init_std * draw.normal(*parameter.shape[1:])
                parameter.copy_(torch.zeros_like(normal) if name.endswith("bias") else normal)

    def members_at_once(self, prompt: Prompt) -> int:
        """One: they run one after the other anyway, and each then frees its activations before the next."""
        return 1

    def streams(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], steps: int) -> Iterator[Stream]:
        """Behind the final norm, which the last hidden state of Hugging Face has seen already."""
        for w, tokens in self._members(x, y):
            stream = [h[None] for h in self._normed_layers(w, tokens)]
            yield stream[: steps + 1], partial(_read_out, w)

    def last_every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "M B P"]:
        """`every_prefix(x, y)[-1]`, without the read-outs of the other layers."""
        found = [_read_out(w, self._run(w, tokens).last_hidden_state[:, ::2]) for w, tokens in self._members(x, y)]
        return torch.stack(found)

    def _members(self, x: Tensor, y: Tensor) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """(weights by the backbone's own names, embedded tokens "B S E"), a member at a time."""
        if 2 * x.shape[2] - 1 > self.n_tokens or x.shape[3] != self.dim:
            raise ValueError(
                f"a prompt of {x.shape[2]} positions of dimension {x.shape[3]} does not fit: the model was built for "
                f"at most {(self.n_tokens + 1) // 2} positions (n_context + 1) of dimension {self.dim}"
            )
        labels = F.pad(y[..., None], (0, self.dim - 1))
        tokens = torch.stack((x, labels), 3).flatten(2, 3)[:, :, :-1]  # the last y is no one's past
        for member in range(self.n_seeds):
            w = {name: self.weights[_key(name)][member] for name in self.fan_in}
            mine = tokens[member if len(tokens) > 1 else 0]
            yield w, F.linear(mine, w["read_in.weight"], w["read_in.bias"])

    def _run(self, w: dict[str, Tensor], tokens: Tensor, **options: bool) -> Any:
        own = {name: value for name, value in w.items() if not name.startswith("read_")}
        return functional_call(self._backbone[0], own, (), {"inputs_embeds": tokens, "use_cache": False, **options})

    def _normed_layers(self, w: dict[str, Tensor], tokens: Tensor) -> list[Float[Tensor, "B S E"]]:
        """The tokens, and the final norm of those after every layer."""
        run = self._run(w, tokens, output_hidden_states=True)
        norm = self._backbone[0].get_submodule(self.FINAL_NORM)
        own = {name: w[f"{self.FINAL_NORM}.{name}"] for name, _ in norm.named_parameters()}
        return [tokens, *(functional_call(norm, own, (h,)) for h in run.hidden_states[1:-1]), run.last_hidden_state]


def _read_out(w: dict[str, Tensor], h: Float[Tensor, "*B P E"]) -> Float[Tensor, "*B P"]:
    return F.linear(h, w["read_out.weight"], w["read_out.bias"])[..., 0]


def _identity(parameter: Tensor, name: str) -> Tensor:
    return torch.zeros_like(parameter) if name.endswith("bias") else torch.ones_like(parameter)


def _key(name: str) -> str:
    """A ParameterDict takes no dots."""
    return name.replace(".", "-")
