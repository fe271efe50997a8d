"""The logistic loss of single-query attention, its gradient right in direction and not in size: it never underflows.

For update rules that look at the direction alone (train.optimizer=normalized). Late in training the gradient is a sum
of terms of size exp(−margin), far below the smallest number there is, while its direction is perfectly well defined.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from icl.core import Sample


@dataclass(frozen=True, kw_only=True)
class LogisticDirection:
    """Its value is the mean logistic loss, its gradient that of the loss times e^κ of a member,

        Σ_i c_i Σ_t e^κ s_it (g_it − f_i) ∂l_it,    c_i = −y_i σ(−y_i f_i) / n,   −κ = largest log s_it, t ≠ argmax,

    with logits l relative to the selected token, whose own term is zero (see `SingleQueryAttention`).
    """

    unit: ClassVar[str] = "logistic_loss"
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        if not getattr(model, "relative", False):
            raise ValueError("objective=logistic_direction needs model=single_query_attention with relative=true")
        logits, y = model.logits(sample.prompt), sample.target
        with torch.no_grad():
            log_s, scores = logits.log_softmax(-1), model.scores(sample.prompt)
            f = (log_s.exp() * scores).sum(-1)
            selected = torch.zeros_like(log_s, dtype=torch.bool).scatter_(2, log_s.argmax(-1, keepdim=True), True)
            others = log_s.masked_fill(selected, -torch.inf)
            scaled = (others - others.amax((1, 2), keepdim=True)).exp()
            c = -y * torch.sigmoid(-y * f) / y.shape[1]
            weights = c[..., None] * scaled * (scores - f[..., None])
            loss = softplus(-y * f).mean(-1)
        moved = (weights * logits).sum((1, 2))
        return loss + moved - moved.detach()
