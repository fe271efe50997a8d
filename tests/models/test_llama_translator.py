"""The small LLaMA: transformers' own model on the sequence as it is written down, its start, and both trainers."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from icl.config import Train
from icl.models.llama_translator import LlamaTranslator
from icl.objectives.answer import Answer
from icl.rng import Draw
from icl.tasks.multilevel_translation import MultilevelTranslation
from icl.training.accelerated import fit_large
from icl.training.bank import fit
from tolerances import EXACT

TASK = MultilevelTranslation(n_letters=3, n_levels=2, n_characters=8, books="fresh")
RECIPE = Train(steps=3, batch_size=4, optimizer="adamw", lr=1e-2, clip=1.0, warmup=2, schedule="cosine", n_snapshots=0)


def translator(n_seeds=1, **fields):
    model = LlamaTranslator(
        n_letters=3, n_levels=2, width=16, n_heads=2, n_seeds=n_seeds, dtype=torch.float64, **fields
    )
    model.reset(Draw(range(n_seeds), "init", dtype=torch.float64))
    return model


def sample_of(seeds=(0,), **changes):
    return MultilevelTranslation(**(vars(TASK) | changes)).sample(3, Draw(seeds, "t", dtype=torch.float64))


def written_down(model, sample, m, b):
    """Log-probabilities of both levels for one prompt: plain transformers weights, a position after the other."""
    config = model.lm.config
    plain = LlamaForCausalLM(LlamaConfig(**config.to_dict())).double()
    state = {name: value[m] for name, value in model.lm.state_dict().items()}
    missing, _ = plain.load_state_dict(state, strict=False)
    assert missing == ["model.embed_tokens.weight"]
    f, g, kind, prompt, n = model.first[m], model.second[m], model.kind[m], sample.prompt, 3
    sequence, positions = [], []
    for key, value, shown in zip(prompt.keys[m, b], prompt.values[m, b], prompt.shown[m, b], strict=True):
        level, (a, c), (v, w) = key // 9, divmod(key.item() % 9, n), divmod(value.item(), n)
        here, there = level * n, (level + 1) * n
        rule = f[here + a] + g[here + c] + g[there + v] + f[there + w]
        sequence.append((rule if shown else 0) + kind[level])
        positions.append(0)
    source = prompt.source[m, b].tolist()
    for p in range(len(source) + 1):
        this, following = source[p % len(source)], source[(p + 1) % len(source)]
        sequence.append(f[this % n] + g[following // n] + kind[2])
        positions.append(p + 1)
    logits = plain(
        inputs_embeds=torch.stack(sequence)[None],
        attention_mask=torch.ones(1, len(sequence), dtype=torch.long),
        position_ids=torch.tensor([positions]),
    ).logits[0, prompt.keys.shape[2] :]
    return [logits[level : level + len(source), 9 * level : 9 * level + 9].log_softmax(-1) for level in range(2)]


def test_a_member_is_the_plain_model_on_the_sequence_that_is_written_down():
    model, sample = translator(n_seeds=2), sample_of((0, 1), dropout=0.3)
    trajectory = model(sample.prompt)
    assert torch.equal(trajectory[0].argmax(-1), sample.prompt.source)
    for m in range(2):
        for b in range(3):
            for level, expected in enumerate(written_down(model, sample, m, b)):
                torch.testing.assert_close(trajectory[level + 1, m, b], expected, **EXACT)


def test_last_and_fewer_steps_are_parts_of_the_trajectory():
    model, prompt = translator(), sample_of().prompt
    torch.testing.assert_close(model.last(prompt), model(prompt)[-1], **EXACT)
    torch.testing.assert_close(model(prompt, steps=1), model(prompt)[:2], **EXACT)
    with pytest.raises(ValueError, match=r"steps=3 must be in 0\.\.2"):
        model(prompt, steps=3)


def test_prompts_do_not_leak_and_a_shared_one_is_answered_by_every_member():
    model, prompt = translator(n_seeds=2), sample_of().prompt
    alone = torch.cat([model.last(prompt.chunk(i, i + 1)) for i in range(3)], 1)
    torch.testing.assert_close(alone, model.last(prompt), **EXACT)


def test_the_source_sees_the_rules():
    """Repeated positions without a mask would be taken for packed sequences, of which none sees another."""
    model, sample = translator(), sample_of()
    found = model.logits(sample.prompt)
    hidden = model.logits(sample_of(dropout=1.0).prompt)
    assert (found - hidden).abs().amax((0, 1, 3)).min() > 1e-3


def test_odd_layers_start_looking_at_the_position_before():
    model, prompt = translator(), sample_of().prompt
    n_rules = prompt.keys.shape[2]
    model.lm.config._attn_implementation = "eager"
    attention = model.member(0, prompt, output_attentions=True).attentions[1][:, 0]
    for p in range(1, prompt.source.shape[2] + 1):
        row = attention[:, n_rules + p]
        assert row.argmax(-1).tolist() == [n_rules + p - 1] * 3
        assert row.amax(-1).min() > 0.9


@pytest.mark.parametrize("previous", [0.0, 9.0])
def test_frozen_queries_are_a_part_of_the_state_and_stay(previous):
    model = translator(previous=previous)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(TASK, model, Answer(levels="all"), RECIPE, seeds=[0])
    name = "lm.model.layers.1.self_attn.q_proj.weight"
    model.reset(Draw([0], "init", dtype=torch.float64))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])  # reset gives the same first values
    assert (name in dict(model.named_parameters())) == (previous == 0.0)


def test_both_trainers_and_a_bank_of_two_agree():
    def lone(seed, train):
        model = LlamaTranslator(n_letters=3, n_levels=2, width=16, n_heads=2, dtype=torch.float64)
        return train(TASK, model, Answer(levels="all"), RECIPE, seed), model

    (history, large), (other, bank) = (lone(1, train) for train in (
        lambda *a: fit_large(*a[:4], seed=a[4]), lambda *a: fit(*a[:4], seeds=[a[4]])))  # fmt: skip
    torch.testing.assert_close(torch.stack(history.loss), torch.stack(other.loss), **EXACT)
    two = LlamaTranslator(n_letters=3, n_levels=2, width=16, n_heads=2, n_seeds=2, dtype=torch.float64)
    fit(TASK, two, Answer(levels="all"), RECIPE, seeds=[0, 1])
    for name, value in two.state_dict().items():
        torch.testing.assert_close(value[1:], bank.state_dict()[name], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(large.state_dict()[name], bank.state_dict()[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"width": 10}, "width=10 must be a multiple of 2 n_heads = 4"), ({"n_layers": 0}, "n_layers=0 must be >= 1")],
)
def test_bad_sizes_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        LlamaTranslator(**({"n_letters": 3, "n_levels": 2, "width": 16, "n_heads": 2} | fields))


def test_a_prompt_longer_than_the_context_says_by_how_much():
    with pytest.raises(ValueError, match="a prompt of 23 positions is 3 longer than n_positions=20"):
        translator(n_positions=20).last(sample_of().prompt)
