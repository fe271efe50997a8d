"""What the test of shards runs inside a rank, and in one process: importable by name."""

from functools import partial
from typing import Any

import torch

from icl.algorithms.fine_tune import FineTune
from icl.models.causal_lm import CausalLm
from icl.models.causal_lm_shards import held, shard_layers
from icl.rng import Draw
from text_prompts import words

WAYS: dict[str, dict[str, Any]] = {
    "key_value": {}, "full": {"scope": "full", "optimizer": "adam", "lr": 1e-3}, "full_batch": {"order": "full_batch"},
    "value": {"scope": "value", "layer": 1}, "lora": {"scope": "lora", "lr": 0.1}, "lora_one": {"scope": "lora_one"},
}  # fmt: skip


def answers(sharded: bool) -> dict[str, Any]:
    """Numbers held, scores and attention in context, and scores after two steps of finetuning each way."""
    model = CausalLm(name="tiny", dtype=torch.float64)
    if sharded:
        model.spread = partial(shard_layers, device="cpu")
    prompt = model.encode(words(n_demos=2).sample(4, Draw([0], "text"))).prompt
    reading = model.read(prompt, capture=True)
    assert reading.inside is not None
    found: dict[str, Any] = {"held": held(model.weights()[0]), "logits": reading.label_logits.tolist(),
                             "attention": reading.inside.attention_out.tolist()}  # fmt: skip
    for name, way in WAYS.items():
        found[name] = FineTune(**way)(prompt, model=model).tolist()
    return found
