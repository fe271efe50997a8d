"""A language model that is trained on: texts, packing against one text at a time, its trainer against a plain loop."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from icl.config import Train
from icl.models.finetuned_lm import FinetunedLm
from icl.models.finetuned_lm_text import alphabets
from icl.objectives.answer_tokens import AnswerTokens
from icl.rng import Draw
from icl.tasks.multilevel_translation import MultilevelTranslation
from icl.training.accelerated import Large, fit_large
from tolerances import EXACT

TASK = MultilevelTranslation(n_letters=2, n_levels=2, n_characters=4, dropout=0.3)


def tiny(**fields):
    return FinetunedLm(pretrained="tiny", dtype=torch.float64, **fields)


def decoded(model, ids):
    return "".join(model.tokenizer.convert_ids_to_tokens(ids)).replace("Ġ", " ").replace("Ċ", "\n").replace("<s>", "")


def sample_of(task=TASK, seeds=(0,)):
    return task.sample(3, Draw(seeds, "t", dtype=torch.float64))


def test_a_text_says_the_rules_the_source_and_the_answer():
    model, sample = tiny(), sample_of(replace(TASK, dropout=0.0))
    (text, answer), *_ = model.writer.texts(sample, 0)
    prompt, lines = sample.prompt, decoded(model, text).split("\n")
    assert [line.split(":")[0] for line in lines] == ["Rules 1", "Rules 2", "Language 1", "Language 3"]
    letters = ["AB", "CD", "EF"]
    pair = lambda language, code: "".join(letters[language][d] for d in divmod(code, 2))  # noqa: E731
    for level in range(2):
        rules = [
            f"{pair(level, key % 4)} ->{pair(level + 1, value)}"
            for key, value in zip(prompt.keys[0, 0].tolist(), prompt.values[0, 0].tolist(), strict=True)
            if key // 4 == level
        ]
        assert lines[level].split(":")[1].strip(" ;").split(";") == rules
    assert lines[2].split(":")[1] == "".join(pair(0, code) for code in prompt.source[0, 0].tolist())
    assert lines[3].split(":")[1] == "".join(pair(2, code) for code in sample.target[0, 0, -1].tolist())
    assert decoded(model, answer) == lines[3].split(":")[1]


def test_rules_left_out_are_not_written():
    model = tiny()
    (full, _), *_ = model.writer.texts(sample_of(replace(TASK, dropout=0.0)), 0)
    (none, _), *_ = model.writer.texts(sample_of(replace(TASK, dropout=1.0)), 0)
    assert "->" in decoded(model, full)
    assert "->" not in decoded(model, none)


def test_packed_texts_are_answered_like_each_alone():
    model, sample = tiny(), sample_of()
    found, right = model.answers(sample)
    for b, (text, answer) in enumerate(model.writer.texts(sample, 0)):
        logits = model.members[0](input_ids=torch.tensor([text])).logits[0].log_softmax(-1)
        places = torch.arange(len(text) - len(answer) - 1, len(text) - 1)
        expected = logits[places].gather(-1, torch.tensor(answer)[:, None])[:, 0]
        torch.testing.assert_close(found[0, b], expected, rtol=1e-5, atol=1e-6)  # logits are float32 at the end
        assert torch.equal(right[0, b], logits[places].argmax(-1) == torch.tensor(answer))


def test_the_loss_is_on_the_answer_and_its_gradient_reaches_the_context():
    model, sample = tiny(), sample_of(replace(TASK, dropout=0.0))
    embedding = model.members[0].model.embed_tokens.weight
    (gradient,) = torch.autograd.grad(AnswerTokens()(model, sample).sum(), [embedding])
    arrow = model.writer.word(" ->")[0]
    assert gradient[arrow].abs().max() > 0


@pytest.mark.parametrize("option", [{"checkpointing": True}, {"trained_layers": 1}])
def test_options_change_no_loss_and_the_gradients_of_what_is_trained_stay(option):
    plain, other, sample = tiny(), tiny(**option), sample_of()
    losses = [AnswerTokens()(model, sample).sum() for model in (plain, other)]
    torch.testing.assert_close(*losses, **EXACT)
    for loss in losses:
        loss.backward()
    trained = [(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True) if b.requires_grad]
    assert trained
    for a, b in trained:
        torch.testing.assert_close(a.grad, b.grad, **EXACT)


def test_the_trainer_is_a_plain_loop_of_adamw_and_resumes(tmp_path):
    recipe = Train(steps=3, batch_size=2, optimizer="adamw", lr=1e-2, betas=[0.9, 0.95], clip=1.0, n_snapshots=0)
    model, plain = tiny(), tiny()
    history = fit_large(TASK, model, AnswerTokens(), recipe, seed=0)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(3):
        loss = AnswerTokens()(plain, TASK.sample(2, Draw([0], "train", step=step, dtype=torch.float64))).sum()
        if step in history.steps:
            torch.testing.assert_close(history.loss[history.steps.index(step)], loss[None].detach(), **EXACT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
    large = Large(task=TASK, model=tiny(), objective=AnswerTokens(), train=recipe, seed=0, folder=tmp_path)
    large.step(0)
    large._clock = 0.0
    large._save(1)
    again = tiny()
    fit_large(TASK, again, AnswerTokens(), recipe, seed=0, folder=tmp_path)
    for a, b in zip(again.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_the_state_has_a_leading_axis_of_members():
    two = tiny(n_seeds=2)
    two.reset(Draw([3, 4], "init"))
    state = two.state_dict()
    assert all(value.shape[0] == 2 for value in state.values())
    assert not any("members.1" in key for key in state)
    one = tiny()
    one.load_state_dict({key: value[1:] for key, value in state.items()})
    for a, b in zip(one.parameters(), two.members[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_bad_input_is_one_line():
    with pytest.raises(ValueError, match=r"3 alphabets of n_letters=60 need 180 letters of one token each; .* has \d+"):
        alphabets(tiny().tokenizer, 3, 60)
    with pytest.raises(ValueError, match=r"a prompt of \d+ tokens is \d+ longer than the context, 20"):
        tiny(max_length=20)(sample_of())
    with pytest.raises(ValueError, match=r"trained_layers=9 must be in 1\.\.3"):
        tiny(trained_layers=9)
    with pytest.raises(ValueError, match="no token is left in it"):
        AnswerTokens()(lambda sample: torch.zeros(1, 3, 0), sample_of())


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_tied_weights_can_be_written_to_a_file(n_seeds):
    model = tiny(n_seeds=n_seeds)
    for member in model.members:
        member.lm_head.weight = member.model.embed_tokens.weight
    assert save(model.state_dict())  # safetensors refuses names that share memory
    assert torch.equal(*(model.state_dict()[f"members.0.{name}.weight"] for name in ("lm_head", "model.embed_tokens")))
