"""Which weights of a language model are trained, and their way back: afterwards the model is what it was.

References:
    Dai et al. 2022, arXiv:2212.10559 (keys and values);  Shen et al. 2023, arXiv:2310.08540 (W_V of one layer)
    Hu et al. 2021, LoRA, arXiv:2106.09685;  Zhang et al. 2025, LoRA-One, arXiv:2502.01235
"""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from icl.models.causal_lm_shards import whole
from icl.rng import stream_seed

SCOPES = ("key_value", "full", "value", "lora", "lora_one")
LAYER = re.compile(r"layers\.(\d+)\.")
LORA_ONE_SCALE = 128.0  # s of the source: the adapter begins as 1/s of the normalised gradient

Parameters = Mapping[str, Tensor]


def layer_of(name: str) -> int:
    """The decoder layer that a parameter is in; -1 for embeddings, the final norm and the head."""
    found = LAYER.search(name)
    return int(found.group(1)) if found else -1


def chosen(lm: Any, scope: str, layer: int | None) -> dict[str, Tensor]:
    """The parameters of a scope by name.

    Raises:
        ValueError: the layer does not exist.
    """
    n_layers = len(lm.base_model.layers)
    if scope == "value":
        if layer is None or not -n_layers <= layer < n_layers:
            raise ValueError(f"layer={layer} must be in 0..{n_layers - 1}, the layers of the model")
        wanted = re.compile(rf"layers\.{layer % n_layers}\..*v_proj")
        return {name: p for name, p in lm.named_parameters() if wanted.search(name)}
    if scope == "full":
        return dict(lm.named_parameters())
    return {name: p for name, p in lm.named_parameters() if "k_proj" in name or "v_proj" in name}


@contextmanager
def trainable(lm: Any, scope: str, *, layer: int | None = None, rank: int = 4, seed: int = 0) -> Iterator[Parameters]:
    """Within: the parameters of the scope, ready for gradients; after it every weight has its old value again."""
    if scope in ("lora", "lora_one"):
        with _adapters(lm, rank, seed) as parameters:
            yield parameters
        return
    parameters = chosen(lm, scope, layer)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    for p in parameters.values():
        p.requires_grad_(True)
    try:
        yield parameters
    finally:
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(before[name])
                p.grad = None
                p.requires_grad_(False)


@contextmanager
def _adapters(lm: Any, rank: int, seed: int) -> Iterator[Parameters]:
    """ΔW = B A of rank `rank` on the key and value projections, by peft; B is zero at first."""
    if importlib.util.find_spec("peft") is None:
        raise ValueError("scope=lora needs the package peft: pip install -e '.[llm]' -c constraints.txt")
    from peft import LoraConfig, LoraModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "lora/init", 0, 0))
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["k_proj", "v_proj"])
        tuner = LoraModel(lm, config, "icl")
    parameters = {name: p for name, p in lm.named_parameters() if "lora_" in name}
    try:
        for p in parameters.values():
            p.requires_grad_(True)
        yield parameters
    finally:
        tuner.unload()
        lm.requires_grad_(False)


def lora_one(lm: Any, gradients: Parameters, rank: int) -> None:
    """Start the adapters at the gradient: −G = U S Vᵀ,  B A = (1/s) U_r (S_r / S_1) V_rᵀ.

    `gradients` are those of the adapted weights at the checkpoint, by the name of the weight.
    """
    for name, module in lm.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        u, s, vt = torch.linalg.svd(-whole(gradients[f"{name}.weight"]).float(), full_matrices=False)
        root = (s[:rank] / s[0]).sqrt() / LORA_ONE_SCALE**0.5
        with torch.no_grad():
            module.lora_B["icl"].weight.copy_(u[:, :rank] * root)
            module.lora_A["icl"].weight.copy_(root[:, None] * vt[:rank])
