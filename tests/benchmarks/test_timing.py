"""The arithmetic of paired timing, on a clock that only moves when a call moves it."""

import pytest

from icl.benchmarks.timing import Candidate, Clock, Ratio, Row, Spread, Verdict, in_turn, paired, seconds_a_call


class Machine:
    """A clock, and calls that take as long as they say; `slow` is the drift."""

    def __init__(self):
        self.now, self.slow, self.waited, self.calls = 0.0, 1.0, 0, []

    def clock(self) -> Clock:
        return Clock("fake", lambda: self.now, self.wait, lambda: self.now)

    def wait(self) -> None:
        self.waited += 1

    def takes(self, seconds: float, name: str = ""):
        def call():
            self.calls.append(name)
            self.now += seconds * self.slow

        return call


def test_candidates_go_there_and_back():
    order = []
    found = in_turn(["a", "b", "c"], 3, lambda name: order.append(name) or float(len(order)))
    assert order == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert found == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


@pytest.mark.parametrize(("seconds", "n_calls"), [(1.0, 4), (0.9, 4), (0.0, 1), (0.2, 1)])
def test_a_call_is_repeated_until_its_time_is_over(seconds, n_calls):
    machine = Machine()
    assert seconds_a_call(machine.takes(0.25), seconds, machine.clock()) == pytest.approx(0.25)
    assert len(machine.calls) == n_calls
    assert machine.waited == 2  # before the clock is started, and before it is read


def test_work_that_the_device_still_has_to_do_is_counted():
    machine = Machine()
    queued = []

    def wait():
        machine.now += sum(queued)
        queued.clear()

    lazy = Clock("fake", lambda: machine.now, wait, lambda: machine.now + 0.1 * len(queued))
    assert seconds_a_call(lambda: queued.append(3.0), 0.2, lazy) == pytest.approx(3.0)


def test_a_ratio_is_taken_round_by_round():
    """The machine is four times slower in the second round; ratios of medians would be wrong, paired ones are not."""
    machine = Machine()
    rounds = iter([1.0, 1.0, 4.0, 4.0, 2.0, 2.0])

    def drifting(seconds: float):
        def call():
            machine.slow = next(rounds)
            machine.takes(seconds)()

        return call

    bank = Candidate(name="bank", call=drifting(3.0), work=8, ratios=[Ratio(to="one", at_least=2.5)])
    one, banked = paired(
        [Candidate(name="one", call=drifting(1.0)), bank], rounds=3, seconds=0, clock=machine.clock(), warm=0
    )
    assert list(one.seconds) == [1.0, 4.0, 2.0]
    assert list(banked.seconds) == [3.0, 12.0, 6.0]
    (verdict,) = banked.verdicts
    value = verdict.value
    assert [value.low, value.median, value.high] == pytest.approx([8 / 3] * 3)
    assert verdict.met


def test_a_share_of_the_peak_is_a_ratio_of_flop():
    machine = Machine()
    small = Candidate(
        name="small", call=machine.takes(2.0), flop=10, ratios=[Ratio(to="peak", of="flop", at_least=0.4)]
    )
    row, _ = paired(
        [small, Candidate(name="peak", call=machine.takes(1.0), flop=20)], rounds=2, seconds=0, clock=machine.clock()
    )
    assert row.verdicts[0].value.median == pytest.approx((10 / 2) / (20 / 1))
    assert row.verdicts[0].met is False


def test_every_candidate_is_warm_before_any_is_timed():
    machine = Machine()
    candidates = [Candidate(name=name, call=machine.takes(1.0, name)) for name in "ab"]
    paired(candidates, rounds=2, seconds=0, clock=machine.clock(), warm=2)
    assert "".join(machine.calls) == "aabb" + "ab" + "ba"


def test_a_spread_is_median_and_range():
    assert Spread.of([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)
    assert Spread.of(iter([1.0, 2.0])) == Spread(1.5, 1.0, 2.0)


@pytest.mark.parametrize(
    ("bounds", "met"),
    [({}, None), ({"at_least": 2.0}, True), ({"at_least": 2.1}, False), ({"at_most": 2.0}, True),
     ({"at_most": 1.9}, False), ({"at_least": 1.0, "at_most": 3.0}, True)],
)  # fmt: skip
def test_the_median_is_held_against_the_goal(bounds, met):
    verdict = Verdict(what="x one", value=Spread(2.0, 0.0, 9.0), **bounds)
    assert verdict.met is met
    assert ("MISSED" in str(verdict)) == (met is False)
    assert (": met" in str(verdict)) == (met is True)


def test_a_row_says_and_records_rates():
    verdict = Verdict(what="x one", value=Spread(5.0, 4.0, 6.0), at_least=4.0)
    row = Row(name="bank", seconds=[0.002, 0.001, 0.004], work=32, flop=4e6, unit="models*steps", verdicts=[verdict])
    found = row.record()
    assert found["ms"] == {"median": 2.0, "min": 1.0, "max": 4.0, "rounds": [2.0, 1.0, 4.0]}
    assert found["models*steps/s"] == pytest.approx(16_000)
    assert found["GF/s"] == pytest.approx(2.0)
    assert found["numbers"] == [
        {"what": "x one", "median": 5.0, "min": 4.0, "max": 6.0, "at_least": 4.0, "at_most": None, "met": True}
    ]
    text = str(row)
    for part in ("2 [1..4] ms", "1.6e+04 models*steps/s", "2 GF/s", "5 [4..6] x one, goal >= 4: met"):
        assert part in text
    assert "no goal" in str(Row(name="share", verdicts=[Verdict(what="no goal", value=Spread(1.0, 1.0, 1.0))]))
