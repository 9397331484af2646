"""kill -9 at every point of a run: traffic stays on a healthy release, the next command mends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from .harness import Host, Watched

pytestmark = pytest.mark.e2e

POINTS = (
    "check-platform: done",
    "prepare-images: done",
    "start-standby: done",
    "stage-router: done",
    "wait-ready: done",
    "smoke: done",
    "shift: done",
    "bake 0/",
    "bake: done",
    "drain: done",
    "finish: done",
)
LATE = ("drain: done", "finish: done")
"""From here the commit point may or may not have been reached when the signal arrives."""


@pytest.fixture(scope="module")
def steady(shared: Host) -> Iterator[Watched]:
    """One load over all the stories below, so that nothing between them goes unseen."""
    if not shared.ids():
        assert (ran := shared.deploy("v1.0.0")).code == 0, ran
    with shared.load() as load:
        yield load
    load.expect_no_loss(1000)
    print(f"killed runs: 0 of {load.report.requests} requests failed")


def test_points_are_all_steps(host: Host, coming: str) -> None:
    """The points below are every step of a release, and one inside the bake."""
    ran = host.deploy(coming, "--dry-run", "--json")
    steps = [f"{step['name']}: done" for step in ran.json["steps"]]
    assert sorted(steps) == sorted(set(POINTS) - {"bake 0/"})


@pytest.mark.parametrize("point", POINTS)
def test_killed_release(host: Host, steady: Watched, active: str, coming: str, point: str) -> None:
    """Killed at this point, then recovered: exit 0, everything at rest, and not a request lost."""
    running = host.start("deploy", "--version", coming)
    running.until(point)
    running.kill()
    assert host.version() in (active, coming)
    mend(host, {active} | ({coming} if point in LATE else set()))
    assert steady.live.snapshot().failed == 0


def test_killed_in_the_start(host: Host, steady: Watched, active: str, coming: str) -> None:
    """Killed while Compose still makes the containers: they are removed all the same."""
    before = host.ids(color=standby_color(host))
    running = host.start("deploy", "--version", coming)
    running.until("prepare-images: done")
    await_change(lambda: host.ids(color=standby_color(host)), before)
    running.kill()
    mend(host, {active})
    assert steady.live.snapshot().failed == 0


def test_killed_between_reload_and_confirmation(
    host: Host, steady: Watched, active: str, coming: str
) -> None:
    """Killed the moment nginx serves the new generation, before the run knows it."""
    served = host.served()
    running = host.start("deploy", "--version", coming)
    running.until("smoke: done")
    await_change(host.served, served)
    running.kill()
    assert not any("shift: done" in line for line in running.lines)
    mend(host, {active})
    assert steady.live.snapshot().failed == 0


def test_killed_in_its_own_rollback(host: Host, steady: Watched, active: str, coming: str) -> None:
    """Interrupted, and killed while it undoes: the next release recovers it first."""
    running = host.start("deploy", "--version", coming, settings={"bake": {"minutes": 5}})
    running.until("bake 0/")
    running.signal(2)
    running.until("stopped by SIGINT")
    running.kill()
    await_lease(host)
    ran = host.deploy(coming)
    assert ran.code == 0, ran
    assert "recovering: " in ran.err
    host.expect(coming, active)
    assert steady.live.snapshot().failed == 0


def test_killed_recovery(host: Host, steady: Watched, active: str, coming: str) -> None:
    """A recovery that is killed as well is taken up by the next one."""
    running = host.start("deploy", "--version", coming, settings={"bake": {"minutes": 5}})
    running.until("bake 0/")
    running.kill()
    await_lease(host)
    recovery = host.start("recover")
    recovery.until("shift: done")
    recovery.kill()
    mend(host, {active})
    assert steady.live.snapshot().failed == 0


def test_killed_rollback(host: Host, steady: Watched, active: str, coming: str) -> None:
    """A rollback that is killed after its shift stays where it is: both releases are good."""
    assert (ran := host.deploy(coming)).code == 0, ran
    running = host.start("rollback")
    running.until("shift: done")
    running.kill()
    mend(host, {active, coming})
    assert steady.live.snapshot().failed == 0


def test_next_release_after_all_this(host: Host, steady: Watched, active: str, coming: str) -> None:
    """The host takes a release as if nothing had happened."""
    ran = host.deploy(coming)
    assert ran.code == 0, ran
    assert "recovering" not in ran.err
    assert host.expect(coming, host_standby(host)) in ("blue", "green")
    assert steady.live.snapshot().failed == 0


def mend(host: Host, versions: set[str]) -> None:
    """`recover` exits 0, and one of these versions has all traffic, with everything at rest."""
    ran = host.run("recover", "--json")
    assert ran.code == 0, ran
    assert ran.json["active_version"] in versions, ran
    host.expect(ran.json["active_version"], host_standby(host))
    assert host.status()["last_run"]["outcome"] in ("succeeded", "recovered")
    again = host.run("recover", "--json")
    assert (again.code, again.json["result"]) == (0, "unchanged"), again


def host_standby(host: Host) -> str | None:
    release = host.status()["colors"][standby_color(host)]
    return str(release["version"]) if release else None


def standby_color(host: Host) -> str:
    answer = httpx.get(f"{host.control}/generation", trust_env=False).json()
    return "blue" if answer["weights"]["green"] else "green"


def await_lease(host: Host) -> None:
    """Wait until the lease of a killed run has expired."""
    give_up = time.monotonic() + 10
    while host.status()["lease"]:
        assert time.monotonic() < give_up, "the lease of a dead run does not expire"


def await_change(look: object, before: object) -> None:
    assert callable(look)
    give_up = time.monotonic() + 20
    while look() == before:
        assert time.monotonic() < give_up, f"still {before}"
