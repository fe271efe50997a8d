"""Random sequences with random labels: nothing to generalise to, only a training set to fit.

References:
    Song, Han, Zhang, Ding, Hong 2024, Unraveling the gradient descent dynamics of transformers, arXiv:2411.07538
"""

import math
from dataclasses import dataclass

import torch

from icl.core import Prompt, Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class RandomSequences:
    """n_context + 1 tokens x ~ N(0, I/D), of length about 1, and a label y ~ N(0, label_std²).

    The label knows nothing of the tokens. The last token is the prompt's query, the others its context, whose labels
    are zero. Train with train.n_batches=1: fresh prompts cannot be learned.
    """

    dim: int
    n_context: int
    label_std: float = 0.5

    def __post_init__(self) -> None:
        for name, low in (("dim", 1), ("n_context", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} must be >= {low}")
        if not (self.label_std > 0 and math.isfinite(self.label_std)):
            raise ValueError(f"label_std={self.label_std} must be a finite number > 0")

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        x = draw.normal(batch_size, self.n_context + 1, self.dim) / math.sqrt(self.dim)
        target = self.label_std * draw.normal(batch_size)
        context = x[:, :, :-1]
        return Sample(Prompt(context, torch.zeros_like(context[..., 0]), x[:, :, -1]), target, None)
