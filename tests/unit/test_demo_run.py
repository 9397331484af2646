"""The demo's story and its verdict, from hand-made records; no engine, no load."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from demo import story
from demo.display import Scene
from demo.load import Failure, FailureSample, Record, Report, Snapshot
from demo.load.records import Log
from demo.run import with_reason
from demo.story import ACTS, Act, Played, last_line, problem_of, summarise

pytestmark = pytest.mark.unit

ACTIVE = ("blue", "green", "blue", "green", "green", "blue")
TARGETS = ("blue", "green", "blue", "green", "blue", "blue")
FAULT = '500: {"error":"fault: FAULT_ERROR_RATE"}'


def answer(at: float, color: str | None, **changes: Any) -> Record:
    plain = Record("keepalive-get", at - 0.01, at - 0.01, at, 200, None, color)
    return replace(plain, **changes)


def error(at: float, color: str = "blue") -> Record:
    return answer(at, color, status=500, failure=Failure.SERVER_ERROR)


def play(number: int, **changes: Any) -> Played:
    """The act of that number as it should go; acts start at 0, 10, 20 ... s, the first before."""
    act = ACTS[number]
    before = ACTIVE[number - 1] if number else ""
    plain = Played(
        act=act,
        seconds=2.0,
        code=act.code,
        outcome={"active": ACTIVE[number], "active_version": act.serves, "steps": []},
        before=before,
        before_version=ACTS[number - 1].serves if number else "",
        target=TARGETS[number],
        started=(number - 1) * 10.0 if number else None,
    )
    return replace(plain, **changes)


def report(records: Iterable[Record], samples: tuple[FailureSample, ...] = ()) -> Report:
    log = Log()
    for record in sorted(records, key=lambda record: record.finished):
        log.append(record)
    return Report(started_at=0.0, seconds=60.0, log=log, samples=samples)


def whole() -> tuple[list[Played], list[Record]]:
    """A demo as it should go: each act's first answers are from the color before it."""
    played = [play(number) for number in range(len(ACTS))]
    records = []
    for each in played[1:]:
        assert each.started is not None
        records += [answer(each.started + 0.5, each.before)]
        records += [answer(each.started + 1 + n / 100, each.active) for n in range(60)]
    bad = played[4]
    assert bad.started is not None
    records += [answer(bad.started + 2, bad.target), error(bad.started + 5.5)]
    return played, records


def test_the_order_of_the_story() -> None:
    """Both ways back are shown, the bad version ends at the one before, the end is a good one."""
    assert [act.title for act in ACTS] == [
        "deploy v1.0.0",
        "deploy v2.0.0",
        "rollback",
        "rollback --to v2.0.0",
        "deploy v3.0.0-bad",
        "rollback",
    ]
    bad = next(number for number, act in enumerate(ACTS) if act.is_bad)
    assert ACTS[bad].code == 5
    assert ACTS[bad].serves == ACTS[bad - 1].serves
    assert not ACTS[-1].is_bad
    assert ACTS[0].command("--json")[-3:] == ("--env", "demo", "--json")


def test_a_good_demo() -> None:
    """A demo in which all went as it should says so in its last line."""
    played, records = whole()
    sample = FailureSample(35.5, Failure.SERVER_ERROR, "keepalive-get", FAULT)
    summary = summarise(played, report(records, (sample,)))
    assert summary.problems == ()
    assert last_line(summary) == (
        f"demo: ok, {len(records)} requests, 0 failed during switches, "
        "bad release rolled back in 3.5 s"
    )


def test_its_table() -> None:
    """Errors that were asked for are told beside the failed requests, not among them."""
    played, records = whole()
    played[2] = play(2, outcome={**played[2].outcome, "steps": [{"name": "shift"}]})
    played[5] = play(5, outcome={**played[5].outcome, "steps": [{"name": "start-standby"}]})
    rows = summarise(played, report(records)).rows
    assert (rows[0].requests, rows[0].lost) == (None, None)
    assert [row.lost for row in rows[1:]] == [0, 0, 0, 0, 0]
    assert sum(row.requests or 0 for row in rows) == len(records)
    assert rows[1].note == "v1.0.0 stays warm in blue"
    assert rows[2].note == "warm: the last answer of v2.0.0 came 0.50 s after the command began"
    assert rows[4].result == "rolled back by itself, green"
    assert rows[4].note.startswith("1 visitors met an error before it was rolled back: 3.5 s")
    assert rows[5].note.startswith("cold: ")
    assert all(len(figures) <= 80 for figures, _ in story.table_lines(rows))


@pytest.mark.parametrize(
    "lost",
    [
        error(15.0),  # in a switch of a good version
        error(35.0, "green"),  # by the good color, while the bad one was out
        answer(35.0, "blue", status=502, failure=Failure.SERVER_ERROR),  # by nginx
        answer(35.0, None, status=None, failure=Failure.EOF),
        answer(49.0, None, status=None, failure=Failure.TIMEOUT),  # after the last act
    ],
)
def test_any_other_failed_request_fails_the_demo(lost: Record) -> None:
    """One lost request that was not asked for is a failed demo."""
    played, records = whole()
    ending = [answer(61 + n / 100, "blue") for n in range(50)]
    summary = summarise(played, report([*records, lost, *ending]))
    assert summary.lost == 1
    assert f"1 request (1 {lost.failure}) failed" in last_line(summary)
    assert last_line(summary).startswith("demo: FAILED: ")


def test_an_error_that_was_not_asked_for_fails_the_demo() -> None:
    """Status 500 of the bad color alone does not make it one."""
    played, records = whole()
    sample = FailureSample(35.5, Failure.SERVER_ERROR, "keepalive-get", "500: internal error")
    (problem,) = summarise(played, report(records, (sample,))).problems
    assert problem.endswith("not asked for: 500: internal error")


def test_a_bad_version_that_nobody_noticed_fails_the_demo() -> None:
    """A bad release without failed requests has shown nothing."""
    played, records = whole()
    fine = [record for record in records if record.failure is None]
    (problem,) = summarise(played, report(fine)).problems
    assert "no visitor met an error" in problem


def test_the_bad_version_s_time_begins_with_its_own_first_visitor() -> None:
    """Not with an upload that began while the version before it was in that color."""
    played, records = whole()
    upload = answer(31.0, "blue", traffic="upload", sent=25.0)
    assert summarise(played, report([*records, upload])).bad_seconds == pytest.approx(3.51)


def test_traffic_has_to_end_on_the_release_that_the_last_act_names() -> None:
    """Who answers last is looked at, not believed."""
    played, records = whole()
    (problem,) = summarise(played, report([*records, answer(61.0, "green")])).problems
    assert problem == "the last answers came from blue and green, not from blue"


def test_an_act_that_ends_otherwise() -> None:
    """A command that ends with another result than the story's is named with its reason."""
    good = play(1)
    assert problem_of(good) == ""
    assert problem_of(replace(good, code=4, outcome={"reason": "never ready"})) == (
        "deploy v2.0.0: exit code 4 instead of 0: never ready"
    )
    assert problem_of(replace(good, outcome={"active": "blue", "active_version": "v1.0.0"})) == (
        "deploy v2.0.0: v1.0.0 has the traffic instead of v2.0.0"
    )


def test_a_story_that_ended_early_names_its_reason_first_and_once() -> None:
    """What went wrong is not buried under what follows from it."""
    failed = play(1, code=4, outcome={"reason": "never ready", "active": "blue"})
    summary = summarise([play(0), failed], None)
    (reason,) = summary.problems
    assert with_reason(summary, reason).problems == (reason,)
    assert last_line(with_reason(summary, "interrupted")) == "demo: FAILED: interrupted"
    assert summary.rows[1].result == "failed"


def scene(act: Act, target: str, *steps: str) -> Scene:
    found = Scene(held={"blue": "v1.0.0"}, played=[play(0)])
    found.begin(act, [{"name": name, "detail": ""} for name in steps], target)
    return found


def test_the_glossary_s_word_for_each_color_as_a_release_goes_on() -> None:
    """The display says active, standby and empty as the traffic moves."""
    seen = scene(ACTS[1], "green", "start-standby", "shift", "bake", "finish")
    seen.traffic(snapshot(blue=100.0))
    assert (seen.role("blue"), seen.role("green")) == ("active", "empty")
    seen.line("start-standby: done in 0.50 s")
    assert (seen.held["green"], seen.role("green")) == ("v2.0.0", "standby")
    seen.line("shift: done in 0.40 s (confirmed, generation 3)")
    seen.traffic(snapshot(blue=10.0, green=90.0))
    seen.line("bake 0/15 s: no request counted yet")
    assert (seen.role("blue"), seen.role("green")) == ("standby, warm", "active, baking")
    assert not seen.given_up


def test_a_release_that_is_given_up() -> None:
    """The display shows a color that is emptied again."""
    seen = scene(ACTS[4], "green", "start-standby", "shift", "bake", "finish")
    seen.traffic(snapshot(failed=1))
    seen.begin(ACTS[4], seen.steps, "green")
    for line in ("start-standby: done in 0.5 s", "shift: done in 0.4 s"):
        seen.line(line)
    seen.traffic(snapshot(failed=8, green=100.0))
    seen.line("the error rate condemns v3.0.0-bad: 7 of 30 requests failed")
    assert seen.given_up
    seen.traffic(snapshot(failed=8, blue=100.0))
    assert (seen.role("blue"), seen.role("green")) == ("active", "leaving")
    assert seen.counts.endswith("1 failed, and 7 while the bad version was out")
    seen.end(play(4, target="green", outcome={"result": "rolled-back"}))
    assert seen.role("green") == "empty"


def snapshot(failed: int = 0, **shares: float) -> Snapshot:
    return Snapshot(
        seconds=1.0, requests=100, failed=failed, rps=350.0, shares=shares, running=True
    )
