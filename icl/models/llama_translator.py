"""A small LLaMA that translates: one position a rule, one position a pair of the source, one layer or two a level.

References:
    Zhu, Panigrahi, Arora 2025, On the power of context-enhanced learning in LLMs, arXiv:2503.01821 (the task)
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from icl.models.arguments import at_least_one
from icl.models.first_values import check_seeds
from icl.models.llama_translator_start import LAYER_NAMES, first_values
from icl.rng import Draw
from icl.tasks.phrasebooks import Rules

TINY = 1e-10


class LlamaTranslator(nn.Module):
    """`LlamaForCausalLM` on embeddings of its own; a step of the trajectory is a level, as in the surrogate.

        rule of level l       f(k₁) + g(k₂) + g'(v₁) + f'(v₂) + kind_l       at position 0, as the rules are a set
        source, p = 0..P+d−2  f(second letter of p) + g(first letter of p+1) + kind_d     at position 1 + p, circular

    f, g are tables of the letters of all d + 1 languages; f', g' are those of the next language, crosswise, because the
    shift pairs the second letter of a value with the first of its neighbour's. A rule left out is its kind alone. The
    guess of level l at p is read at source position p + l − 1, from logits of its own; later positions see earlier
    ones only, and the d − 1 pairs repeated at the end close the circle. So no thought tokens are needed: depth works.

    `matching` and `previous` are what the weights start from, see `first_values`; 0 starts them as plain LLaMA weights.
    Every parameter has a leading axis M; members are run one after the other, each the plain transformers model.
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self,
        *,
        n_letters: int,
        n_levels: int,
        width: int = 64,
        n_layers: int | None = None,
        n_heads: int = 4,
        init_std: float = 0.12,
        matching: float = 1.5,
        previous: float = 9.0,
        n_positions: int = 1024,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        layers = 2 * n_levels - 1 if n_layers is None else n_layers
        at_least_one(n_letters=n_letters, n_levels=n_levels, width=width, n_layers=layers, n_heads=n_heads,
                     n_positions=n_positions, n_seeds=n_seeds)  # fmt: skip
        if width % (2 * n_heads):
            raise ValueError(f"width={width} must be a multiple of 2 n_heads = {2 * n_heads} (rotary pairs)")
        self.n_letters, self.n_levels, self.n_seeds, self.n_positions = n_letters, n_levels, n_seeds, n_positions
        self.init_std, self.matching, self.previous = init_std, matching, previous
        n_rows = (n_levels + 1) * n_letters
        self.first, self.second = (nn.Parameter(torch.zeros(n_seeds, n_rows, width)) for _ in range(2))
        self.kind = nn.Parameter(torch.zeros(n_seeds, n_levels + 1, width))
        self.lm = stacked(llama(n_levels * n_letters**2, width, layers, n_heads, n_positions), n_seeds)
        if previous:
            for layer in self.lm.model.layers[1::2]:
                freeze(layer.self_attn)
        self.to(device=device, dtype=dtype)

    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone."""
        check_seeds(draw, self.n_seeds)
        first_values(self, draw)

    def forward(self, prompt: Rules, *, steps: int | None = None) -> Float[Tensor, "T M B P V"]:
        """Log-probabilities of the pairs after 0..steps levels; entry 0 is the source."""
        steps = self.n_levels if steps is None else steps
        if not 0 <= steps <= self.n_levels:
            raise ValueError(f"steps={steps} must be in 0..{self.n_levels}, the levels")
        source = nn.functional.one_hot(prompt.source, self.n_letters**2).to(self.kind)
        start = (source + TINY).log().expand(self.n_seeds, *source.shape[1:])
        logits = self.logits(prompt)
        return torch.stack([start, *(self._level(logits, prompt, level) for level in range(1, steps + 1))])

    def last(self, prompt: Rules) -> Float[Tensor, "M B P V"]:
        """The guess of the last level."""
        return self._level(self.logits(prompt), prompt, self.n_levels)

    def logits(self, prompt: Rules, **options: Any) -> Float[Tensor, "M B S V"]:
        """What the LLaMA says at all source positions, d n² numbers each."""
        return torch.stack([self.member(m, prompt, **options).logits for m in range(self.n_seeds)])

    def hidden_states(self, prompt: Rules) -> Float[Tensor, "M L B S E"]:
        """After every layer, at the source positions; the last one through the final norm."""
        n_rules = prompt.keys.shape[2]
        found = [self.member(m, prompt, output_hidden_states=True).hidden_states[1:] for m in range(self.n_seeds)]
        return torch.stack([torch.stack(states)[:, :, n_rules:] for states in found])

    def asked_for_rules(self, *, as_source: bool = False) -> Float[Tensor, "M d n2 V"]:
        """What it says at the key of every rule, shown alone: as a rule without a value, or as a pair of the source."""
        n, n2 = self.n_letters, self.n_letters**2
        code, level = torch.arange(n2).to(self.kind.device), torch.arange(self.n_levels).to(self.kind.device)[:, None]
        keys = self.first[:, code // n + level * n] + self.second[:, code % n + level * n]
        x = (keys + (self.kind[:, -1:, None] if as_source else self.kind[:, :-1, None])).flatten(1, 2)
        at = torch.full((1, 1), int(as_source), device=x.device)
        logits = [self._run(m, x[m][:, None], at).logits[:, 0] for m in range(self.n_seeds)]
        return torch.stack(logits).unflatten(1, (self.n_levels, n2))

    def member(self, m: int, prompt: Rules, **options: Any) -> Any:
        """The output of transformers' model for member m.

        Raises:
            ValueError: the prompt is longer than `n_positions`.
        """
        x = self.embed(m, prompt)
        n_rules, n_tokens = prompt.keys.shape[2], x.shape[1]
        if n_tokens > self.n_positions:
            over = n_tokens - self.n_positions
            raise ValueError(f"a prompt of {n_tokens} positions is {over} longer than n_positions={self.n_positions}")
        position = torch.arange(1 - n_rules, n_tokens - n_rules + 1, device=x.device).clamp(min=0)
        return self._run(m, x, position[None], logits_to_keep=n_tokens - n_rules, **options)

    def _run(self, m: int, x: Tensor, position: Tensor, **options: Any) -> Any:
        state = {name: value[m] for name, value in self.lm.named_parameters()}
        state |= {name: value[m] for name, value in self.lm.named_buffers() if name.endswith(LAYER_NAMES)}
        # Without a mask transformers takes repeated positions for packed sequences, which see nothing of each other.
        mask = torch.ones(x.shape[:2], dtype=torch.long, device=x.device)
        inputs = {"inputs_embeds": x, "attention_mask": mask, "position_ids": position.expand(x.shape[0], -1)}
        return functional_call(self.lm, state, (), inputs | {"use_cache": False} | options)

    def embed(self, m: int, prompt: Rules) -> Float[Tensor, "B S E"]:
        """Rules, then the source and its first d − 1 pairs again."""
        n, n2 = self.n_letters, self.n_letters**2
        keys, values, shown, source = (
            t[m if t.shape[0] > 1 else 0] for t in (prompt.keys, prompt.values, prompt.shown, prompt.source)
        )
        level, key = keys // n2, keys % n2
        f, g, here, there = self.first[m], self.second[m], level * n, (level + 1) * n
        rule = f[key // n + here] + g[key % n + here] + g[values // n + there] + f[values % n + there]
        rules = rule * shown[..., None] + self.kind[m][level]
        at = torch.arange(source.shape[1] + self.n_levels - 1, device=source.device) % source.shape[1]
        string = f[source[:, at] % n] + g[source.roll(-1, 1)[:, at] // n] + self.kind[m][-1]
        return torch.cat([rules, string], 1)

    def _level(self, logits: Tensor, prompt: Rules, level: int) -> Float[Tensor, "M B P V"]:
        n2, length = self.n_letters**2, prompt.source.shape[2]
        return logits[:, :, level - 1 : level - 1 + length, (level - 1) * n2 : level * n2].log_softmax(-1)


def llama(n_words: int, width: int, n_layers: int, n_heads: int, n_positions: int) -> Any:
    """A LLaMA without a vocabulary to read."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=n_words, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=n_layers,
            num_attention_heads=n_heads, num_key_value_heads=n_heads, attention_bias=True, tie_word_embeddings=False,
            max_position_embeddings=n_positions, pad_token_id=None, bos_token_id=None, eos_token_id=None,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        )
    )  # fmt: skip


def stacked(module: Any, n_seeds: int) -> Any:
    """The module with room for M members in every parameter; its word embeddings, which are never asked, go."""
    module.model.embed_tokens = None
    for owner in module.modules():
        for name, value in list(owner.named_parameters(recurse=False)):
            setattr(owner, name, nn.Parameter(torch.zeros(n_seeds, *value.shape)))
    return module


def freeze(attention: Any) -> None:
    """Queries and keys that stay as they are: no parameters, but a part of the state all the same."""
    for projection in (attention.q_proj, attention.k_proj):
        for name in ("weight", "bias"):
            value = getattr(projection, name).data
            delattr(projection, name)
            projection.register_buffer(name, value)
