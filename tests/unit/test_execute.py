"""Carrying out a plan: journal before each act, undo in reverse, one outcome whatever happens."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from ondeploy import commands
from ondeploy.errors import EngineError, LeaseLost, ReleaseUnhealthy, RouterRefused
from ondeploy.execute import execute
from ondeploy.model import Outcome, Release, Request, RouterState, Weights
from ondeploy.plan import Plan
from ondeploy.report import outcome_text
from ondeploy.steps import RemoveColor, Run
from tests.fakes import BLUE, GREEN, App, Host, make_settings


@dataclass
class Marked:
    """A step of the test's own: it notes what is asked of it, and fails where it is told to."""

    name: str
    notes: list[str]
    fails: Exception | None = None
    undo_fails: Exception | None = None
    detail: str = ""
    acts: Callable[[Run], None] = field(default=lambda run: None)

    def do(self, run: Run) -> str:
        self.notes.append(f"do {self.name}")
        run.touched = True
        self.acts(run)
        if self.fails:
            raise self.fails
        return ""

    def undo(self, run: Run) -> None:
        self.notes.append(f"undo {self.name}")
        if self.undo_fails:
            raise self.undo_fails


def carry_out(host: Host, *steps: Marked, undoable: bool = True) -> Outcome:
    """Execute steps of the test's own as a run that holds the lease."""
    host.lease.info = {"id": "L", "who": "ada"}
    release = Release("v2", "", "", "")
    run = Run(world=host.world, id="R", lease="L", model={}, release=release, versions={})
    plan = Plan("deploy", release, GREEN, BLUE, steps, {}, Weights.all_to(GREEN), undoable=undoable)
    return execute(plan, run)


def journal(host: Host) -> list[str]:
    """Event and step of everything journaled."""
    return [f"{e['event']} {e.get('step', '')}".strip() for e in host.journal.runs.get("R", ())]


def test_steps_run_in_order_each_journaled_before_it_acts() -> None:
    """After a kill -9 the journal is never behind what was done."""
    host, notes = Host(), list[str]()

    def note_journal(run: Run) -> None:
        notes.append(journal(host)[-1])

    ended = carry_out(host, Marked("a", notes, acts=note_journal), Marked("b", notes))
    assert notes == ["do a", "intend a", "do b"]
    assert journal(host) == ["intend a", "done a", "intend b", "done b", "end"]
    assert (ended.result, ended.code) == ("succeeded", 0)
    assert [record.name for record in ended.steps] == ["a", "b"]


def test_a_failure_undoes_every_begun_step_in_reverse() -> None:
    """Also the one that failed, since it may have done half of its work; not the ones after it."""
    host, notes = Host(), list[str]()
    failure = ReleaseUnhealthy("never ready", "look at its log")
    ended = carry_out(
        host, Marked("a", notes), Marked("b", notes, fails=failure), Marked("c", notes)
    )
    assert notes == ["do a", "do b", "undo b", "undo a"]
    assert journal(host) == ["intend a", "done a", "intend b", "failed", "undo b", "undo a", "end"]
    assert (ended.result, ended.code, ended.reason) == ("rolled-back", 4, "never ready")
    assert ended.hint == "look at its log"


def test_a_lost_lease_undoes_nothing() -> None:
    """Whoever holds the lease now is responsible: this run does not even journal its end."""
    host, notes = Host(), list[str]()
    lost = LeaseLost("taken over")
    ended = carry_out(host, Marked("a", notes), Marked("b", notes, fails=lost))
    assert notes == ["do a", "do b"]
    assert "end" not in journal(host)
    assert (ended.result, ended.code) == ("failed", 3)


def test_a_lease_lost_between_steps_stops_the_run() -> None:
    """The journal entry before the next step notices it, and that step never acts."""
    host, notes = Host(), list[str]()

    first = Marked("a", notes, acts=lambda run: overtaken(host))
    ended = carry_out(host, first, Marked("b", notes))
    assert notes == ["do a"]
    assert ended.code == 3


def overtaken(host: Host) -> None:
    """Another run takes the lease."""
    host.lease.info = {"id": "other", "who": "eve"}


def test_what_another_run_broke_is_not_undone() -> None:
    """The failure may be its doing: before anything is put back the lease is asked for, code 3."""
    host, notes = Host(), list[str]()
    failure = ReleaseUnhealthy("someone else moved the traffic away")
    step = Marked("b", notes, fails=failure, acts=lambda run: overtaken(host))
    ended = carry_out(host, Marked("a", notes), step)
    assert notes == ["do a", "do b"]
    assert (ended.result, ended.code) == ("failed", 3)
    assert "end" not in journal(host)


def test_why_it_failed_is_in_the_journal_before_the_undo() -> None:
    """Whoever finds a run that was killed in its undo can read what it was undoing, and why."""
    host, notes = Host(), list[str]()

    def note_journal(run: Run) -> None:
        notes.append(host.journal.runs["R"][-2]["reason"])

    class Told(Marked):
        def undo(self, run: Run) -> None:
            note_journal(run)

    carry_out(host, Told("a", notes, fails=ReleaseUnhealthy("never ready")))
    assert notes == ["do a", "never ready"]


def test_a_failure_that_cannot_be_journaled_is_undone_all_the_same() -> None:
    """A full disk must not keep visitors on a bad release; the person hears of it."""
    host, notes = Host(), list[str]()
    host.broken["journal failed"] = EngineError("disk full")
    ended = carry_out(host, Marked("a", notes, fails=ReleaseUnhealthy("it died")))
    assert notes == ["do a", "undo a"]
    assert (ended.result, ended.code) == ("rolled-back", 4)
    assert "not journaled: disk full" in host.said


def commit(run: Run) -> None:
    """Pass the commit point."""
    run.committed = True


@pytest.mark.parametrize("failure", [EngineError("gone"), KeyError("x")], ids=["engine", "bug"])
def test_after_the_commit_point_nothing_is_undone(failure: Exception) -> None:
    """The release is made: a failure behind that is told, and the release stands."""
    host, notes = Host(), list[str]()
    last = Marked("b", notes, acts=commit, fails=failure)
    ended = carry_out(host, Marked("a", notes), last)
    assert notes == ["do a", "do b"]
    assert (ended.result, ended.code) == ("succeeded", 0)
    assert any(line.startswith("after the commit point: ") for line in host.said)


def test_a_commit_whose_last_word_is_lost_is_a_release() -> None:
    """The engine falls silent right after the commit point: v2 keeps the traffic."""
    host = released()
    original = host.journal.append

    def append(run: str, event: str, facts: Mapping[str, Any], lease: str) -> None:
        if event == "done" and facts["step"] == "finish":
            raise EngineError("silent")
        original(run, event, facts, lease)

    host.journal.append = append  # type: ignore[method-assign]
    ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code, host.traffic) == ("succeeded", 0, GREEN)
    assert (host.runs(BLUE), host.runs(GREEN)) == ("v1", "v2")


def test_a_plan_that_tidies_up_is_never_undone() -> None:
    """A recovery that fails keeps what it reached; its outcome has the failure and its code."""
    host, notes = Host(), list[str]()
    failure = EngineError("gone", "try again")
    ended = carry_out(host, Marked("a", notes), Marked("b", notes, fails=failure), undoable=False)
    assert notes == ["do a", "do b"]
    assert journal(host) == ["intend a", "done a", "intend b", "end"]
    assert (ended.result, ended.code, ended.hint) == ("failed", 2, "try again")


def test_a_failing_undo_needs_an_operator() -> None:
    """Exit code 6 with both reasons; the other steps are undone all the same."""
    host, notes = Host(), list[str]()
    ended = carry_out(
        host,
        Marked("a", notes),
        Marked("b", notes, undo_fails=EngineError("the engine vanished")),
        Marked("c", notes, fails=ReleaseUnhealthy("it died")),
    )
    assert notes[-3:] == ["undo c", "undo b", "undo a"]
    assert (ended.result, ended.code) == ("failed", 6)
    assert "it died; then the rollback failed too: b: the engine vanished" in ended.reason
    assert "invoke recover" in ended.hint


def test_a_bug_is_one_clear_message_and_undone() -> None:
    """An exception nobody thought of: exit code 1, where it was, no traceback, and all undone."""
    host, notes = Host(), list[str]()
    ended = carry_out(host, Marked("a", notes, fails=ZeroDivisionError("division by zero")))
    assert notes == ["do a", "undo a"]
    assert (ended.result, ended.code) == ("rolled-back", 1)
    assert "a fault in ondeploy itself: ZeroDivisionError: division by zero" in ended.reason
    assert "test_execute.py:" in ended.reason
    assert "\n" not in ended.reason
    assert "Traceback" not in outcome_text(ended)


def test_a_failure_before_any_change_is_no_rollback() -> None:
    """Nothing was touched, so the result is `failed` and nothing is undone."""
    host, notes = Host(), list[str]()

    def untouched(run: Run) -> None:
        run.touched = False

    step = Marked("a", notes, acts=untouched, fails=EngineError("no engine"))
    ended = carry_out(host, step)
    assert notes == ["do a"]
    assert (ended.result, ended.code) == ("failed", 2)


def test_an_end_that_cannot_be_journaled_is_told() -> None:
    """The outcome stands; the person hears that history lacks this run's end."""
    host = Host()
    host.broken["journal end"] = EngineError("disk full")
    ended = carry_out(host, Marked("a", []))
    assert ended.result == "succeeded"
    assert "the end of this run could not be journaled: disk full" in host.said


def test_an_engine_that_is_gone_at_the_end_leaves_traffic_unknown() -> None:
    """The outcome claims nothing that could not be read."""
    host = Host()
    host.broken["router.observe"] = EngineError("gone")
    ended = carry_out(host, Marked("a", []))
    assert (ended.active, ended.active_version) == (None, "unknown: nginx does not answer")


# the real steps of a release, each failing in turn


def released(**apps: App) -> Host:
    """A host where v1 has the traffic in blue, and v0 is warm in green."""
    bake = {"minutes": 1, "deadline_minutes": 1}
    smoke = [{"path": "/api/version", "json": {"version": "{version}"}}]
    checks = [{"name": "data", "service": "catalog", "command": ["ls"]}]
    host = Host(make_settings(bake=bake, smoke=smoke, checks=checks), **apps)
    host.put(BLUE, "v1")
    host.router.send(Weights.all_to(BLUE))
    return host


FAILURES: Mapping[str, tuple[str, Exception, int]] = {
    "check-platform": ("stack.exec", EngineError("gone"), 2),
    "prepare-images": ("stack.pull", EngineError("no route to the registry"), 2),
    "start-standby": ("stack.up", EngineError("no space left"), 2),
    "stage-router": ("router.stage", RouterRefused("nginx rejects it"), 2),
    "shift": ("router.activate", RouterRefused("nginx did not apply it"), 2),
    "drain": ("router.drained", EngineError("gone"), 2),
    "finish": ("journal commit", EngineError("disk full"), 2),
}


@pytest.mark.parametrize("step", FAILURES)
def test_whichever_step_fails_traffic_ends_where_it_was(step: str) -> None:
    """Every step of a release fails once: v1 has the traffic, and nothing is left of v2."""
    host = released()
    call, failure, code = FAILURES[step]
    host.broken_once[call] = failure
    ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert ended.code == code
    assert ended.steps[-1].name == step
    assert ended.steps[-1].status == "failed"
    assert failure.args[0] in ended.reason
    assert host.traffic is BLUE
    assert (host.runs(BLUE), host.runs(GREEN)) == ("v1", "")
    assert (ended.active, ended.active_version) == (BLUE, "v1")
    assert host.lease.info is None


@pytest.mark.parametrize(
    ("app", "step", "code", "words"),
    [
        (App(ready_after=1e9), "wait-ready", 4, "/health: answered 503"),
        (App(dies_after=0), "wait-ready", 4, "ended with exit code 137"),
        (App(says="0.9"), "smoke", 4, "version is '0.9', expected '2'"),
        (App(error_share=0.2), "bake", 5, "the error rate condemns v2"),
        (App(dies_after=30), "bake", 4, "the release is unavailable"),
        (App(sick_after=20), "bake", 4, "liveness failed 3 times in a row"),
    ],
    ids=["never-healthy", "crash", "smoke", "errors", "dies-in-bake", "sick-in-bake"],
)
def test_whatever_is_wrong_with_a_release_it_is_rolled_back(
    app: App, step: str, code: int, words: str
) -> None:
    """A bad release is found where it shows, undone by itself, and named in one sentence."""
    host = released(v2=app)
    ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code) == ("rolled-back", code)
    assert ended.steps[-1].name == step
    assert words in ended.reason
    assert host.traffic is BLUE
    assert (host.runs(BLUE), host.runs(GREEN)) == ("v1", "")


def test_a_shift_back_that_fails_keeps_the_color_that_answers() -> None:
    """v2 is bad, but nginx cannot be sent back to v1: v2 stays, bad as it is, and code 6."""
    host = released(v2=App(error_share=0.2))
    host.clock.later(2.5, lambda: host.broken.update({"router.activate": RouterRefused("no")}))
    ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code) == ("failed", 6)
    assert (host.traffic, host.runs(BLUE), host.runs(GREEN)) == (GREEN, "v1", "v2")
    assert (ended.active, ended.active_version) == (GREEN, "v2")
    assert "shift: no" in ended.reason
    assert "start-standby: green is left as it is: nginx does not confirm" in ended.reason
    assert "stack.remove green" not in host.calls


@pytest.mark.parametrize(
    "state",
    [
        None,
        RouterState(False, 8, 8, Weights.all_to(BLUE), (1, 29, 0), True),
        RouterState(True, 8, 8, Weights(99, 1), (1, 29, 0), True),
    ],
    ids=["unknown", "silent", "one-percent"],
)
def test_only_what_nginx_itself_calls_idle_is_removed(state: RouterState | None) -> None:
    """What the volume says is no proof, and neither is a small share: the color stays."""
    host = released()
    host.put(GREEN, "v0")
    host.router.state = state
    host.lease.info = {"id": "L", "who": "ada"}
    release = Release("v0", "", "", "")
    run = Run(world=host.world, id="R", lease="L", model={}, release=release, versions={})
    with pytest.raises(EngineError, match="green is left as it is") as caught:
        RemoveColor(GREEN, "v0").do(run)
    assert "invoke recover" in caught.value.hint
    assert host.runs(GREEN) == "v0"


@pytest.mark.parametrize("command", ["deploy", "prune"])
def test_after_a_long_wait_the_lease_is_asked_for_again(command: str) -> None:
    """A run that was overtaken while requests ended removes nothing from the next one's hands."""
    host = released()
    host.put(GREEN, "v0")
    host.router.busy = 30
    host.clock.later(10, lambda: overtaken(host))
    if command == "deploy":
        ended = commands.deploy(host.world, Request("deploy", "v2"))
    else:
        ended, _ = commands.prune(host.world, Request("prune"))
    assert (ended.result, ended.code) == ("failed", 3)
    assert host.runs(GREEN) == "v0"


def test_a_broken_template_does_not_cost_the_warm_release() -> None:
    """nginx refuses the configuration before the standby makes room: v0 may still be gone to."""
    host = released()
    host.put(GREEN, "v0")
    host.broken_once["router.stage"] = RouterRefused("nginx rejects it")
    ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code) == ("failed", 2)
    assert (host.traffic, host.runs(GREEN)) == (BLUE, "v0")


def test_an_nginx_that_falls_silent_in_the_bake_is_told() -> None:
    """After fifteen seconds the run fails; nothing is removed while traffic is unknown."""
    host = released()
    host.clock.later(20, partial(host.router.send, Weights.all_to(GREEN), serving=False))
    host.clock.later(20, lambda: host.broken.update({"router.stage": EngineError("no nginx")}))
    ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code) == ("failed", 6)
    assert "nginx does not answer" in ended.reason
    assert (host.runs(BLUE), host.runs(GREEN)) == ("v1", "v2")
    assert (ended.active, ended.active_version) == (None, "unknown: nginx does not answer")


def test_a_signal_in_the_bake_rolls_back() -> None:
    """Ctrl-C while the release is watched: exit code 130, and v1 has the traffic again."""
    host = released()
    host.clock.later(20, lambda: signal.raise_signal(signal.SIGINT))
    with host.signals.listening():
        ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code) == ("rolled-back", 130)
    assert ended.reason == "stopped by SIGINT"
    assert host.traffic is BLUE
    assert host.runs(GREEN) == ""


def test_a_second_signal_does_not_break_the_undo() -> None:
    """An impatient second signal while requests in flight end: the undo is finished."""
    host = released()
    host.router.busy = 21.5
    host.clock.later(20, lambda: signal.raise_signal(signal.SIGINT))
    host.clock.later(20.5, lambda: signal.raise_signal(signal.SIGTERM))
    with host.signals.listening():
        ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code, ended.reason) == ("rolled-back", 130, "stopped by SIGINT")
    assert (host.traffic, host.runs(GREEN)) == (BLUE, "")


def test_a_cancelled_job_is_undone_in_seconds() -> None:
    """GitHub kills after ten: traffic goes back, and what still answers requests is left to end."""
    host = released()
    host.router.busy = 1e6
    host.clock.later(20, lambda: signal.raise_signal(signal.SIGINT))
    with host.signals.listening():
        ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert (ended.result, ended.code) == ("rolled-back", 130)
    assert host.clock.seconds < 27
    assert (host.traffic, host.runs(GREEN)) == (BLUE, "v2")
    assert "green still answers requests in flight: it is left running" in host.said


def test_a_first_release_that_fails_leaves_no_release() -> None:
    """There is nothing to go back to: nginx says so, and the color is empty."""
    host = Host(v1=App(ready_after=1e9))
    host.stack.platform = {}
    ended = commands.deploy(host.world, Request("deploy", "v1"))
    assert (ended.result, ended.code) == ("rolled-back", 4)
    assert host.traffic is None
    assert host.runs(BLUE) == ""


def test_the_order_of_calls_of_a_whole_release() -> None:
    """Every change is between its `intend` and its `done` in the journal."""
    host = released()
    ended = commands.deploy(host.world, Request("deploy", "v2"))
    assert ended.code == 0
    changes = [
        call
        for call in host.calls
        if call.split()[0] in ("stack.up", "router.activate", "journal", "stack.remove")
    ]
    expected: list[Any] = [
        ("journal intend start-standby", "stack.up green", "journal done start-standby"),
        ("journal intend shift", "router.activate 0 100", "journal done shift"),
    ]
    for before, act, after in expected:
        assert changes.index(before) < changes.index(act) < changes.index(after)
    assert changes[-1] == "journal end succeeded"
