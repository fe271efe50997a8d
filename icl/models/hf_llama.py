"""Llama of Hugging Face on prompts of numbers: rotary positions, RMSNorm, SwiGLU, no biases.

References:
    Touvron et al. 2023, LLaMA: open and efficient foundation language models, arXiv:2302.13971
"""

from typing import Any, ClassVar

from icl.models.hf_backbone import HfBackbone


class HfLlama(HfBackbone):
    """`LlamaModel`; its MLP is 8/3 as wide as the model, which with three matrices has the size of GPT-2's."""

    FINAL_NORM: ClassVar[str] = "norm"
    UNUSED: ClassVar[str] = "embed_tokens.weight"

    def backbone(self, n_tokens: int, n_layers: int, width: int, n_heads: int) -> Any:
        from transformers import LlamaConfig, LlamaModel

        if width // n_heads % 2:
            raise ValueError(f"width={width} over n_heads={n_heads} must be even, rotary positions turn pairs")
        sizes: dict[str, Any] = {
            "max_position_embeddings": n_tokens,
            "hidden_size": width,
            "intermediate_size": -(-8 * width // 3),
            "num_hidden_layers": n_layers,
            "num_attention_heads": n_heads,
            "num_key_value_heads": n_heads,
        }
        return LlamaModel(LlamaConfig(vocab_size=1, bos_token_id=0, eos_token_id=0, use_cache=False, **sizes))

    def inputs_of(self, name: str, shape: tuple[int, ...], width: int) -> int | None:
        if "norm" in name:
            return None
        return shape[1] if name.endswith("weight") else self.dim if name == "read_in.bias" else width
