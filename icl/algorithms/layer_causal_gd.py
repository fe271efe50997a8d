"""Layer-causal gradient descent: every layer learns from its own output, as in-context learning must.

References:
    Deutch et al. 2023, In-context learning and gradient descent revisited, arXiv:2311.07772
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from icl.algorithms.fine_tune import FineTune
from icl.algorithms.language_descent import gradient, matched
from icl.algorithms.language_weights import Parameters
from icl.core import TokenPrompt


@dataclass(frozen=True, kw_only=True)
class LayerCausalGd(FineTune):
    """Finetuning whose loss is Σ_l L_l, the loss of the output of layer l through the frozen final norm and head.

    The input of each layer is detached, so ∇_{θ_l} sees L_l alone. Deutch et al. take the learning rate of GD; over 30
    layers that sum overshoots, since early layers are far from the vocabulary. `match` makes each step as long as the
    step of ordinary gradient descent from the same weights (all tokens): in each layer, or all layers together.
    """

    loss: Literal["all", "label"] = "label"
    match: Literal["none", "total", "layer"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope == "full":
            raise ValueError("scope=full: layer-causal descent has no loss for the embeddings; use key_value")

    def gradient(
        self, lm: Any, prompt: TokenPrompt, which: Sequence[int], parameters: Parameters
    ) -> tuple[float, dict[str, Tensor]]:
        loss, own = gradient("layer_causal", lm, prompt, which, self.loss, parameters)
        if self.match == "none":
            return loss, own
        _, ordinary = gradient("next_token", lm, prompt, which, "all", parameters)
        return loss, matched(own, ordinary, self.match)
