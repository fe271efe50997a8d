"""A pretrained LLaMA-class language model as a predictor: its steps are demonstrations in its context.

References:
    Dai et al. 2022, Why can GPT learn in-context?, arXiv:2212.10559
    Deutch et al. 2023, In-context learning and gradient descent revisited, arXiv:2311.07772
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl.core import TokenPrompt, TokenSample
from icl.models import causal_lm_files as files
from icl.models.causal_lm_attention import Prefix, Reader, install
from icl.models.causal_lm_reading import Reading, encode_context, read
from icl.models.causal_lm_tiny import tiny_config, tiny_tokenizer
from icl.models.causal_lm_tokens import MEAN_LOG_PROBABILITY, SINGLE_TOKEN, context, encode
from icl.tasks.text import TextSample

TINY, TINY_SEED = "tiny", 1000  # far from the seeds of untrained baselines
STARTS = ("trained", "random", "trained_embeddings")


class CausalLm(nn.Module):
    """The model called `name`, loaded when it is first asked for anything.

        trajectory[k] = scores of the label words after the first k demonstrations,      entry 0 = zero-shot

    `name` is `package:NAME` (a .gguf file inside an installed package), a folder, a .gguf file, a name of the hub, or
    `tiny` (random, no file). `shape` is a configuration of transformers, for planning without a file. Scores are logits
    of single-token label words, or the mean log-probability of their tokens; only differences between labels mean
    anything. One set of weights: members (seeds) differ in data and, untrained, in their first values.
    """

    reads: ClassVar[str] = "words"

    def __init__(
        self, *, name: str, shape: Mapping[str, Any] | None = None, placement: str | None = None,
        scoring: Literal["single_token", "mean_log_probability"] = SINGLE_TOKEN, n_seeds: int = 1,
        device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        if not name:
            raise ValueError("name='' must be a folder, a .gguf file, package:NAME, or a name of the hub")
        self.name, self.scoring, self.placement = name, scoring, placement
        self.shape = None if shape is None else dict(shape)
        self.where, self.dtype, self.n_seeds = str(device), dtype, n_seeds
        self.spread: Callable[[Any], Any] | None = None  # how weights, drawn or loaded on the CPU, go over ranks
        self._started: tuple[Any, Any, Reader] | None = None

    # ---- weights
    @cached_property
    def _files(self) -> tuple[Any, Any, Reader]:
        if self.name == TINY:
            lm = files.drawn(tiny_config(), seed=TINY_SEED, dtype=self.dtype, device=self._first)
            tokenizer = tiny_tokenizer()
        else:
            lm, tokenizer = files.load(self.name, dtype=self.dtype, device=self._first, placement=self.placement)
        return self._spread(lm), tokenizer, install(lm)

    @property
    def _first(self) -> str:
        return self.where if self.spread is None else "cpu"

    def _spread(self, lm: Any) -> Any:
        return lm if self.spread is None else self.spread(lm)

    @property
    def tokenizer(self) -> Any:
        return self._files[1]

    def weights(self, start: str = "trained", seed: int = 0) -> tuple[Any, Reader]:
        """The transformers model and its reader: the checkpoint, or one of the two untrained baselines of `seed`.

        `random` draws everything; `trained_embeddings` keeps embeddings, norms and the output projection. One baseline
        is held at a time.
        """
        trained, _, reader = self._files
        if start == "trained":
            return trained, reader
        if start not in STARTS:
            raise ValueError(f"start={start!r} is unknown (known: {', '.join(STARTS)})")
        if self._started is None or self._started[0] != (start, seed):
            self._started = None
            lm = files.drawn(trained.config, seed=seed, dtype=self.dtype, device=self._first)
            if start == "trained_embeddings":
                lm = files.with_trained_embeddings(lm, trained)
            self._started = ((start, seed), self._spread(lm), install(lm))
        return self._started[1], self._started[2]

    # ---- reading
    def encode(self, sample: TextSample, queries: str = "queries") -> TokenSample:
        """A text sample in this model's tokens; ValueError where a label or the context's length does not fit."""
        lm, _ = self.weights()
        longest = getattr(lm.config, "max_position_embeddings", None)
        return encode(
            sample, self.tokenizer, scoring=self.scoring, max_length=longest, device=lm.device, queries=queries
        )

    def encode_context(self, prompt: TokenPrompt, start: str = "trained", seed: int = 0) -> tuple[Prefix, list[int]]:
        """Keys and values of all demonstrations, and the length of the context after 0..K of them."""
        tokens, ends = context(prompt)
        lm, reader = self.weights(start, seed)
        return encode_context(lm, reader, tokens), ends

    def read(
        self, prompt: TokenPrompt, *, n_demos: int | None = None, start: str = "trained", seed: int = 0,
        capture: bool = False,
    ) -> Reading:  # fmt: skip
        """All queries after the first `n_demos` demonstrations (None: all)."""
        chosen = prompt.n_demos if n_demos is None else n_demos
        some = prompt.reordered(torch.arange(chosen, device=prompt.demos.device))
        prefix, _ = self.encode_context(some, start, seed)
        lm, reader = self.weights(start, seed)
        return read(lm, reader, some, prefix, scoring=self.scoring, capture=capture)

    def forward(self, prompt: TokenPrompt, *, steps: int | None = None) -> Float[Tensor, "T 1 B V"]:
        """One entry a number of demonstrations; the context is encoded once."""
        steps = prompt.n_demos if steps is None else steps
        if not 0 <= steps <= prompt.n_demos:
            raise ValueError(f"steps={steps} must be in 0..{prompt.n_demos}, the demonstrations of the prompt")
        prefix, ends = self.encode_context(prompt)
        lm, reader = self.weights()
        logits = [
            read(lm, reader, prompt, prefix.crop(end), scoring=self.scoring).label_logits for end in ends[: steps + 1]
        ]
        return torch.stack(logits)[:, None]

    def last(self, prompt: TokenPrompt) -> Float[Tensor, "1 B V"]:
        return self.read(prompt).label_logits[None]


__all__ = ["MEAN_LOG_PROBABILITY", "SINGLE_TOKEN", "STARTS", "CausalLm"]
