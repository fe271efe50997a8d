"""Layer-causal gradient descent: every layer learns from its own output, as in-context learning must.

References:
    Deutch et al. 2023, In-context learning and gradient descent revisited, arXiv:2311.07772
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from icl.algorithms.fine_tune import FineTune


@dataclass(frozen=True, kw_only=True)
class LayerCausalGd(FineTune):
    """`FineTune` whose loss is Σ_l L_l, the loss of the output of layer l through the frozen final norm and head.

    The input of each layer is detached, so ∇_{θ_l} sees L_l alone. Deutch et al. take the learning rate of GD; over 30
    layers that sum overshoots, since early layers are far from the vocabulary. `match` makes each step as long as the
    step of ordinary gradient descent from the same weights (all tokens): in each layer, or all layers together.
    """

    kind: ClassVar[str] = "layer_causal"
    loss: Literal["all", "label"] = "label"
    match: Literal["none", "total", "layer"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope == "full":
            raise ValueError("scope=full: layer-causal descent has no loss for the embeddings; use key_value")
