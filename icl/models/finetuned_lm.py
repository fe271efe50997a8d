"""A pretrained language model that is trained on: translations written as text, many packed into one sequence.

References:
    Zhu, Panigrahi, Arora 2025, On the power of context-enhanced learning in LLMs, arXiv:2503.01821
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from icl.core import Sample
from icl.models.arguments import at_least_one
from icl.models.causal_lm_files import drawn, load
from icl.models.causal_lm_tiny import tiny_config, tiny_tokenizer
from icl.models.finetuned_lm_text import Writer
from icl.models.first_values import check_seeds
from icl.rng import Draw

TINY = "tiny"
FIRST = "members.0."


class FinetunedLm(nn.Module):
    """transformers' causal language model, all of it trained, or its last `trained_layers` alone.

    `pretrained` is what `CausalLm.name` may be: `package:NAME`, a folder, a .gguf file, a name of the hub, or `tiny`
    (random, no file). A batch is packed: its texts stand one after the other in one sequence, positions begin anew with
    each, and no text attends to another, so there is no padding at all. Only the answers' logits are computed.
    `checkpointing` keeps no activations inside layers. A member is a copy of its own; the state has a leading axis M.
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self,
        *,
        pretrained: str,
        trained_layers: int | None = None,
        checkpointing: bool = False,
        max_length: int | None = None,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(trained_layers=trained_layers, max_length=max_length, n_seeds=n_seeds)
        self.pretrained, self.trained_layers, self.n_seeds = pretrained, trained_layers, n_seeds
        self.checkpointing, self.where, self.dtype = checkpointing, str(device), dtype
        self.members = nn.ModuleList(self._loaded(seed)[0] for seed in range(n_seeds))
        self.tokenizer = self._tokenizer
        longest = getattr(self.members[0].config, "max_position_embeddings", None)
        self.writer = Writer(self.tokenizer, longest if max_length is None else max_length)
        self.register_state_dict_post_hook(stack_members)
        self.register_load_state_dict_pre_hook(unstack_members)

    def _loaded(self, seed: int) -> tuple[Any, Any]:
        if self.pretrained == TINY:
            lm, self._tokenizer = drawn(tiny_config(), seed=seed, dtype=self.dtype, device=self.where), tiny_tokenizer()
        else:
            lm, self._tokenizer = load(self.pretrained, dtype=self.dtype, device=self.where, placement=None)
        n_layers = len(lm.model.layers)
        if self.trained_layers is not None and self.trained_layers > n_layers:
            raise ValueError(f"trained_layers={self.trained_layers} must be in 1..{n_layers}, the layers, or null")
        lm.requires_grad_(self.trained_layers is None)
        for layer in lm.model.layers[n_layers - (self.trained_layers or 0) :]:
            layer.requires_grad_(True)
        if self.checkpointing:
            lm.activation_checkpointing_enable({"use_reentrant": False})
        return lm.train(), self._tokenizer  # no dropout in these models; checkpointing asks for training mode

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """The pretrained weights again (of `tiny`: those of the member's seed)."""
        check_seeds(draw, self.n_seeds)
        for member, seed in zip(self.members, draw.seeds, strict=True):
            member.load_state_dict(self._loaded(seed)[0].state_dict())

    def forward(self, sample: Sample) -> Float[Tensor, "M B K"]:
        """Log-probabilities of the answer's letters, each after the true ones before it."""
        return self.answers(sample)[0]

    def answers(self, sample: Sample) -> tuple[Float[Tensor, "M B K"], Bool[Tensor, "M B K"]]:
        """The same, and whether each letter was the most likely token."""
        pairs = [self._of_member(m, lm, sample) for m, lm in enumerate(self.members)]
        return torch.stack([p for p, _ in pairs]), torch.stack([right for _, right in pairs])

    def _of_member(self, m: int, lm: Any, sample: Sample) -> tuple[Tensor, Tensor]:
        written = self.writer.pack(sample, m)
        ids, position, before, answer = (t.to(lm.device) for t in written)
        # no mask: transformers takes positions that begin anew for packed texts, which see nothing of each other
        hidden = lm.model(input_ids=ids[None], position_ids=position[None], use_cache=False).last_hidden_state[0]
        logits = lm.lm_head(hidden[before.flatten()]).view(*before.shape, -1)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits.log_softmax(-1).gather(-1, answer[..., None])[..., 0], logits.argmax(-1) == answer


def stack_members(module: Any, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    """`members.0.x` becomes that of all members, (M, ..), and the others go.

    Of one member it stays the same memory, unless another name has that already: files take no tied weights.
    """
    seen = set()
    for key in [key for key in state if key.startswith(prefix + FIRST)]:
        name = key.removeprefix(prefix + FIRST)
        all_of_it = [state[key], *(state.pop(f"{prefix}members.{i}.{name}") for i in range(1, module.n_seeds))]
        tied = state[key].data_ptr() in seen
        seen.add(state[key].data_ptr())
        state[key] = torch.stack(all_of_it) if tied or len(all_of_it) > 1 else state[key][None]


def unstack_members(module: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """The inverse."""
    for key in [key for key in state if key.startswith(prefix + FIRST)]:
        name, value = key.removeprefix(prefix + FIRST), state[key]
        for i in range(module.n_seeds):
            state[f"{prefix}members.{i}.{name}"] = value[i]
