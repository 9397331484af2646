"""Who may release: one at a time, and everyone else learns who and until when."""

from __future__ import annotations

import re
import signal

import pytest

from .harness import Host

pytestmark = pytest.mark.e2e

LONG_BAKE = {"bake": {"minutes": 5}}


def test_two_at_once(host: Host, active: str, coming: str) -> None:
    """Of two releases started together one wins; the other exits 3 and names it and until when."""
    with host.load() as load:
        rivals = [host.start("deploy", "--version", coming, "--force", "--json") for _ in range(2)]
        ended = sorted((rival.end() for rival in rivals), key=lambda ran: ran.code)
    assert [ran.code for ran in ended] == [0, 3], ended
    assert re.search(rf"@.* is running «deploy {coming}» since \d\d:\d\d:\d\d UTC", ended[1].err)
    assert re.search(r"the lease runs until \d\d:\d\d:\d\d UTC", ended[1].err)
    assert ended[1].json["code"] == 3
    host.expect(coming, active)
    load.expect_no_loss()


def test_while_another_bakes(host: Host, active: str, coming: str) -> None:
    """While a release bakes, every other command that acts exits 3."""
    with host.load() as load:
        first = host.start("deploy", "--version", coming, settings=LONG_BAKE)
        first.until("bake 0/")
        held = host.status()["lease"]
        refused = [
            host.deploy("v3.0.0", "--force"),
            host.run("rollback"),
            host.run("prune"),
            host.run("recover"),
        ]
        assert [ran.code for ran in refused] == [3] * 4, refused
        assert host.status()["lease"]["expires"] > held["expires"], "it is renewed"
        assert host.version() == coming
        first.signal(signal.SIGINT)
        assert first.end().code == 130
    assert (held["command"], held["version"]) == ("deploy", coming)
    host.expect(active, None)
    load.expect_no_loss()


def test_unlock_of_a_live_run(host: Host, active: str, coming: str) -> None:
    """unlock refuses while the run lives: exit 3; forced, that run acts no more: exit 3."""
    with host.load() as load:
        running = host.start("deploy", "--version", coming, settings=LONG_BAKE)
        running.until("bake 0/")
        refused = host.run("unlock")
        assert refused.code == 3, refused
        assert f"«deploy {coming}») is alive" in refused.err
        running.signal(signal.SIGINT)
        assert running.end().code == 130
        running = host.start("deploy", "--version", coming)
        running.until("start-standby: done")
        forced = host.run("unlock", "--force")
        ran = running.end()
        assert (forced.code, ran.code) == (0, 3), (forced, ran)
        assert "lease was taken over or removed" in ran.err + ran.out
        assert host.version() == active
        assert (recovered := host.run("recover")).code == 0, recovered
    host.expect(active, None)
    load.expect_no_loss()


def test_unlock_of_a_dead_run(host: Host, active: str, coming: str) -> None:
    """unlock frees the lease of a run that was killed; the next command then recovers at once."""
    patient = {"lease": {"seconds": 60}}
    with host.load() as load:
        running = host.start("deploy", "--version", coming, settings=patient)
        running.until("shift: done")
        running.kill()
        assert (held := host.deploy(coming)).code == 3, held
        freed = host.run("unlock")
        assert freed.code == 0, freed
        assert (ran := host.deploy(coming)).code == 0, ran
        assert "recovering: " in ran.err
    host.expect(coming, active)
    load.expect_no_loss()
