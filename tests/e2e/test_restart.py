"""nginx or the whole machine went down and came back: the active color is read, never guessed."""

from __future__ import annotations

import time
from contextlib import suppress

import httpx
import pytest

from .harness import Host, docker

pytestmark = pytest.mark.e2e


def test_nginx_restarted(host: Host, active: str) -> None:
    """After a restart of nginx the same color takes the traffic, from the same generation."""
    before = host.color(), host.served()
    docker("restart", host.container("nginx"))
    await_answer(host)
    assert (host.color(), host.served()) == before
    host.expect(active, standby(host))


def test_machine_rebooted(host: Host, active: str) -> None:
    """When everything was killed and started again, in another order, traffic is where it was."""
    warm = standby(host)
    everything = [i for color in ("", "blue", "green") for i in host.ids(color=color)]
    docker("kill", *everything)
    docker("start", *reversed(everything))
    await_answer(host)
    host.expect(active, warm)
    host.wait_healthy("nginx", "prometheus", "duckdb-catalog")


@pytest.mark.parametrize("how", ["stop", "rm"])
def test_nginx_gone(host: Host, active: str, coming: str, how: str) -> None:
    """With nginx down status says what it is set to; a release starts it on the same color."""
    color = host.color()
    docker(*{"stop": ("stop",), "rm": ("rm", "--force")}[how], host.container("nginx"))
    text, facts = host.run("status"), host.run("status", "--json")
    assert (text.code, facts.code) == (0, 0), (text, facts)
    assert "nginx does not answer" in text.out
    assert facts.json["active"] == color
    running = host.start("deploy", "--version", coming)
    running.until("start-platform: done")
    assert host.version() == active, "it comes back on the color that it had"
    with host.load() as load:
        ran = running.end()
    assert ran.code == 0, ran
    assert host.expect(coming, active) != color
    load.expect_no_loss()


def test_state_lost(host: Host, active: str, coming: str) -> None:
    """Without nginx's volume nothing takes traffic: a release counts as the first, in a free color.

    The containers that run keep running beside it, whatever they were.
    """
    color = host.color()
    assert host.run("prune").code == 0
    docker("rm", "--force", host.container("nginx"))
    docker("volume", "rm", f"{host.project}_ondeploy")
    before = host.ids(color=color)
    ran = host.deploy(coming)
    assert ran.code == 0, ran
    assert host.expect(coming, active) != color
    assert host.ids(color=color) == before


def standby(host: Host) -> str | None:
    release = host.status()["colors"][host.other()]
    return str(release["version"]) if release else None


def await_answer(host: Host) -> None:
    """Wait until visitors are answered again; it must be within a few seconds."""
    give_up = time.monotonic() + 20
    while True:
        with suppress(httpx.HTTPError):
            if host.get("/api/version").is_success:
                return
        assert time.monotonic() < give_up, "nginx does not answer"
        time.sleep(0.05)
