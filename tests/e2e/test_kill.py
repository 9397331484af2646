"""kill -9 at every point of a run: traffic stays on a healthy release, the next command mends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

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
WAITED = ("prepare-images: done", "bake 0/")
"""Here the lease's own seconds pass: what the killed run had begun ends meanwhile, or does not."""


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
    if point not in WAITED:
        host.age_lease()
    mend(host, {active} | ({coming} if point in LATE else set()))
    assert steady.live.snapshot().failed == 0


def test_killed_in_the_start(host: Host, steady: Watched, active: str, coming: str) -> None:
    """Killed while Compose still makes the containers: they are removed all the same."""
    before = host.ids(color=host.other())
    running = host.start("deploy", "--version", coming)
    running.until("prepare-images: done")
    await_change(lambda: host.ids(color=host.other()), before)
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
    host.age_lease()
    assert not any("shift: done" in line for line in running.lines)
    mend(host, {active})
    assert steady.live.snapshot().failed == 0


def test_killed_in_its_own_rollback(host: Host, steady: Watched, active: str, coming: str) -> None:
    """Interrupted, and killed while it undoes: the next release recovers it first."""
    running = host.start("deploy", "--version", coming, settings={"bake": {"minutes": 5}})
    running.until("bake 0/")
    running.signal(signal.SIGINT)
    running.until("stopped by SIGINT")
    running.kill()
    host.age_lease()
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
    host.age_lease()
    recovery = host.start("recover")
    recovery.until("shift: done")
    recovery.kill()
    host.age_lease()
    mend(host, {active})
    assert steady.live.snapshot().failed == 0


def test_killed_rollback(host: Host, steady: Watched, active: str, coming: str) -> None:
    """A rollback that is killed after its shift stays where it is: both releases are good."""
    assert (ran := host.deploy(coming)).code == 0, ran
    running = host.start("rollback")
    running.until("shift: done")
    running.kill()
    host.age_lease()
    mend(host, {active, coming})
    assert steady.live.snapshot().failed == 0


def test_next_release_after_all_this(host: Host, steady: Watched, active: str, coming: str) -> None:
    """The host takes a release as if nothing had happened."""
    ran = host.deploy(coming)
    assert ran.code == 0, ran
    assert "recovering" not in ran.err
    host.expect(coming, active)
    again = host.run("recover", "--json")
    assert (again.code, again.json["result"]) == (0, "unchanged"), again
    assert steady.live.snapshot().failed == 0


def mend(host: Host, versions: set[str]) -> None:
    """`recover` exits 0, and one of these versions has all traffic, with everything at rest."""
    ran = host.run("recover", "--json")
    assert ran.code == 0, ran
    assert ran.json["active_version"] in versions, ran
    host.expect(ran.json["active_version"], host_standby(host))


def host_standby(host: Host) -> str | None:
    release = host.status()["colors"][host.other()]
    return str(release["version"]) if release else None


def await_change(look: Callable[[], object], before: object) -> None:
    give_up = time.monotonic() + 20
    while look() == before:
        assert time.monotonic() < give_up, f"still {before}"
