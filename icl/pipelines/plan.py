"""`scripts/lab probe model=llama3_8b probe.plan=true`: what a language model would take, and how it would be shared.

The model is built on the meta device: shapes without storage, so nothing is loaded, and no net is needed.
"""

from collections.abc import Mapping
from typing import Any

from icl.algorithms.language_weights import chosen, layer_of
from icl.config import ConfigError, build_model, torch_dtype
from icl.models.causal_lm_files import on_meta

GIB = 2**30
RANKS = (1, 2, 4, 8)
CONTEXT = 2048  # tokens
OPTIMIZER = {"sgd": 0, "adam": 2}  # numbers kept a trained parameter
DEVICE_GIB = 24  # what the layers are placed on, by accelerate


def plan(cfg: Any) -> dict[str, float]:
    """Print the plan; bytes as numbers."""
    component = build_model(cfg)
    try:
        lm = on_meta(component.name, component.shape)
    except ValueError as error:
        raise ConfigError(f"model.{error}") from None
    size = torch_dtype(cfg.dtype).itemsize
    weights = sum(p.numel() for p in lm.parameters())
    config = lm.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * head * size
    print(f"{component.name}: {type(lm).__name__}, {config.num_hidden_layers} layers, width {config.hidden_size}, "
          f"{config.num_attention_heads} heads on {config.num_key_value_heads} key-value heads, "
          f"{weights / 1e9:.3f} billion parameters; nothing was loaded")  # fmt: skip
    print(f"weights in {cfg.dtype}: {weights * size / GIB:.2f} GiB")
    print(f"context of {CONTEXT} tokens, encoded once for all queries: {CONTEXT * token / GIB:.3f} GiB "
          f"({token / 1024:.0f} KiB a token)")  # fmt: skip
    found = {"parameters": float(weights), "weights_gib": weights * size / GIB, "kib_a_token": token / 1024}
    for scope in ("key_value", "full"):
        trained = chosen(lm, scope, None)
        for optimizer, kept in OPTIMIZER.items():
            whole, cut = _bytes(
                lm, trained, size, 2 + kept
            )  # a gradient, the values to go back to, the optimiser's own
            found[f"{scope}_{optimizer}_gib"] = (whole + cut) / GIB
            shares = ", ".join(f"{n} ranks {(whole + cut / n) / GIB:.2f}" for n in RANKS)
            million = sum(p.numel() for p in trained.values()) / 1e6
            print(f"finetuning {scope} ({million:.1f} million) with {optimizer}, layers cut, GiB a rank: {shares}")
    _placed(lm, cfg.dtype)
    return found


def _bytes(lm: Any, trained: Mapping[str, Any], size: int, extra: int) -> tuple[int, int]:
    """What every rank holds whole (embeddings, norm, head), and what is cut over ranks; see causal_lm_shards."""
    found = {True: 0, False: 0}
    for name, p in lm.named_parameters():
        found[layer_of(name) < 0] += p.numel() * size * (1 + extra * (name in trained))
    return found[True], found[False]


def _placed(lm: Any, dtype: str) -> None:
    """Which layers accelerate would put where on devices of 24 GiB (model.placement=auto)."""
    import logging

    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    logging.getLogger("accelerate").setLevel(logging.ERROR)  # the devices of the plan need not be here
    block = [type(lm.base_model.layers[0]).__name__]
    for n in (1, 2, 4):
        memory: Any = dict.fromkeys(range(n), f"{DEVICE_GIB}GiB") | {"cpu": "512GiB"}
        balanced = get_balanced_memory(lm, max_memory=memory, no_split_module_classes=block, dtype=torch_dtype(dtype))
        places = infer_auto_device_map(lm, max_memory=balanced, no_split_module_classes=block, dtype=torch_dtype(dtype))
        counts = {str(places[""]): lm.config.num_hidden_layers} if "" in places else {}
        for name, place in places.items():
            if ".layers." in f".{name}.":
                counts[str(place)] = counts.get(str(place), 0) + 1
        where = ", ".join(f"{'device ' if p.isdigit() else ''}{p}: {k} layers" for p, k in counts.items())
        print(f"placed on {n} x {DEVICE_GIB} GiB: {where}")
