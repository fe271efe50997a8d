"""Every layer of a model as a predictor of its own, through a linear read-out that is fitted to it.

References:
    Fu, Chen, Jia, Sharan 2023, Transformers learn to achieve second-order convergence rates, arXiv:2310.17086
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.slots import drawn
from icl.core import Prompt, every_prefix
from icl.rng import Draw

AT_ONCE = 500  # prompts whose hidden states are held
RIDGE = 1e-6  # of the features' mean square: they are correlated, and some layers do nothing yet


@dataclass(frozen=True)
class Layers:
    """The L layers of a bank of M models as a bank of L·M predictors, layer by layer.

    With `readouts` a guess is linear in the tokens of x after that layer; without (the model has no hidden states to
    read) it is what the model itself says after that step.
    """

    model: Any
    n_layers: int
    readouts: Float[Tensor, "L M E1"] | None

    def last_every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "LM B P"]:
        """The guess of every layer at every position."""
        parts = []
        for start in range(0, x.shape[1], AT_ONCE):
            piece = x[:, start : start + AT_ONCE], y[:, start : start + AT_ONCE]
            if self.readouts is None:
                parts.append(every_prefix(self.model, *piece)[1:].flatten(0, 1))
            else:
                h = features(self.model.hidden(*piece))
                parts.append(torch.einsum("lmbpe,lme->lmbp", h, self.readouts).flatten(0, 1))
        return torch.cat(parts, 1)

    def last(self, prompt: Prompt) -> Float[Tensor, "LM B"]:
        """The guess of every layer at the query."""
        if self.readouts is None:
            return self.model(prompt)[1:].flatten(0, 1)
        return self.last_every_prefix(*prompt.positions())[..., -1]


def layers_of(model: Any, task: Any, every: bool, n_prompts: int, draw: Draw) -> Layers:
    """The layers with read-outs fitted on `n_prompts` prompts of the task, which nobody judges by."""
    (some, *_) = drawn(task, 1, every, draw)
    if not hasattr(model, "hidden"):
        with torch.no_grad():
            return Layers(model, len(model(some.prompt)) - 1, None)
    gram = moment = torch.zeros(())
    with torch.no_grad():
        for slots in drawn(task, n_prompts, every, draw, model):
            for start in range(0, len(slots.target), AT_ONCE):
                piece = slots.cut(start, start + AT_ONCE)
                h = features(model.hidden(*piece.prompt.positions()))
                h = h[:, :, :, 1:] if every else h[:, :, :, -1:]
                gram = gram + torch.einsum("lmbpe,lmbpf->lmef", h, h)
                moment = moment + torch.einsum("lmbpe,bp->lme", h, piece.target.to(h))
    eye = torch.eye(gram.shape[-1]).to(gram)
    gram = gram + RIDGE * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * eye
    return Layers(model, len(gram), torch.linalg.solve(gram, moment))


def features(stream: Float[Tensor, "L0 M B S E"]) -> Float[Tensor, "L M B P E1"]:
    """What a read-out sees of every layer: the tokens of x through a LayerNorm, and a constant; float64."""
    h = F.layer_norm(stream[1:, ..., ::2, :].double(), stream.shape[-1:])
    return torch.cat([h, torch.ones_like(h[..., :1])], -1)
