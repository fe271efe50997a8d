"""The chain of thought: cached against recomputed, masked pass against one by one, values and gradients."""

import pytest
import torch
from omegaconf import OmegaConf

from icl.config import ConfigError, validate
from icl.models import chain_of_thought_fast
from icl.models.chain_of_thought import ChainOfThought
from icl.models.linear_attention import LinearAttention
from icl.rng import Draw
from icl.runs import Run, RunError, RunFolder
from icl.tasks.weight_prediction import WeightPrediction
from icl.training.jobs import make_job
from options import composed
from tolerances import EXACT


def bank(n_seeds=2, scale=5.0, **options):
    model = ChainOfThought(dim=3, n_seeds=n_seeds, dtype=torch.float64, **options)
    model.reset(Draw(range(n_seeds), "init", dtype=torch.float64))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def prompts(seeds=(0, 1), n_context=6):
    return WeightPrediction(dim=3, n_context=n_context).sample(4, Draw(seeds, "t", dtype=torch.float64)).prompt


def gradients(model, values):
    return torch.autograd.grad((values * torch.linspace(-1, 1, values.numel()).view(values.shape)).sum(),
                               list(model.parameters()))  # fmt: skip


@pytest.mark.parametrize("parametrization", ["full", "block"])
@pytest.mark.parametrize("seeds", [(0, 1), (0,)])
@pytest.mark.parametrize("steps", [0, 1, 6])
def test_the_cached_rollout_is_the_recomputed_one(parametrization, seeds, steps):
    model, prompt = bank(parametrization=parametrization), prompts(seeds)
    fast, plain = model(prompt, steps=steps), model.recompute(prompt, steps=steps)
    assert fast.shape == (steps + 1, 2, 4, 3)
    torch.testing.assert_close(fast, plain, **EXACT)
    if steps:
        torch.testing.assert_close(gradients(model, fast), gradients(model, plain), **EXACT)


@pytest.mark.parametrize("parametrization", ["full", "block"])
@pytest.mark.parametrize("seeds", [(0, 1), (0,)])
def test_the_masked_pass_is_one_sequence_a_thought(parametrization, seeds, draw):
    model, prompt = bank(parametrization=parametrization), prompts(seeds)
    weights = Draw(seeds, "w", dtype=torch.float64).normal(5, 4, 3).transpose(0, 1)
    fast, plain = model.teacher_forced(prompt, weights), model.teacher_forced_one_by_one(prompt, weights)
    assert fast.shape == (5, 2, 4, 8)
    torch.testing.assert_close(fast, plain, **EXACT)
    torch.testing.assert_close(gradients(model, fast), gradients(model, plain), **EXACT)


def test_forced_to_its_own_thoughts_the_block_model_says_what_it_said(draw):
    """Its thoughts are (0, 0, w, 1), as a teacher's are; those of a full model leak into other rows."""
    model, prompt = bank(parametrization="block"), prompts()
    own = model(prompt, steps=4)
    forced = model.teacher_forced(prompt, own[:-1])
    torch.testing.assert_close(forced, model.thought(own[1:]), **EXACT)


def test_the_first_thought_by_hand(draw):
    """f(Z_0)[:, last] in plain sums over the columns."""
    model, prompt = bank(n_seeds=1), prompts((0,))
    V, W, z = model.V[0], model.W[0], torch.tensor([0.0] * 7 + [1.0]).double()
    for b in range(4):
        columns = [torch.cat([prompt.x[0, b, i], prompt.y[0, b, i : i + 1], torch.zeros(4)]) for i in range(6)] + [z]
        moved = z + V @ sum(column * (column @ W @ z) for column in columns) / 6
        torch.testing.assert_close(model(prompt, steps=1)[1, 0, b], moved[4:7], **EXACT)


def test_a_thought_sees_no_later_one(draw):
    model, prompt = bank(), prompts()
    weights = draw.normal(5, 4, 3).transpose(0, 1)
    other = weights.clone()
    other[3:] += 1
    a, b = model.teacher_forced(prompt, weights), model.teacher_forced(prompt, other)
    torch.testing.assert_close(a[:3], b[:3], rtol=0, atol=0)
    assert (a[3:] - b[3:]).abs().amax((1, 2, 3)).min() > 0.1


def test_the_pieces_of_a_batch_are_the_whole(monkeypatch):
    model, prompt = bank(), prompts()
    whole = model(prompt)
    monkeypatch.setattr(chain_of_thought_fast, "CHUNK_FLOATS", 2 * 8 * 8 * 3)  # three prompts at a time
    torch.testing.assert_close(model(prompt), whole, rtol=0, atol=1e-14)


def test_any_number_of_thoughts_is_the_same_chain():
    model, prompt = bank(n_thoughts=2), prompts()
    torch.testing.assert_close(model(prompt, steps=7)[:3], model(prompt), rtol=0, atol=0)


def test_first_values_have_their_scale_and_belong_to_their_seed():
    wide = ChainOfThought(dim=40, n_seeds=2, init_scale=0.02)
    wide.reset(Draw([3, 4], "init"))
    assert wide.V.std().item() == pytest.approx(0.02, rel=0.05)
    lone = ChainOfThought(dim=40)
    lone.reset(Draw([4], "init"))
    assert torch.equal(lone.W[0], wide.W[1])
    with pytest.raises(ValueError, match="1 seeds"):
        wide.reset(Draw([0], "init"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_thoughts": 0}, "n_thoughts=0 must be >= 1"),
        ({"dim": 0}, "dim=0"),
        ({"init_scale": -1.0}, "init_scale=-1.0"),
    ],
)
def test_impossible_values_are_refused_in_one_line(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        ChainOfThought(**({"dim": 3} | fields))
    assert "\n" not in str(error.value)


def test_bad_input_is_one_line_for_the_command_too(tmp_path):
    with pytest.raises(ConfigError, match="n_thoughts=0 must be >= 1") as error:
        validate(composed("task=weight_prediction", "model=chain_of_thought", "model.n_thoughts=0"))
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="LinearAttention has no thoughts to teach") as error:
        make_job(
            composed("task=weight_prediction", "model.n_outputs=null", "objective=teacher", f"paths.outputs={tmp_path}")
        )
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_architecture_is_refused_in_one_line(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open(OmegaConf.to_yaml(composed("task=weight_prediction", "model=chain_of_thought"), resolve=True), [])
    folder.write_tensors("weights", LinearAttention(dim=10).state_dict())
    with pytest.raises(RunError, match=r"weights do not fit the model of config\.yaml") as error:
        _ = Run(folder).model
    assert "\n" not in str(error.value)


def test_a_prompt_that_does_not_fit_is_refused(draw):
    with pytest.raises(ValueError, match="dim=3"):
        bank()(WeightPrediction(dim=4, n_context=6).sample(2, draw).prompt)
    with pytest.raises(ValueError, match="steps=-1"):
        bank()(prompts(), steps=-1)
