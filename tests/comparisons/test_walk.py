"""The walk: the same prompts for everybody, whatever the chunks; intervals that cover."""

import pytest
import torch

from bilinear import bank
from icl.comparisons import walk
from icl.comparisons.loss_ratio import LossRatio, losses
from icl.comparisons.measured import Curve, Measured, finite, record
from icl.comparisons.walk import chunks, compare, estimate, per_prompt, resampling_weights
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=4, n_context=6, noise_std=0.1)


def prompts(n_prompts, members, draw):
    return torch.cat([sample.prompt.x for sample in chunks(TASK, n_prompts, members, draw)], 1)


def test_prompts_depend_neither_on_members_nor_on_their_number(draw, monkeypatch):
    monkeypatch.setattr(walk, "PAGE_FLOATS", 34 * 50)  # 50 prompts a page
    monkeypatch.setattr(walk, "CHUNK_FLOATS", 34 * 40)
    reference = prompts(220, 1, draw)
    assert reference.shape == (1, 220, 6, 4)
    assert reference.unique(dim=1).shape == reference.shape, "no page comes twice"
    for members in (2, 7, 1000):
        assert torch.equal(prompts(220, members, draw), reference)
        assert all(s.target.shape[1] * members <= max(40, members) for s in chunks(TASK, 99, members, draw))
    assert torch.equal(prompts(73, 3, draw), reference[:, :73])


def test_chunked_equals_unchunked(draw, monkeypatch):
    model, reference = bank(draw), bank(draw, 1)
    monkeypatch.setattr(walk, "PAGE_FLOATS", 34 * 100)
    whole = per_prompt(losses, model, reference, TASK, 250, draw)
    monkeypatch.setattr(walk, "CHUNK_FLOATS", 34 * 20)
    cut = per_prompt(losses, model, reference, TASK, 250, draw)
    assert whole["model"].shape == (3, 250)
    assert whole["reference"].shape == (1, 250)
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], **EXACT)
    sample = torch.cat([s.target for s in chunks(TASK, 250, 1, draw)], 1)
    direct = torch.cat([model(s.prompt)[-1] for s in chunks(TASK, 250, 1, draw)], 1)
    torch.testing.assert_close(whole["model"], ((direct - sample) ** 2 / 2).detach(), **EXACT)


def test_a_member_does_not_see_its_neighbours(draw):
    model = bank(draw)
    alone = bank(draw)
    alone.gamma.data = alone.gamma.data[1:2]
    together = compare(LossRatio(n_prompts=500), model, bank(draw, 1), TASK, draw)
    single = compare(LossRatio(n_prompts=500), alone, bank(draw, 1), TASK, draw)
    for name in together.numbers:
        torch.testing.assert_close(together.numbers[name][1:2], single.numbers[name], **EXACT)
        torch.testing.assert_close(together.intervals[name][1:2], single.intervals[name], **EXACT)


def test_numbers_of_a_shared_reference_are_repeated_for_every_member(draw):
    measured = compare(LossRatio(n_prompts=50), bank(draw), bank(draw, 1), TASK, draw)
    assert {value.shape for value in measured.numbers.values()} == {(3,)}
    assert {value.shape for value in measured.intervals.values()} == {(3, 2)}
    assert measured.n_prompts == 50


def test_banks_of_different_sizes_are_refused(draw):
    with pytest.raises(ValueError, match="the reference has 2 members, the model 3"):
        compare(LossRatio(n_prompts=5), bank(draw), bank(draw, 2), TASK, draw)


def test_bootstrap_repeats_and_is_that_of_means(draw):
    values = {"a": draw.normal(2, 5000)[0], "b": 3 + draw.normal(1, 5000)[0]}
    numbers, intervals = estimate(values, lambda m: {"a": m["a"], "r": m["a"] / m["b"]}, draw)
    again = estimate(values, lambda m: {"a": m["a"], "r": m["a"] / m["b"]}, draw)
    assert torch.equal(intervals["r"], again[1]["r"])
    torch.testing.assert_close(numbers["a"], values["a"].mean(-1), **EXACT)
    half = 1.96 * values["a"].std(-1) / 5000**0.5
    expected = torch.stack([numbers["a"] - half, numbers["a"] + half], -1)
    torch.testing.assert_close(intervals["a"], expected, rtol=0, atol=0.15 * float(half.max()))


def test_resampling_weights_are_counts_of_resamples(draw):
    weights = resampling_weights(7, draw)
    assert weights.shape == (walk.N_RESAMPLES, 7)
    assert (weights.sum(1) == 7).all()
    assert abs(weights.var().item() - 6 / 7) < 0.05  # of a binomial with 7 trials of probability 1/7


def test_intervals_cover_nineteen_times_of_twenty():
    """A ratio of two means of skewed, correlated values, in 300 experiments of 3,000 prompts each."""
    draw = Draw([5], "coverage", dtype=torch.float64)
    base = draw.normal(300, 3000)[0].exp()
    values = {"a": base * draw.uniform(300, 3000)[0], "b": base}
    _, intervals = estimate(values, lambda m: {"r": m["a"] / m["b"]}, draw)
    covered = ((intervals["r"][:, 0] < 0.5) & (intervals["r"][:, 1] > 0.5)).double().mean()
    assert 0.91 < covered < 0.99
    width = (intervals["r"][:, 1] - intervals["r"][:, 0]).mean()
    unpaired = 2 * 1.96 * 0.5 * values["b"].std() / values["b"].mean() / 3000**0.5 * 2**0.5
    assert width < 0.7 * unpaired, "pairing should remove the common part"


def test_blocks_of_unequal_size_keep_the_mean(draw):
    values = {"a": draw.normal(1, 1501)[0]}
    numbers, intervals = estimate(values, dict, draw)
    torch.testing.assert_close(numbers["a"], values["a"].mean(-1), **EXACT)
    assert intervals["a"][0, 0] < numbers["a"] < intervals["a"][0, 1]


def test_record_has_the_documented_keys_and_no_nan():
    curve = Curve(kind="line", title="t", x_label="x", y_label="y", x=[1.0], model=[[float("inf")]], reference=[[2.0]])
    measured = Measured(
        numbers={"n": torch.tensor([1.0, float("nan")])},
        intervals={"n": torch.tensor([[0.0, 2.0], [float("nan"), 1.0]])},
        curves={"c": curve},
        n_prompts=7,
    )
    content = record({"gd/loss": measured})
    assert content["numbers"] == {"gd/loss/n": [1.0, None]}
    assert content["intervals"] == {"gd/loss/n": [[0.0, 2.0], [None, 1.0]]}
    assert content["n_prompts"] == {"gd/loss": 7}
    assert content["curves"]["gd/loss/c"]["model"] == [[None]]
    keys = {
        "kind",
        "title",
        "x_label",
        "y_label",
        "x",
        "y",
        "log_x",
        "log_y",
        "model",
        "model_label",
        "reference",
        "reference_label",
        "note",
    }
    assert set(content["curves"]["gd/loss/c"]) == keys
    assert finite((1, float("nan"), "s", True)) == [1, None, "s", True]
