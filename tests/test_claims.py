"""Claims: every kind of bound, over every seed and over the mean, and every way to state one badly."""

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from icl.claims import Claim, judge, line, metrics, read, record, unknown_metrics
from tolerances import EXACT

METRIC = "gd/loss/loss_ratio"


def verdict(values, **claim):
    return judge({"c": Claim(metric=METRIC, **claim)}, {METRIC: values}, range(len(values)))[0]


@pytest.mark.parametrize(
    ("bound", "good", "bad", "text"),
    [
        ({"at_most": 1.01}, [1.0, 1.01], [1.0, 1.02], "<= 1.01"),
        ({"at_least": 0.999}, [0.999, 1.0], [0.99, 1.0], ">= 0.999"),
        ({"between": [1, 2]}, [1.0, 2.0], [1.5, 2.1], "in [1, 2]"),
        ({"near": {"value": 0.2, "within": "1%"}}, [0.1981, 0.2019], [0.2, 0.2021], "within 1% of 0.2"),
        ({"near": {"value": -4.0, "within": 0.5}}, [-5.9, -2.1], [-1.9, -4.0], "within 50% of -4"),
        ({"at_most": 2.0, "at_least": 1.0}, [1.5, 1.0], [0.9, 1.5], ">= 1 and <= 2"),
        ({"between": [0, 2], "at_least": 1.0}, [1.0, 2.0], [0.5, 1.5], ">= 1 and in [0, 2]"),
    ],
)
def test_every_seed_must_satisfy_every_bound(bound, good, bad, text):
    assert verdict(good, **bound).holds
    assert verdict(good, **bound).failing_seeds == ()
    failed = verdict(bad, **bound)
    assert not failed.holds
    assert len(failed.failing_seeds) == 1
    assert failed.claim.bound == text


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.floats(-5, 5), st.floats(0.01, 3))
def test_holds_is_no_failing_seed(values, low, width):
    judged = verdict(values, between=[low, low + width])
    outside = tuple(i for i, v in enumerate(values) if v < low or v > low + width)
    assert judged.failing_seeds == outside
    assert judged.holds == (not outside)
    s = judged.statistics
    assert s["min"] <= s["median"] <= s["max"]
    assert (s["worst"] < low or s["worst"] > low + width) == bool(outside)


def test_worst_is_the_value_nearest_to_the_bound():
    assert verdict([0.2, 0.9, 0.5], at_most=1.0).statistics["worst"] == 0.9
    assert verdict([0.2, 0.9, 0.5], at_least=0.0).statistics["worst"] == 0.2
    assert verdict([0.2, 0.9, 0.5], between=[0.1, 1.5]).statistics["worst"] == 0.2


def test_mean_interval_is_student_t():
    values = [1.0, 1.3, 0.8, 1.1, 1.05]
    low, high = verdict(values, over="mean", at_most=2.0).interval
    expected = scipy.stats.t.interval(0.95, 4, loc=np.mean(values), scale=scipy.stats.sem(values))
    np.testing.assert_allclose((low, high), expected, **EXACT)


def test_the_whole_interval_of_the_mean_must_satisfy_the_bound():
    values = [1.0, 1.3, 0.8, 1.1, 1.05]
    low, high = verdict(values, over="mean", at_most=2.0).interval
    assert verdict(values, over="mean", at_most=high + 1e-9).holds
    assert not verdict(values, over="mean", at_most=high - 1e-9).holds, "the mean satisfies it, the interval does not"
    assert not verdict(values, over="mean", at_least=low + 1e-9).holds
    assert verdict(values, over="mean", at_most=high + 1e-9).failing_seeds == ()
    assert not verdict([1.0], over="mean", at_most=5.0).holds, "one seed says nothing about a mean over seeds"
    assert verdict([1.0, 1.0], over="mean", at_most=1.0).holds


@pytest.mark.parametrize("over", ["every_seed", "mean"])
def test_a_nan_member_fails_the_claim_and_is_named(over):
    judged = verdict([1.0, math.nan, 1.0, None], at_most=2.0, over=over)
    assert not judged.holds
    assert judged.failing_seeds == judged.nan_seeds == (1, 3)
    assert judged.statistics["worst"] == judged.statistics["mean"] == 1.0
    assert "failing seeds: 1 (nan), 3 (nan)" in line(judged)
    assert not verdict([math.nan], at_most=2.0, over=over).holds


def test_infinity_fails():
    assert not verdict([1.0, math.inf], at_most=2.0).holds
    assert not verdict([1.0, math.inf], at_most=2.0, over="mean").holds
    assert verdict([1.0, math.inf], at_most=2.0).failing_seeds == (1,)


def test_tensors_are_numbers():
    assert verdict(torch.tensor([1.0, 1.5], dtype=torch.float64), at_most=1.5).values == (1.0, 1.5)


def test_line_says_verdict_ours_bound_and_source():
    claims = {"loss": Claim(metric=METRIC, at_most=1.01, source="von Oswald 2022, Fig. 2", source_value=1.003)}
    good = line(judge(claims, {METRIC: [1.0, 1.008, 1.002]}, [3, 4, 5])[0])
    assert good == (
        "holds  loss: worst 1.008, median 1.002, range 1..1.008 over 3 seeds; bound <= 1.01; "
        "source: 1.003 (von Oswald 2022, Fig. 2)"
    )
    bad = line(judge(claims, {METRIC: [1.0, 1.02, 1.002]}, [3, 4, 5])[0])
    assert bad.startswith("FAILS  loss: worst 1.02")
    assert bad.endswith("; failing seeds: 4")
    mean = line(verdict([1.0, 1.1], over="mean", at_most=9.0))
    assert "mean 1.05 [0.41469, 1.6853], worst 1.1" in mean
    assert "source" not in mean


def test_record_is_strict_json_with_the_documented_keys():
    claims = {"a": Claim(metric=METRIC, at_most=1.01), "b": Claim(metric=METRIC, over="mean", at_most=1.01)}
    content = json.loads(json.dumps(record("exp", judge(claims, {METRIC: [1.0, math.nan]}, [0, 1])), allow_nan=False))
    assert content["experiment"] == "exp"
    assert content["holds"] is False
    keys = {
        "id", "metric", "over", "bound", "source", "source_value", "values", "seeds", "worst", "median",
        "min", "max", "mean", "interval", "holds", "failing_seeds", "only_if",
    }  # fmt: skip
    assert all(set(entry) == keys for entry in content["claims"])
    assert content["claims"][0]["values"] == [1.0, None]
    assert content["claims"][0]["interval"] is None
    assert content["claims"][1]["interval"] == [None, None]
    assert content["claims"][0]["failing_seeds"] == [1]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({}, "there is no bound"),
        ({"over": "median", "at_most": 1}, "over='median' is unknown"),
        ({"at_most": math.nan}, "at_most=nan must be a finite number"),
        ({"at_least": "1"}, "at_least='1' must be a finite number"),
        ({"at_most": True}, "at_most=True must be a finite number"),
        ({"between": [1.0]}, "must be two numbers"),
        ({"between": 1.0}, "must be two numbers"),
        ({"between": [2.0, 1.0]}, "no number is in"),
        ({"at_most": 1.0, "at_least": 2.0}, "no number is >= 2 and <= 1"),
        ({"near": {"value": 1.0}}, "keys value and within"),
        ({"near": 1.0}, "keys value and within"),
        (
            {"near": {"value": 1.0, "within": "one percent"}},
            "near.within='one percent' must be a finite number",
        ),
        ({"near": {"value": 1.0, "within": 0}}, "needs within > 0"),
        ({"near": {"value": 0.0, "within": "1%"}}, "value other than 0"),
    ],
)
def test_a_bad_bound_is_refused_in_one_line(claim, message):
    with pytest.raises(ValueError, match=r"^claims\.c\.") as error:
        read({"c": {"metric": METRIC, **claim}})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_read_refuses_unknown_and_missing_keys():
    assert read({"a": {"metric": METRIC, "at_most": 1}}) == {"a": Claim(metric=METRIC, at_most=1)}
    with pytest.raises(ValueError, match=r"claims\.a\.at_mots is unknown; did you mean 'at_most'\?"):
        read({"a": {"metric": METRIC, "at_mots": 1}})
    with pytest.raises(ValueError, match=r"claims\.a={'at_most': 1} must have a metric"):
        read({"a": {"at_most": 1}})
    with pytest.raises(ValueError, match=r"claims\.a='x' must have a metric"):
        read({"a": "x"})


def test_an_unknown_metric_is_named_with_its_nearest():
    class Loss:
        numbers = ("loss_ratio", "half_mse")

    known = metrics(["gd", "ridge"], {"loss": Loss}, {"norms": Loss})
    assert known == {f"{r}/{n}" for r in ("gd/loss", "ridge/loss", "probes/norms") for n in Loss.numbers}
    claims = {
        "a": Claim(metric="gd/loss/los_ratio", at_most=1),
        "b": Claim(metric="gd/loss/loss_ratio", at_most=1),
    }
    (only,) = unknown_metrics(claims, known)
    assert "claims.a.metric='gd/loss/los_ratio' is unknown; did you mean 'gd/loss/loss_ratio'?" in only
    with pytest.raises(ValueError, match="did you mean"):
        judge(claims, {"gd/loss/loss_ratio": [1.0]}, [0])


def test_numbers_and_seeds_must_match():
    with pytest.raises(ValueError, match="has 1 numbers for 2 seeds"):
        judge({"a": Claim(metric=METRIC, at_most=1)}, {METRIC: [1.0]}, [0, 1])


def test_an_average_is_judged_by_itself_with_its_interval_beside_it():
    values = [0.02, 0.08, 0.11]
    judged = verdict(values, over="average", at_least=0.05)
    assert judged.holds
    assert judged.interval == verdict(values, over="mean", at_least=0.05).interval
    assert not verdict(values, over="mean", at_least=0.05).holds
    assert not verdict(values, over="average", at_least=0.0701).holds
    assert not verdict([0.1, float("nan")], over="average", at_least=0.0).holds


def test_minus_is_a_difference_seed_by_seed():
    claims = read({"x": {"metric": "a/c/n", "minus": "b/c/n", "at_least": 0.0}})
    found = judge(claims, {"a/c/n": [1.0, 2.0, None], "b/c/n": [0.5, 3.0, 1.0]}, [0, 1, 2])[0]
    assert found.values[:2] == (0.5, -1.0)
    assert found.failing_seeds == (1, 2)
    assert found.to_json()["metric"] == "a/c/n − b/c/n"
    assert unknown_metrics(claims, {"a/c/n", "b/c/m"}) == [
        "claims.x.minus='b/c/n' is unknown; did you mean 'b/c/m'? (known: a/c/n, b/c/m)"
    ]
