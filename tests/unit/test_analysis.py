"""The judge: it may look after every scrape and keeps its promise."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondeploy.analysis import (
    AbsoluteTest,
    Counts,
    Reading,
    Verdict,
    explain,
    judge_bake,
    log_add,
)

LIMIT = 0.05
INTERVALS = st.lists(
    st.integers(0, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=30
)


def judged(*intervals: tuple[float, float], alpha: float = 0.01) -> AbsoluteTest:
    """The test after intervals of (requests, bad ones)."""
    test = AbsoluteTest(LIMIT, alpha)
    for total, bad in intervals:
        test = test.add(Counts(total, bad))
    return test


@given(INTERVALS, st.integers(0, 29))
def test_one_more_bad_request_never_helps(intervals: list[tuple[int, int]], at: int) -> None:
    """The evidence only grows when a good request turns bad, in whichever interval."""
    worse = [
        (total, min(bad + 1, total)) if n == at else (total, bad)
        for n, (total, bad) in enumerate(intervals)
    ]
    assert judged(*worse).log_evidence >= judged(*intervals).log_evidence - 1e-9


@given(INTERVALS)
def test_empty_intervals_change_nothing(intervals: list[tuple[int, int]]) -> None:
    """Looking more often than there are requests is free."""
    sparse = [each for interval in intervals for each in ((0, 0), interval, (0, 0))]
    assert judged(*sparse) == judged(*intervals)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6), st.randoms())
def test_the_order_of_instances_does_not_matter(
    instances: list[tuple[int, int]], shuffler: random.Random
) -> None:
    """An interval is what all instances counted, however the answer lists them."""
    now = [(f"i{n}", Counts(good + bad, bad)) for n, (good, bad) in enumerate(instances)]
    _, straight = Reading().new(dict(now))
    shuffler.shuffle(now)
    _, shuffled = Reading().new(dict(now))
    assert straight == shuffled
    assert judged().add(straight) == judged().add(shuffled)


@given(st.floats(-700, 700), st.floats(-700, 700))
def test_log_add_is_addition(a: float, b: float) -> None:
    """In logarithms, without leaving them."""
    assert log_add(a, b) == pytest.approx(max(a, b) + math.log1p(math.exp(-abs(a - b))))
    assert log_add(a, b) == log_add(b, a)


def test_log_add_knows_nothing_and_much() -> None:
    """Nothing plus something is something; sums beyond a float's range stay finite."""
    assert log_add(-math.inf, 3.0) == 3.0
    assert log_add(-math.inf, -math.inf) == -math.inf
    assert log_add(1e6, 1e6) == pytest.approx(1e6 + math.log(2))


def test_ten_million_requests_are_no_problem() -> None:
    """Numbers stay finite, below and above the limit, in one interval or in many."""
    good = judged(*[(1e5, 1e3)] * 100)
    assert math.isfinite(good.log_evidence)
    assert not good.exceeded
    bad = judged((1e7, 2e6))
    assert math.isfinite(bad.log_evidence)
    assert bad.exceeded
    assert "inf" not in explain(bad)


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_release_without_errors_is_never_condemned(looks: int, requests: int) -> None:
    """However often one looks."""
    assert not judged(*[(requests, 0)] * min(looks, 60)).exceeded


def test_one_error_in_three_requests_condemns_nobody() -> None:
    """Nor do two in three: a handful of requests is no rate."""
    assert not judged((3, 1)).exceeded
    assert not judged((3, 2)).exceeded


@pytest.mark.parametrize("seconds", [1, 5])
def test_a_bad_release_is_caught_after_a_few_dozen_requests(seconds: int) -> None:
    """20 % errors from the start: condemned within 60 requests, at ten a second."""
    test, seen = judged(), 0
    while not test.exceeded:
        test = test.add(Counts(10 * seconds, 2 * seconds))
        seen += 10 * seconds
    assert seen <= 60


def test_good_minutes_are_no_credit() -> None:
    """20 % errors after five good minutes: condemned within 120 requests, as if just started."""
    test, seen = judged(*[(50, 0)] * 60), 0
    while not test.exceeded:
        test = test.add(Counts(10, 2))
        seen += 10
    assert seen <= 120


class FastTest:
    """The same evidence as AbsoluteTest for intervals of one size, in plain multiplications."""

    def __init__(self, requests: int) -> None:
        alternatives = AbsoluteTest(LIMIT, 0.01).alternatives
        self.factors = [
            [(p / LIMIT) ** bad * ((1 - p) / (1 - LIMIT)) ** (requests - bad) for p in alternatives]
            for bad in range(requests + 1)
        ]
        self.sums = [0.0] * len(alternatives)

    def highest(self, bads: list[int]) -> float:
        """The largest evidence at any look of a run."""
        count, highest = len(self.sums), 1.0
        a, b, c, d, e = self.sums
        for k, bad in enumerate(bads, 1):
            weight = 1 / (k * (k + 1))
            f, g, h, i, j = self.factors[bad]
            a, b, c = (a + weight) * f, (b + weight) * g, (c + weight) * h
            d, e = (d + weight) * i, (e + weight) * j
            evidence = (a + b + c + d + e) / count + 1 / (k + 1)
            highest = max(highest, evidence)
        return highest


def test_false_alarms_stay_below_alpha() -> None:
    """2,000 releases exactly at the limit, looked at 300 times each: at most alpha are condemned.

    The bound has three standard deviations of the simulation on top.
    """
    requests, looks, runs = 10, 300, 2000
    fast = FastTest(requests)
    source = random.Random(20250101)
    share = [
        math.comb(requests, bad) * LIMIT**bad * (1 - LIMIT) ** (requests - bad)
        for bad in range(requests + 1)
    ]
    simulated = [source.choices(range(requests + 1), share, k=looks) for _ in range(runs)]
    highest = [fast.highest(bads) for bads in simulated]
    for bads, found in zip(simulated[:3], highest, strict=False):
        slow = AbsoluteTest(LIMIT, 0.01)
        evidence = [0.0]
        for bad in bads:
            slow = slow.add(Counts(requests, bad))
            evidence.append(slow.log_evidence)
        assert max(evidence) == pytest.approx(math.log(found), abs=1e-9)
    for alpha in (0.2, 0.05, 0.01):
        alarms = sum(each >= 1 / alpha for each in highest)
        assert alarms / runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def test_counters_become_what_is_new() -> None:
    """Since the baseline; an instance that was not there started from nothing."""
    reading = Reading({"a": Counts(100, 5)})
    reading, fresh = reading.new({"a": Counts(110, 6), "b": Counts(3, 1)})
    assert fresh == Counts(13, 2)
    _, fresh = reading.new({"a": Counts(110, 6), "b": Counts(3, 1)})
    assert fresh == Counts(0, 0)


def test_a_counter_that_was_reset_counts_from_zero() -> None:
    """A restarted process loses nothing but what it had not been asked for."""
    reading = Reading({"a": Counts(100, 50)})
    _, fresh = reading.new({"a": Counts(4, 1)})
    assert fresh == Counts(4, 1)


def test_an_instance_that_vanished_is_remembered() -> None:
    """A scrape that misses an instance is no reset: its requests are not counted twice."""
    reading, _ = Reading().new({"a": Counts(100, 0)})
    reading, fresh = reading.new({})
    assert fresh == Counts(0, 0)
    _, fresh = reading.new({"a": Counts(105, 0)})
    assert fresh == Counts(5, 0)


GOOD = judged(*[(50, 1)] * 20)


@pytest.mark.parametrize(
    ("test", "elapsed", "data_ok", "verdict"),
    [
        (GOOD, 300, True, Verdict.PASS),
        (GOOD, 299, True, Verdict.INCONCLUSIVE),
        (GOOD, 900, False, Verdict.INCONCLUSIVE),
        (judged((50, 0)), 300, True, Verdict.INCONCLUSIVE),
        (judged(), 900, True, Verdict.INCONCLUSIVE),
        (judged((100, 6)), 300, True, Verdict.INCONCLUSIVE),
        (judged((100, 50)), 1, True, Verdict.FAIL),
        (judged((100, 50)), 1, False, Verdict.FAIL),
    ],
    ids=["pass", "early", "no-data", "few", "none", "above", "fail", "fail-without-data"],
)
def test_the_verdict(test: AbsoluteTest, elapsed: float, data_ok: bool, verdict: Verdict) -> None:
    """PASS needs time, enough requests, current data and a good share; FAIL needs only proof."""
    assert judge_bake(test, elapsed, 300, 60, data_ok) is verdict


def test_the_numbers_behind_a_verdict() -> None:
    """A person reads counts, the share and the limit."""
    assert explain(judged()) == "no request counted yet"
    assert explain(judged((100, 2))).startswith("2 of 100 requests failed (2.00 %, limit 5 %;")
