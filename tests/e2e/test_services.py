"""Several services and replicas per release, and what a user's service says that colors cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from . import small
from .conftest import GOOD, MakeHost
from .harness import Host, inspect
from .images import Images
from .traffic import ECHOED

pytestmark = pytest.mark.e2e

EACH = 4
"""Containers per color: two replicas of two services."""


@pytest.fixture(scope="module")
def shop(make_host: MakeHost, images: Images) -> Host:
    """A host of two services, released once."""
    for version in GOOD:
        small.image(images, version)
    host = make_host("small", small.settings)
    assert (ran := host.deploy("v1.0.0")).code == 0, ran
    return host


def test_two_services_in_two_replicas(shop: Host) -> None:
    """A release replaces web and worker together, two of each, and loses nothing; so back."""
    shop.expect("v1.0.0", None, EACH)
    with shop.load(ECHOED) as load:
        ran = shop.deploy("v2.0.0")
        assert ran.code == 0, ran
        color = shop.expect("v2.0.0", "v1.0.0", EACH)
        assert replicas(shop) == short_ids(shop, f"web-{color}")
        back = shop.run("rollback")
        assert back.code == 0, back
    home = shop.expect("v1.0.0", "v2.0.0", EACH)
    assert replicas(shop) == short_ids(shop, f"web-{home}")
    assert set(load.report.versions()) == {"blue", "green"}
    load.expect_no_loss()


def test_worker_runs_the_release_too(shop: Host) -> None:
    """Both services of a color run the release's image, under its labels."""
    status = shop.status()
    for color, release in status["colors"].items():
        for service in ("web", "worker"):
            ids = shop.ids(f"com.docker.compose.service={service}-{color}", color=color)
            assert len(ids) == 2
            for each in map(inspect, ids):
                assert each["Image"] == release["digest"]
                assert each["Config"]["Labels"]["ondeploy.version"] == release["version"]


def test_what_colors_cannot_share_is_dropped_and_said(shop: Host) -> None:
    """Name, published port, alias and fixed address are not doubled; the plan says so of each."""
    ran = shop.deploy("v3.0.0", "--dry-run", "--json")
    assert ran.code == 0, ran
    notes = "\n".join(ran.json["notes"])
    for word in ("container_name", "ports", "aliases", "ipv4_address"):
        assert f"web: {word} " in notes
    for color in ("blue", "green"):
        for each in map(inspect, shop.ids(f"com.docker.compose.service=web-{color}", color=color)):
            network = next(iter(each["NetworkSettings"]["Networks"].values()))
            assert each["Name"] != f"/{small.NAME}"
            assert not any(each["HostConfig"]["PortBindings"].values())
            assert small.ALIAS not in network["Aliases"]
            assert not network["IPAddress"].endswith(".200")


@pytest.mark.parametrize(
    ("quirk", "reason"),
    [
        ({"network_mode": "host"}, "network_mode 'host'"),
        ({"networks": ["apart"]}, "share no network"),
    ],
)
def test_what_colors_cannot_be_is_refused(
    shop: Host, tmp_path: Path, quirk: dict[str, object], reason: str
) -> None:
    """A service that two colors cannot run side by side is refused with the reason: exit 2."""
    model = small.model(**quirk)
    if "network_mode" in quirk:
        model["services"]["web"].pop("networks")
    model["networks"]["apart"] = None
    compose = tmp_path / "compose.yml"
    compose.write_text(yaml.safe_dump(model))
    before = shop.served(), *[shop.ids(color=color) for color in ("", "blue", "green")]
    ran = shop.deploy("v3.0.0", settings={"compose": {"files": [str(compose)]}})
    assert ran.code == 2, ran
    assert reason in ran.err + ran.out
    assert (shop.served(), *[shop.ids(color=c) for c in ("", "blue", "green")]) == before
    shop.expect("v1.0.0", "v2.0.0", EACH)


def replicas(shop: Host) -> set[str]:
    """The containers that answer visitors."""
    return {shop.get("/who").json()["replica"] for _ in range(40)}


def short_ids(shop: Host, service: str) -> set[str]:
    color = service.rpartition("-")[2]
    ids = shop.ids(f"com.docker.compose.service={service}", color=color)
    assert len(ids) == 2
    return {each[:12] for each in ids}
