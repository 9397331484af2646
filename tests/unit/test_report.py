"""What people read and scripts parse: the contract of DESIGN.md, section 4."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ondeploy import commands, report
from ondeploy.errors import (
    AnalysisFailed,
    ConfigError,
    EngineError,
    Interrupted,
    LeaseHeld,
    LeaseLost,
    OndeployError,
    PreflightFailed,
    ReleaseUnhealthy,
    RollbackFailed,
    RouterRefused,
    UsageError,
)
from ondeploy.model import (
    LeaseInfo,
    Outcome,
    Request,
    RouterState,
    RunSummary,
    Snapshot,
    StepRecord,
    Weights,
)
from tests.fakes import BLUE, EPOCH, GREEN, Host, compose_model, make_settings

RUN = RunSummary(
    "20250101T120000000000Z-abc",
    "deploy",
    "v2",
    "succeeded",
    "",
    EPOCH,
    EPOCH + timedelta(minutes=5),
    "ada@example",
)
LEASE = LeaseInfo("L", "ada@example", "deploy", "v3", EPOCH, EPOCH + timedelta(seconds=30))
ROUTER = RouterState(True, 7, 7, Weights.all_to(BLUE), (1, 29, 0), True)
DONE = Outcome(
    run="R",
    command="deploy",
    version="v2",
    result="succeeded",
    code=0,
    reason="",
    hint="",
    active=GREEN,
    active_version="v2",
    steps=(StepRecord("shift", "done", 0.25, "confirmed"),),
    seconds=0.25,
)


def seen(**more: Any) -> Snapshot:
    """A host that runs v1 in blue, with all traffic."""
    host = Host()
    host.put(BLUE, "v1")
    host.router.send(Weights.all_to(BLUE))
    return replace(commands.observe(host.world), **more)


def status(snapshot: Snapshot) -> dict[str, Any]:
    """`invoke status --json`, parsed."""
    facts: dict[str, Any] = json.loads(report.status_json(snapshot, "prod"))
    return facts


def test_status_json_has_the_shape_that_scripts_rely_on() -> None:
    """Exactly these keys, in DESIGN.md's words; a color that does not run is null."""
    assert status(seen(history=(RUN,), lease=LEASE)) == {
        "env": "prod",
        "active": "blue",
        "colors": {
            "blue": {
                "version": "v1",
                "image": "example/web:v1",
                "digest": "sha256:v1",
                "weight": 100,
                "health": "running",
                "replicas": 1,
            },
            "green": None,
        },
        "lease": {
            "id": "L",
            "who": "ada@example",
            "command": "deploy",
            "version": "v3",
            "acquired": "2025-01-01T12:00:00+00:00",
            "expires": "2025-01-01T12:00:30+00:00",
        },
        "last_run": {
            "id": RUN.id,
            "command": "deploy",
            "version": "v2",
            "outcome": "succeeded",
            "started": "2025-01-01T12:00:00+00:00",
            "finished": "2025-01-01T12:05:00+00:00",
        },
    }


def test_status_json_of_an_empty_host_has_the_same_keys() -> None:
    """Nothing released, nobody at work: null, not missing."""
    facts = status(Snapshot({}, None, {}))
    assert facts == {
        "env": "prod",
        "active": None,
        "colors": {"blue": None, "green": None},
        "lease": None,
        "last_run": None,
    }


def test_a_run_without_an_end_is_null_in_json() -> None:
    """An unfinished run has no time at which it finished."""
    last = status(seen(history=(replace(RUN, finished=None, outcome="unfinished"),)))["last_run"]
    assert (last["finished"], last["outcome"]) == (None, "unfinished")


def test_status_text_is_a_screen() -> None:
    """Traffic first, both colors, the platform, the lease, the last run."""
    text = report.status_text(seen(history=(RUN,), lease=LEASE), "prod")
    first, *rest = text.splitlines()
    assert first == "prod: traffic is on blue, v1"
    assert any(line.split() == ["green", "-"] for line in rest)
    assert any("100 %" in line and "1 container " in line for line in rest)
    assert "  platform catalog healthy, nginx healthy" in rest
    assert "  lease    ada@example, «deploy v3», until 12:00:30 UTC" in rest


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (Snapshot({}, None, {}), "nginx does not run, or nothing was released yet"),
        (seen(slots={}), "traffic is on blue, which is gone"),
        (seen(router=replace(ROUTER, serving=False)), "nginx does not answer"),
        (seen(router=replace(ROUTER, weights=Weights(0, 0))), "no release takes traffic"),
    ],
)
def test_status_text_says_what_is_wrong_first(snapshot: Snapshot, words: str) -> None:
    """The first line is the one that matters."""
    assert words in report.status_text(snapshot, "prod").splitlines()[0]


DEAD = replace(seen().slots[BLUE].replicas[0], state="exited")
DOWN = replace(seen().slots[BLUE], replicas=(DEAD,))
HALF = replace(seen().slots[BLUE], routed=False)
KILLED = replace(RUN, outcome="unfinished", finished=None)


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (seen(), ""),
        (Snapshot({}, None, {}), ""),
        (seen(history=(RUN,)), ""),
        (seen(history=(KILLED,), lease=LEASE), ""),
        (seen(history=(KILLED,)), "invoke recover"),
        (seen(router=None), "docker compose up -d nginx"),
        (seen(router=replace(ROUTER, serving=False)), "docker compose up -d nginx"),
        (seen(slots={}), "the active color is down"),
        (seen(slots={BLUE: DOWN}), "invoke rollback, or release again with --force"),
        (seen(slots={BLUE: HALF}), "the active color is down"),
        (seen(router=replace(ROUTER, weights=Weights(0, 0))), ""),
    ],
    ids=[
        "well",
        "empty",
        "released",
        "at-work",
        "killed",
        "no-nginx",
        "silent-nginx",
        "gone",
        "down",
        "incomplete",
        "no-traffic",
    ],
)
def test_status_says_what_to_do(snapshot: Snapshot, words: str) -> None:
    """One command where something is wrong, on the last line; nothing where all is well."""
    advice = report.next_step(snapshot)
    assert words in advice
    last = report.status_text(snapshot, "prod").splitlines()[-1]
    assert last == f"  next     {advice}" if words else advice == "" and "next" not in last


def test_an_incomplete_color_is_shown_as_such() -> None:
    """Half a release is not «running»."""
    half = seen(slots={BLUE: HALF})
    assert "incomplete" in report.status_text(half, "prod")
    assert status(half)["colors"]["blue"]["health"] == "incomplete"


def test_an_error_without_a_hint_still_has_a_next_step() -> None:
    """Nobody is left with a sentence alone."""
    text = report.error_text(UsageError("it failed"))
    assert text.splitlines()[-1] == "  next     correct this, then run the command again"


def test_unknown_traffic_is_not_called_none() -> None:
    """Where nginx does not answer the outcome does not say that nothing takes traffic."""
    unknown = replace(DONE, active=None, active_version="unknown: nginx does not answer")
    assert "  traffic  unknown: nginx does not answer" in report.outcome_text(unknown)


def test_outcome_json_is_one_document_with_every_fact() -> None:
    """`deploy --json` as docs/reference.md has it."""
    facts = json.loads(report.outcome_json(DONE))
    assert list(facts) == [
        "run",
        "command",
        "version",
        "result",
        "code",
        "reason",
        "hint",
        "active",
        "active_version",
        "steps",
        "seconds",
        "notes",
    ]
    assert facts["active"] == "green"
    assert facts["steps"] == [
        {"name": "shift", "status": "done", "seconds": 0.25, "detail": "confirmed"}
    ]


def test_a_success_is_told_in_three_lines() -> None:
    """What, where traffic is, which run."""
    assert report.outcome_text(DONE).splitlines() == [
        "deploy v2: succeeded in 0.2 s",
        "  traffic  green, v2",
        "  run      R",
    ]


@pytest.mark.parametrize("hint", ["", "mend it"])
def test_a_failure_says_why_where_traffic_is_and_what_is_next(hint: str) -> None:
    """Every failed run has all three, and its exit code."""
    failed = replace(
        DONE,
        result="rolled-back",
        code=4,
        reason="never ready",
        hint=hint,
        active=BLUE,
        active_version="v1",
    )
    text = report.outcome_text(failed)
    assert text.startswith("deploy v2: rolled back in 0.2 s (exit code 4)")
    assert "  why      never ready" in text
    assert "  traffic  blue, v1" in text
    assert f"  next     {hint or 'invoke history'}" in text


ERRORS = [
    (OndeployError, 1),
    (UsageError, 2),
    (ConfigError, 2),
    (PreflightFailed, 2),
    (EngineError, 2),
    (RouterRefused, 2),
    (LeaseHeld, 3),
    (LeaseLost, 3),
    (ReleaseUnhealthy, 4),
    (AnalysisFailed, 5),
    (RollbackFailed, 6),
    (Interrupted, 130),
]


@pytest.mark.parametrize(("kind", "code"), ERRORS)
def test_every_error_has_its_code_and_says_three_things(
    kind: type[OndeployError], code: int
) -> None:
    """What failed, that traffic was not touched, what to do; and the same as JSON."""
    error = kind("it failed", "do this")
    assert error.code == code
    assert report.error_text(error).splitlines() == [
        "error: it failed",
        "  traffic  not touched by this command",
        "  next     do this",
    ]
    assert json.loads(report.error_json("deploy", error)) == {
        "command": "deploy",
        "result": "failed",
        "code": code,
        "reason": "it failed",
        "hint": "do this",
    }


def subclasses(kind: type[OndeployError]) -> set[type[OndeployError]]:
    """An error and everything below it."""
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_no_error_is_without_a_code() -> None:
    """The table above is complete."""
    assert subclasses(OndeployError) == {kind for kind, _ in ERRORS}


def test_history_is_one_line_a_run() -> None:
    """When, what, how it ended, who; and why where there is a reason."""
    failed = replace(RUN, outcome="rolled-back", reason="never ready")
    text = report.history_text([RUN, failed]).splitlines()
    assert text[0].startswith("2025-01-01 12:00:00 UTC  deploy   v2")
    assert text[1].endswith("ada@example: never ready")
    assert report.history_text([]) == "nothing was released here yet"
    facts = json.loads(report.history_json([failed]))
    assert facts[0]["reason"] == "never ready"
    assert facts[0]["who"] == "ada@example"


def planned(version: str = "v2", **web: Any) -> commands.DryRun:
    """A dry run of a deploy onto a host that runs v1."""
    host = Host(make_settings())
    host.put(BLUE, "v1")
    host.router.send(Weights.all_to(BLUE))
    host.stack.model = compose_model(**web)
    return commands.dry_run(host.world, Request("deploy", version))


def test_a_dry_run_is_the_plan_in_words() -> None:
    """Steps in order, the release and nginx as differences, notes, and that nothing was written."""
    dry = planned(ports=[{"target": 8000}])
    text = report.plan_text(dry.plan, dry.snapshot, dry.nginx_diff)
    assert text.startswith("deploy v2: would do, in this order\n   1. check-platform")
    assert "  - v1  example/web:v1" in text
    assert "  + v2  example/web:v2" in text
    assert "+ blue 0, green 100" in text
    assert "web: ports is not used for the colors" in text
    assert text.endswith("dry run: nothing was written")


def test_a_dry_run_as_json() -> None:
    """The same facts for a script."""
    dry = planned()
    facts = json.loads(report.plan_json(dry.plan, dry.snapshot, dry.nginx_diff))
    assert facts["dry_run"] is True
    assert [step["name"] for step in facts["steps"]][-1] == "finish"
    assert facts["release"]["active"]["version"] == "v1"
    assert facts["release"]["planned"]["version"] == "v2"
    assert (facts["target"], facts["previous"]) == ("green", "blue")


def test_no_report_of_a_plan_has_a_secret() -> None:
    """Environment values of the compose file are never printed."""
    dry = planned(environment={"PASSWORD": "hunter2", "VERSION": "v2"}, secrets=["hunter2"])
    texts = (
        report.plan_text(dry.plan, dry.snapshot, dry.nginx_diff),
        report.plan_json(dry.plan, dry.snapshot, dry.nginx_diff),
        repr(dry.plan),
    )
    assert not any("hunter2" in text for text in texts)
