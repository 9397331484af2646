"""Releases that are bad, each in one way: caught, undone by themselves, and how many felt it."""

from __future__ import annotations

import pytest

from .harness import Host, docker
from .images import Images

pytestmark = pytest.mark.e2e

SHORT_PROBES = {"probes": {"liveness": {"initial_delay_seconds": 1}}}
LONG_BAKE = {"bake": {"minutes": 5}}


def test_never_healthy(host: Host, images: Images, active: str) -> None:
    """A release that never gets healthy is given up at the configured limit and removed: exit 4."""
    images.app("v9.0.1", NEVER_HEALTHY="1")
    live = host.ids(color=host.color())
    with host.load() as load:
        ran = host.deploy("v9.0.1", "--json", settings=SHORT_PROBES)
    assert (ran.code, ran.json["result"]) == (4, "rolled-back"), ran
    assert "answered 503" in ran.json["reason"]
    wait = next(step for step in ran.json["steps"] if step["name"] == "wait-ready")
    assert 4 <= wait["seconds"] < 10  # 1 s initial delay + 3 failures x 1 s
    host.expect(active, None)
    assert host.ids(color=host.color()) == live
    load.expect_no_loss()


def test_crash_before_ready(host: Host, images: Images, active: str) -> None:
    """A release whose process ends at its start is given up and removed: exit 4."""
    images.app("v9.0.2", CRASH_AFTER_SECONDS="0")
    with host.load() as load:
        ran = host.deploy("v9.0.2", "--json", settings=SHORT_PROBES)
    assert (ran.code, ran.json["result"]) == (4, "rolled-back"), ran
    host.expect(active, None)
    load.expect_no_loss()


def test_crash_in_the_bake(host: Host, images: Images, active: str) -> None:
    """A container that dies after the switch rolls back: exit 4; only it failed any request."""
    images.app("v9.0.3", CRASH_AFTER_SECONDS="6")
    bad = host.other()
    with host.load() as load:
        ran = host.deploy("v9.0.3", "--json", settings=LONG_BAKE)
    assert (ran.code, ran.json["result"]) == (4, "rolled-back"), ran
    assert step_that_failed(ran.json) == "bake"
    assert "unavailable" in ran.json["reason"]
    host.expect(active, None)
    assert set(load.failed_colors()) <= {bad}
    assert bad in load.report.versions()
    print(f"crash in the bake: {load.report.failed} of {load.report.requests} requests failed")


def test_smoke_failure(host: Host, images: Images, active: str) -> None:
    """A release that says it is another version fails its smoke test, without traffic: exit 4."""
    images.app("v9.0.4", SMOKE="1")
    bad = host.other()
    with host.load() as load:
        ran = host.deploy("v9.0.4", "--json")
    assert (ran.code, ran.json["result"]) == (4, "rolled-back"), ran
    assert "smoke test failed: /api/version" in ran.json["reason"]
    assert "0.0.0-wrong" in ran.json["reason"]
    host.expect(active, None)
    load.expect_no_loss()
    assert bad not in load.report.versions()


def test_errors_in_the_bake_then_a_good_release(
    host: Host, images: Images, active: str, coming: str
) -> None:
    """20 % errors are rolled back in seconds: exit 5; a good release in the same color then passes.

    It passes within the minute in which the bad one's errors are still in Prometheus.
    """
    images.app("v9.0.5", ERROR_RATE="0.2")
    bad = host.other()
    with host.load() as load:
        ran = host.deploy("v9.0.5", "--json", settings=LONG_BAKE)
    assert (ran.code, ran.json["result"]) == (5, "rolled-back"), ran
    assert "limit 5 %" in ran.json["reason"]
    bake = next(step for step in ran.json["steps"] if step["name"] == "bake")
    assert bake["seconds"] < 20  # of a bake of 300
    host.expect(active, None)
    failed = load.failed_colors()
    assert set(failed) == {bad}, "the load must see this release's errors, and no others"
    print(f"20 % errors: {failed[bad]} requests failed, rolled back {bake['seconds']:.1f} s later")
    with host.load() as load:
        after = host.deploy(coming)
    assert after.code == 0, after
    assert after.seconds < 60
    assert host.expect(coming, active) == bad
    load.expect_no_loss()


def test_a_few_errors_are_tolerated(host: Host, images: Images, active: str) -> None:
    """A release that fails 1 % of its requests, below the limit, is not rolled back."""
    images.app("v9.0.6", ERROR_RATE="0.01")
    with host.load() as load:
        ran = host.deploy("v9.0.6")
    assert ran.code == 0, ran
    host.expect("v9.0.6", active)
    assert host.run("rollback").code == 0
    assert set(load.failed_colors()) <= {host.other()}


def test_prometheus_down_in_the_bake(host: Host, active: str, coming: str) -> None:
    """Without data the release is held, then rolled back at the deadline, and that is said: 5."""
    short = {"bake": {"minutes": 0.03, "deadline_minutes": 0.03}}
    container = host.container("prometheus")
    with host.load() as load:
        running = host.start("deploy", "--version", coming, "--json", settings=short)
        running.until("smoke: done")
        docker("kill", container)
        ran = running.end()
    docker("start", container)
    host.wait_healthy("prometheus")
    assert (ran.code, ran.json["result"]) == (5, "rolled-back"), ran
    assert "held: inconclusive" in ran.err
    assert "Prometheus does not answer" in ran.json["reason"]
    assert "missing data is never taken for success" in ran.json["reason"]
    bake = next(step for step in ran.json["steps"] if step["name"] == "bake")
    assert bake["seconds"] >= 3.6  # 1.8 s of bake and 1.8 s of grace
    host.expect(active, None)
    load.expect_no_loss()


def test_health_fails_in_the_bake(host: Host, active: str, coming: str) -> None:
    """A release that stops answering its probe after the switch is rolled back: exit 4."""
    bad = host.other()
    with host.load() as load:
        quick = {
            **LONG_BAKE,
            "probes": {"liveness": {"timeout_seconds": 1}},
            "router": {"drain_seconds": 3},
        }
        running = host.start("deploy", "--version", coming, "--json", settings=quick)
        running.until("shift: done")
        docker("pause", *host.ids(color=bad))
        ran = running.end()
    assert (ran.code, ran.json["result"]) == (4, "rolled-back"), ran
    assert step_that_failed(ran.json) == "bake"
    host.expect(active, None)
    assert set(load.failed_colors()) <= {bad, None}


def test_no_traffic_in_the_bake(host: Host, active: str, coming: str) -> None:
    """A bake without a visitor proves nothing: inconclusive, rolled back at the deadline: 5."""
    short = {"bake": {"minutes": 0.02, "deadline_minutes": 0.05}}
    ran = host.deploy(coming, "--json", settings=short)
    assert (ran.code, ran.json["result"]) == (5, "rolled-back"), ran
    assert "still inconclusive" in ran.json["reason"]
    host.expect(active, None)


def step_that_failed(outcome: dict[str, object]) -> str:
    steps = outcome["steps"]
    assert isinstance(steps, list)
    return next(str(step["name"]) for step in steps if step["status"] == "failed")
