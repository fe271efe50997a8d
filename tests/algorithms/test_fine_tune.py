"""Finetuning against a plain loop of torch.optim on transformers' own loss, and what must not depend on the order."""

import pytest
import torch

from icl.algorithms.fine_tune import FineTune
from icl.algorithms.language_arm import Tuned
from icl.algorithms.language_weights import trainable
from icl.models.causal_lm_reading import Reading
from text_prompts import member, sample, tiny
from tolerances import EXACT


def plain_loop(prompt, steps, lr, adam=False):
    """Zero-shot logits after every step: one demonstration a step, the mean loss over all tokens but the first."""
    model = tiny()
    lm, _ = model.weights()
    before = {name: p.clone() for name, p in lm.named_parameters()}
    trained = [p for name, p in lm.named_parameters() if "k_proj" in name or "v_proj" in name]
    for p in trained:
        p.requires_grad_(True)
    optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(trained, lr=lr)
    logits = [model.read(prompt, n_demos=0).label_logits]
    for k in range(steps):
        tokens = torch.cat([prompt.start, prompt.demo(k)])[None]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(lm(input_ids=tokens).logits[0, :-1], tokens[0, 1:]).backward()
        optimizer.step()
        logits.append(model.read(prompt, n_demos=0).label_logits)
    with torch.no_grad():
        for name, p in lm.named_parameters():
            p.copy_(before[name])
            p.requires_grad_(False)
    return torch.stack(logits)[:, None]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_pass_is_a_plain_loop_of_torch_optim(optimizer):
    prompt = sample().prompt
    found = FineTune(lr=0.05, optimizer=optimizer)(prompt, model=tiny())
    expected = plain_loop(prompt, 4, 0.05, adam=optimizer == "adam")
    assert (expected[-1] - expected[0]).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)  # a norm in float32 is inside the model


def test_entry_0_is_zero_shot_and_fewer_steps_are_the_beginning():
    prompt, algorithm = sample().prompt, FineTune(lr=0.05)
    whole = algorithm(prompt, model=tiny())
    assert torch.equal(whole[0, 0], tiny().read(prompt, n_demos=0).label_logits)
    assert torch.equal(algorithm(prompt, model=tiny(), steps=2), whole[:3])
    assert torch.equal(algorithm.tuned(tiny(), prompt, lr=0.05, seed=0).reading.label_logits, whole[-1, 0])
    with pytest.raises(ValueError, match="steps=9"):
        algorithm(prompt, model=tiny(), steps=9)


def test_full_batch_descent_does_not_see_the_order():
    prompt, order = sample().prompt, torch.tensor([2, 0, 3, 1])
    algorithm = FineTune(lr=0.05, order="full_batch", epochs=4)
    a, b = (algorithm(p, model=tiny()) for p in (prompt, prompt.reordered(order)))
    torch.testing.assert_close(a, b, **EXACT)
    one_pass = FineTune(lr=0.05)
    a, b = (one_pass(p, model=tiny())[-1] for p in (prompt, prompt.reordered(order)))
    assert (a - b).abs().max() > 1e-6, "one demonstration after the other does"


def test_a_full_batch_in_pieces_is_the_same(monkeypatch):
    prompt, algorithm = sample().prompt, FineTune(lr=0.05, order="full_batch", epochs=2)
    whole = algorithm(prompt, model=tiny())
    monkeypatch.setattr("icl.algorithms.language_descent.CHUNK_FLOATS", 1)
    torch.testing.assert_close(algorithm(prompt, model=tiny()), whole, **EXACT)


@pytest.mark.parametrize("scope", ["key_value", "full", "value", "lora", "lora_one"])
def test_the_model_is_what_it_was_afterwards(scope):
    pytest.importorskip("peft") if "lora" in scope else None
    lm, _ = tiny().weights()
    before = {name: p.clone() for name, p in lm.named_parameters()}
    algorithm = FineTune(lr=0.05, scope=scope, layer=1 if scope == "value" else None)
    trajectory = algorithm(sample().prompt, model=tiny())
    assert (trajectory[-1] - trajectory[0]).abs().max() > 0
    after = dict(lm.named_parameters())
    assert before.keys() == after.keys()
    for name, p in after.items():
        assert torch.equal(p, before[name]), name
        assert not p.requires_grad
        assert p.grad is None


def test_value_of_one_layer_is_one_matrix():
    lm, _ = tiny().weights()
    with trainable(lm, "value", layer=-1) as parameters:
        assert list(parameters) == ["model.layers.2.self_attn.v_proj.weight"]
    with pytest.raises(ValueError, match=r"layer=7 must be in 0\.\.2"), trainable(lm, "value", layer=7):
        pass


def test_lora_one_begins_at_the_best_low_rank_piece_of_the_gradient():
    pytest.importorskip("peft")
    from icl.algorithms.language_descent import gradient

    prompt, (lm, _) = sample().prompt, tiny().weights()
    with trainable(lm, "key_value") as parameters:
        _, gradients = gradient("next_token", lm, prompt, range(4), "all", parameters)
    with FineTune(lr=0.1, scope="lora_one", rank=2).descent(tiny(), prompt, 0.1, 0) as descent:
        found = dict(descent.parameters)
    name = "model.layers.0.self_attn.v_proj"
    a, b = (found[f"{name}.lora_{part}.icl.weight"].double() for part in ("A", "B"))
    u, s, vt = torch.linalg.svd(-gradients[f"{name}.weight"])
    best = (u[:, :2] * s[:2]) @ vt[:2] / s[0] / 128
    torch.testing.assert_close(b @ a, best, rtol=1e-4, atol=1e-7)


def reading(value: float) -> Reading:
    return Reading(torch.full((2, 2), value))


@pytest.mark.parametrize(("losses", "value", "diverged"), [
    ([5.0, 5.0, 4.0, 4.0], 0.0, False),
    ([5.0, 6.0, 9.0, 10.1], 0.0, True),
    ([5.0, float("nan")], 0.0, True),
    ([5.0, 4.0], float("inf"), True),
])  # fmt: skip
def test_a_diverging_learning_rate_is_named(losses, value, diverged):
    assert Tuned(lr=0.1, reading=reading(value), losses=losses).diverged == diverged


def test_a_diverged_rate_of_a_grid_is_left_out_and_counted():
    from icl.comparisons.update_similarity import UpdateSimilarity
    from icl.rng import Draw

    one, algorithm = member(), FineTune(lr=[0.01, 1e4], scope="full")
    arm = one.arm(algorithm)
    assert [t.diverged for t in arm.grid] == [False, True]
    assert arm.chosen == 0
    measured = UpdateSimilarity().measure(one, algorithm, one.task, Draw([0], "t"))
    assert measured.numbers["diverged"].item() == 0.5
    assert measured.numbers["sim_aou"].isfinite().all()
    curve = measured.curves["simaou_by_learning_rate"]
    assert curve.model[0][1] != curve.model[0][1], "nan, not a number that a mean could take in"
    assert "10000" in curve.note


@pytest.mark.parametrize("lr", [0, -1.0, float("nan"), [], [0.1, 0.1], "fast", [0.1, "fast"]])
def test_learning_rates_that_are_none(lr):
    with pytest.raises(ValueError, match="lr="):
        FineTune(lr=lr)


def test_options_that_do_not_go_together():
    with pytest.raises(ValueError, match="layer=2 belongs to scope=value"):
        FineTune(layer=2)
    with pytest.raises(ValueError, match="layer=None belongs to scope=value"):
        FineTune(scope="value")
