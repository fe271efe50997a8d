"""What a language model minimises on its demonstrations: the next token everywhere, or the label; at the end, or at
every layer for itself.

References:
    Dai et al. 2022, arXiv:2212.10559 (all tokens);  Shen et al. 2023, arXiv:2310.08540 (the label)
    Deutch et al. 2023, arXiv:2311.07772 (layer-causal)
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from icl.core import TokenPrompt
from icl.models.causal_lm_reading import vocabulary_logits
from icl.models.causal_lm_tokens import padded

Loss = Callable[[Any, Tensor, Tensor], Tensor]  # (lm, tokens "R S", weight "R S-1") -> a number


def rows(prompt: TokenPrompt, which: Sequence[int], loss: str) -> tuple[Int[Tensor, "R S"], Float[Tensor, "R S_next"]]:
    """Demonstrations as sequences of their own, and the weight of predicting token t + 1.

    Each demonstration weighs 1/R, spread evenly over all of its tokens (after the first), or over its label's.
    """
    sequences, firsts = [], []
    for k in which:
        sequences.append(torch.cat([prompt.start, prompt.demo(k)]).tolist())
        label = len(prompt.start) + int(prompt.demo_answer_at[k])
        firsts.append(label if loss == "label" else 1)
    tokens, mask = padded(sequences)
    counted = mask & (torch.arange(tokens.shape[1])[None] >= torch.tensor(firsts)[:, None])
    weight = counted.double() / counted.sum(1, keepdim=True) / len(sequences)
    return tokens.to(prompt.demos.device), weight[:, 1:].to(prompt.demos.device)


def next_token(lm: Any, tokens: Int[Tensor, "R S"], weight: Float[Tensor, "R S_next"]) -> Float[Tensor, ""]:
    """L = Σ weight · −log p(next token), nats."""
    hidden = lm.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    return _nll(lm, [hidden], tokens, weight)


def layer_causal(lm: Any, tokens: Int[Tensor, "R S"], weight: Float[Tensor, "R S_next"]) -> Float[Tensor, ""]:
    """Σ_l L_l, with L_l the same loss on the output of layer l through the final norm and head.

    The input of every layer is detached, so ∂L_l reaches layer l alone; Deutch et al. sum over layers, as here.
    """
    with detached_layers(lm) as outputs:
        lm.base_model(input_ids=tokens, use_cache=False)
    norm = lm.base_model.norm
    return _nll(lm, [norm(out) for out in outputs], tokens, weight)


@contextmanager
def detached_layers(lm: Any) -> Any:
    """Within: no gradient passes from a layer to the one before; the layers' outputs are collected."""
    outputs: list[Tensor] = []

    def cut(_layer: Any, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (args[0].detach(), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": kwargs["hidden_states"].detach()}

    def keep(_layer: Any, _args: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    hooks = []
    for layer in lm.base_model.layers:
        hooks += [layer.register_forward_pre_hook(cut, with_kwargs=True), layer.register_forward_hook(keep)]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _nll(lm: Any, hidden: Sequence[Float[Tensor, "R S E"]], tokens: Tensor, weight: Tensor) -> Float[Tensor, ""]:
    """Summed over the `hidden` states; the output projection, the largest matrix, is read once for all of them."""
    used = weight > 0
    logits = vocabulary_logits(lm, torch.cat([h[:, :-1][used] for h in hidden]))
    losses = F.cross_entropy(logits, tokens[:, 1:][used].repeat(len(hidden)), reduction="none")
    return (losses * weight[used].repeat(len(hidden)).to(losses.dtype)).sum()


LOSSES: dict[str, Loss] = {"next_token": next_token, "layer_causal": layer_causal}
