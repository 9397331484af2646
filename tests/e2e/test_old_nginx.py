"""An nginx from before 1.27.4: switched by a flag file, since its reloads lose requests."""

from __future__ import annotations

import signal

import pytest

from demo.images import ensure_old_nginx

from .conftest import MakeHost
from .harness import Host
from .traffic import COLOR, GET, POST, Profile, Traffic

pytestmark = pytest.mark.e2e

KEEPALIVE = Profile(
    (
        Traffic("get", GET, connections=24, rate=100),
        Traffic("post", POST, "POST", connections=12, rate=40, body=512),
        Traffic("fresh", GET, connections=4, rate=20, keepalive=False),
        Traffic("upload", POST, "POST", connections=2, body=2048, trickle=1, timeout=20),
    ),
    version_header=COLOR,
)


@pytest.fixture(scope="module")
def old(make_host: MakeHost) -> Host:
    """A host with such an nginx; the stories below follow one another."""
    host = make_host("old", extra={"NGINX_IMAGE": ensure_old_nginx(print)})
    host.seamless = False
    assert (ran := host.deploy("v1.0.0")).code == 0, ran
    return host


def test_the_plan_says_so(old: Host) -> None:
    """A dry run says that a flag file switches, and why."""
    ran = old.deploy("v2.0.0", "--dry-run")
    assert ran.code == 0, ran
    assert "switch by flag file" in ran.out
    assert "older than 1.27.4" in ran.out


def test_switches_without_a_reload(old: Host) -> None:
    """Releases and rollbacks under keepalive load lose nothing, and no worker is replaced."""
    old.expect("v1.0.0", None)
    before = workers(old)
    with old.load(KEEPALIVE) as load:
        for words in (
            ("deploy", "--version", "v2.0.0"),
            ("rollback",),
            ("rollback", "--to", "v2.0.0"),
        ):
            assert (ran := old.run(*words)).code == 0, ran
    old.expect("v2.0.0", "v1.0.0")
    assert workers(old) == before
    assert set(load.report.versions()) == {"blue", "green"}
    load.expect_no_loss(300)


def test_killed_after_the_flag(old: Host) -> None:
    """Killed right after its shift, a release is taken back by the next command."""
    with old.load(KEEPALIVE) as load:
        running = old.start("deploy", "--version", "v3.0.0")
        running.until("shift: done")
        running.kill()
        assert old.version() == "v3.0.0"
        assert (ran := old.run("recover")).code == 0, ran
        old.expect("v2.0.0", None)
    load.expect_no_loss()


def test_interrupted_in_the_bake(old: Host) -> None:
    """A signal in the bake takes the flag back: exit 130."""
    with old.load(KEEPALIVE) as load:
        running = old.start("deploy", "--version", "v3.0.0", settings={"bake": {"minutes": 5}})
        running.until("bake 0/")
        running.signal(signal.SIGINT)
        assert (ran := running.end()).code == 130, ran
    old.expect("v2.0.0", None)
    load.expect_no_loss()


def workers(host: Host) -> str:
    """The processes of nginx, which a reload would replace."""
    script = "for p in /proc/[0-9]*; do grep -l nginx $p/comm 2>/dev/null; done | sort"
    return host.in_nginx(script)
