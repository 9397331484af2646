"""The proof run: twenty switches under every kind of traffic, and not one request lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import MakeHost
from .harness import Host
from .traffic import PROOF

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BUILT_IN = Path(__file__).resolve().parents[2] / "ondeploy" / "templates" / "nginx.conf.j2"
SWITCHES = 20
REQUESTS = 100_000
QUICK = {"bake": {"minutes": 0.005, "min_requests": 1}}


@pytest.fixture(scope="module")
def busy(make_host: MakeHost) -> Host:
    host = make_host("proof")
    assert (ran := host.deploy("v1.0.0")).code == 0, ran
    return host


def test_no_request_is_lost_in_twenty_switches(busy: Host) -> None:
    """20 releases with new containers each, 100,000 requests of five kinds: 0 failed in any way."""
    seen = {tuple(busy.ids(color="blue"))}
    slowest = 0.0
    with busy.load(PROOF) as load:
        for number in range(SWITCHES):
            version = ("v2.0.0", "v1.0.0")[number % 2]
            ran = busy.deploy(version, settings=QUICK)
            assert ran.code == 0, ran
            load.live.mark(f"switch {number + 1}")
            slowest = max(slowest, ran.seconds)
            seen.add(tuple(busy.ids(color=("green", "blue")[number % 2])))
        while load.live.snapshot().requests < REQUESTS:
            assert load.live.snapshot().running
    report = load.report
    assert len(seen) == SWITCHES + 1, "every switch was to a container of its own"
    load.expect_no_loss(REQUESTS)
    totals = report.totals()
    assert set(totals) == {traffic.name for traffic in PROOF.traffic}
    assert all(kind.requests > SWITCHES for kind in totals.values()), totals
    assert set(report.versions()) == {"blue", "green"}
    busy.expect("v1.0.0", "v2.0.0")
    print(
        f"{SWITCHES} switches, {report.requests:,} requests, {report.failed} failed, in "
        f"{report.seconds:.0f} s; idle connections closed by nginx: {report.idle_closes}; "
        f"slowest release {slowest:.1f} s; {totals}; {report.latency()}"
    )


def test_the_proof_can_fail(busy: Host) -> None:
    """Without the one line that makes a reload lossless, the same load sees requests fail."""
    shipped = BUILT_IN.read_text()
    harmed = shipped.replace("keepalive_min_timeout 5s;", "")
    assert harmed != shipped
    template = busy.folder / "harmed.conf.j2"
    template.write_text(harmed)
    own = {"router": {"template": str(template)}}
    versions = ("v2.0.0", "v1.0.0")
    with busy.load(PROOF) as load:
        for version in versions:
            assert (ran := busy.deploy(version, "--force", settings=QUICK)).code == 0, ran
        assert load.live.snapshot().failed == 0
        for number in range(30):
            ran = busy.run("rollback", "--to", versions[number % 2], settings=own)
            assert ran.code == 0, ran
            if load.live.snapshot().failed:
                break
    assert load.report.failed > 0
    print(f"without keepalive_min_timeout: {load.report.failures} in {number + 1} switches")
