"""A LLaMA of a few thousand random parameters with a tokenizer of whole words: for tests and for a look in seconds."""

from typing import Any

BOS, UNKNOWN = "<s>", "<unk>"
VOCABULARY = 512


def tiny_config(n_layers: int = 3, width: int = 32) -> Any:
    """Grouped-query attention with four heads on two key-value heads, as in the large ones."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=n_layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=0,
        tie_word_embeddings=True, initializer_range=0.2,
    )  # fmt: skip


def tiny_tokenizer() -> Any:
    """Bytes, and the few words of the built-in task as one token each, with their leading space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {BOS: 0, UNKNOWN: 1} | {letter: i + 2 for i, letter in enumerate(letters)}
    merges: list[tuple[str, str]] = []
    for word in ("ĠPositive", "ĠNegative", "Word", "ĠSentiment", "Sentence", "ĠLabel"):
        left = word[0]
        for letter in word[1:]:
            if left + letter not in vocabulary:
                vocabulary[left + letter] = len(vocabulary)
                merges.append((left, letter))
            left += letter
    assert len(vocabulary) <= VOCABULARY
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, unk_token=UNKNOWN, eos_token=BOS)
