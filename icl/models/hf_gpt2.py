"""GPT-2 of Hugging Face on prompts of numbers.

References:
    Radford et al. 2019, Language models are unsupervised multitask learners; Garg et al. 2022, arXiv:2208.01066
"""

from typing import Any, ClassVar

from icl.models.hf_backbone import HfBackbone


class HfGpt2(HfBackbone):
    """`GPT2Model` without dropout: with the same weights the same function as `Transformer`."""

    FINAL_NORM: ClassVar[str] = "ln_f"
    UNUSED: ClassVar[str] = "wte.weight"

    def backbone(self, n_tokens: int, n_layers: int, width: int, n_heads: int) -> Any:
        from transformers import GPT2Config, GPT2Model

        dropouts: dict[str, Any] = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        sizes: dict[str, Any] = {"n_positions": n_tokens, "n_embd": width, "n_layer": n_layers, "n_head": n_heads}
        return GPT2Model(GPT2Config(vocab_size=1, bos_token_id=0, eos_token_id=0, use_cache=False, **sizes, **dropouts))

    def inputs_of(self, name: str, shape: tuple[int, ...], width: int) -> int | None:
        if name == "wpe.weight" or ".ln_" in name or name.startswith("ln_f"):
            return None
        if name.endswith("weight"):
            return shape[1] if name.startswith("read_") else shape[0]  # Conv1D keeps its matrix as (in, out)
        return self.dim if name == "read_in.bias" else 4 * width if name.endswith("mlp.c_proj.bias") else width
