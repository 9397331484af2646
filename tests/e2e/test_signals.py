"""A run that is asked to stop, as by Ctrl-C or a cancelled job: it undoes and exits 130."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .command import Running
from .harness import Host
from .images import Images
from .traffic import COLOR, MIXED, Profile, Traffic

pytestmark = pytest.mark.e2e

LONG_BAKE = {"bake": {"minutes": 5}}
ALLOWED = 7.0
"""Seconds from the signal to the end: GitHub kills 10 s after it cancels."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_bake(host: Host, active: str, coming: str, number: signal.Signals) -> None:
    """A signal in the bake rolls back within 7 s, without losing a request: exit 130."""
    with host.load() as load:
        running = host.start("deploy", "--version", coming, "--json", settings=LONG_BAKE)
        running.until("bake 0/")
        assert host.version() == coming
        sent = running.signal(number)
        ran = running.end()
        took = time.monotonic() - sent
    assert (ran.code, ran.json["result"]) == (130, "rolled-back"), ran
    assert ran.json["reason"] == f"stopped by {number.name}"
    assert took < ALLOWED
    host.expect(active, None)
    load.expect_no_loss()
    print(f"{number.name} in the bake: rolled back and ended in {took:.1f} s")


def test_as_github_cancels(host: Host, active: str, coming: str) -> None:
    """SIGINT, and SIGTERM on top while it undoes: the undo is finished all the same."""
    with host.load() as load:
        running = host.start("deploy", "--version", coming, "--json", settings=LONG_BAKE)
        running.until("bake 0/")
        sent = running.signal(signal.SIGINT)
        running.until("stopped by SIGINT")
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
        ran = running.end()
        took = time.monotonic() - sent
    assert (ran.code, ran.json["result"]) == (130, "rolled-back"), ran
    assert took < ALLOWED
    host.expect(active, None)
    load.expect_no_loss()


def test_with_long_requests_in_flight(host: Host, active: str, coming: str) -> None:
    """Requests of 9 s are not waited for, nor cut: the run ends within 7 s, they end well."""
    long = Traffic("long", "/api/slow?seconds=9", connections=4, timeout=40)
    profile = Profile((*MIXED.traffic, long), version_header=COLOR)
    with host.load(profile) as load:
        running = host.start("deploy", "--version", coming, "--json", settings=LONG_BAKE)
        running.until("bake 0/")
        left = host.color()
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(host.get, "/api/slow?seconds=9", timeout=30)
            while load.live.snapshot().requests < 300:
                pass
            sent = running.signal(signal.SIGINT)
            ran = running.end()
            took = time.monotonic() - sent
            assert (ran.code, ran.json["result"]) == (130, "rolled-back"), ran
            assert took < ALLOWED
            assert host.version() == active
            answer = slow.result()
    assert (answer.status_code, answer.headers[COLOR]) == (200, left)
    assert "is left running" in ran.err
    host.expect(active, coming)
    load.expect_no_loss()


@pytest.mark.parametrize("point", ["stage-router: done", "start-standby: done"])
def test_right_after_the_start(host: Host, active: str, coming: str, point: str) -> None:
    """A container whose process does not yet hear SIGTERM does not hold the run up."""
    running = host.start("deploy", "--version", coming, "--json")
    running.until(point)
    sent = running.signal(signal.SIGINT)
    ran = running.end()
    took = time.monotonic() - sent
    assert (ran.code, ran.json["result"]) == (130, "rolled-back"), ran
    assert took < ALLOWED
    host.expect(active, None)


def test_in_wait_ready(host: Host, images: Images, active: str) -> None:
    """A signal while the release is not ready yet removes it: exit 130."""
    images.app("v9.0.1", NEVER_HEALTHY="1")
    with host.load() as load:
        running = host.start("deploy", "--version", "v9.0.1", "--json")
        running.until("start-standby: done")
        sent = running.signal(signal.SIGINT)
        ran = running.end()
        took = time.monotonic() - sent
    assert (ran.code, ran.json["result"]) == (130, "rolled-back"), ran
    assert took < ALLOWED
    host.expect(active, None)
    load.expect_no_loss()


def test_in_the_build(host: Host, active: str, tmp_path: Path) -> None:
    """A signal during the build ends it at once: exit 130, nothing was changed."""
    standby = (host.status()["colors"][host.other()] or {"version": None})["version"]
    running = host.start(
        "deploy", "--version", "v9.0.7", "--json", settings=slow_build(host, tmp_path)
    )
    builder = child(running, "bake")
    sent = running.signal(signal.SIGINT)
    ran = running.end()
    took = time.monotonic() - sent
    assert (ran.code, ran.json["result"]) == (130, "failed"), ran
    assert took < ALLOWED
    assert not builder.exists(), "the builder must not outlive the run"
    host.expect(active, standby)


def slow_build(host: Host, folder: Path) -> dict[str, object]:
    """Settings under which the app's build never ends."""
    (folder / "Dockerfile").write_text(
        "ARG PYTHON_IMAGE\nFROM ${PYTHON_IMAGE}\nARG VERSION\nRUN sleep 600\n"
    )
    override = folder / "override.yml"
    override.write_text(f"services: {{ontology-download: {{build: {{context: {folder}}}}}}}\n")
    files = [*host.settings["compose"]["files"], str(override)]
    return {"compose": {"files": files}, "release": {"source": "build"}}


def child(running: Running, word: str) -> Path:
    """Wait for a descendant of the command with this word among its own; its place in /proc."""
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        for place in Path("/proc").glob("[0-9]*"):
            if word in words(place) and descends(place, running.process.pid):
                return place
        time.sleep(0.02)
    raise AssertionError(f"no process with {word!r} in its words: {running.lines}")


def descends(place: Path, ancestor: int) -> bool:
    while place.name not in ("0", "1"):
        if int(place.name) == ancestor:
            return True
        try:
            parent = (place / "stat").read_text().rpartition(") ")[2].split()[1]
        except OSError:
            return False
        place = place.parent / parent
    return False


def words(place: Path) -> list[str]:
    try:
        return (place / "cmdline").read_text().split("\0")
    except OSError:
        return []
