"""From the user's ordinary service to one of two colors."""

import copy
from typing import Any

import pytest

from ondeploy.colors import color_project, config_hash, creation_options, platform_services
from ondeploy.compose_rules import notes
from ondeploy.model import Color, Release
from tests.fakes import compose_model, make_settings

RELEASE = Release("v2", "example/web:v2", "sha256:2", "abc")


def green(model: dict[str, Any], **release: Any) -> dict[str, Any]:
    """The project that runs v2 in green."""
    options = {"services": ["web"], "port": 8000, **release}
    settings = make_settings(release=options)
    images = dict.fromkeys(settings.release.services, "sha256:2")
    return color_project(model, settings, Color.GREEN, RELEASE, images)


def web(model: dict[str, Any], **release: Any) -> dict[str, Any]:
    """The routed service of that project."""
    service: dict[str, Any] = green(model, **release)["services"]["web-green"]
    return service


def test_a_color_is_a_project_of_its_own_with_nothing_else_in_it() -> None:
    """Starting green can touch neither nginx nor blue nor the catalog: they are not in it."""
    project = green(compose_model())
    assert project["name"] == "shop-green"
    assert list(project["services"]) == ["web-green"]


def test_the_image_is_pinned_and_never_pulled() -> None:
    """What runs is the image that was prepared, by its id, whatever the tag says by now."""
    service = web(compose_model(build={"context": "."}, pull_policy="always"))
    assert service["image"] == "sha256:2"
    assert service["pull_policy"] == "never"
    assert "build" not in service


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ports", [{"target": 8000, "published": "80"}]),
        ("container_name", "web"),
        ("depends_on", {"catalog": {"condition": "service_started"}}),
        ("profiles", ["app"]),
        ("links", ["catalog"]),
        ("external_links", ["x"]),
        ("mac_address", "02:42:ac:11:00:02"),
        ("scale", 3),
        ("expose", ["8000"]),
    ],
)
def test_what_two_colors_cannot_share_is_dropped(key: str, value: Any) -> None:
    """Host ports, container names and the like are not doubled."""
    assert key not in web(compose_model(**{key: value}))


def test_fixed_addresses_and_aliases_are_dropped_and_told() -> None:
    """An address or a second name can only be one container's; priorities and the like stay."""
    entry = {"ipv4_address": "10.0.0.2", "aliases": ["shop"], "priority": 1}
    model = compose_model(networks={"default": entry})
    assert web(model)["networks"] == {"default": {"priority": 1}}
    said = "\n".join(notes(model, make_settings()))
    assert "ipv4_address on network default is not used" in said
    assert "aliases on network default is not used" in said


def test_networks_and_volumes_are_the_stacks_own() -> None:
    """They are referred to by their real names, and Compose manages none of them for a color."""
    mounts = [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "tmpfs", "target": "/tmp"},
        {"type": "volume", "target": "/anonymous"},
    ]
    project = green(compose_model(volumes=mounts, networks={"default": None, "inner": None}))
    assert project["volumes"] == {"data": {"external": True, "name": "shop_data"}}
    assert project["networks"]["inner"] == {"external": True, "name": "shop_inner"}
    assert project["services"]["web-green"]["volumes"] == mounts


def test_a_service_without_networks_is_on_the_default_one() -> None:
    """As with Compose itself."""
    project = green(compose_model(networks=None))
    assert list(project["networks"]) == ["default"]


def test_escaped_dollars_stay_escaped() -> None:
    """`$$` in the user's file reaches Compose as `$$`, so it is not interpolated a second time."""
    assert web(compose_model(command=["sh", "-c", "echo $$HOME"]))["command"][2] == "echo $$HOME"


def test_other_keys_are_kept() -> None:
    """Limits, healthcheck, users and hardening apply to both colors as written."""
    kept = {"read_only": True, "cap_drop": ["ALL"], "healthcheck": {"test": ["CMD", "true"]}}
    service = web(compose_model(**kept, deploy={"resources": {"limits": {"cpus": 1}}}), replicas=3)
    assert {key: service[key] for key in kept} == kept
    assert service["deploy"] == {"resources": {"limits": {"cpus": 1}}, "replicas": 3}


def test_the_labels_tell_what_runs() -> None:
    """A container says its version, color and configuration, beside the user's labels."""
    marks = web(compose_model(labels={"team": "red"}))["labels"]
    assert marks["team"] == "red"
    assert (marks["ondeploy.version"], marks["ondeploy.color"]) == ("v2", "green")
    assert marks["ondeploy.config-hash"] == "abc"


def test_several_services_are_released_together() -> None:
    """A worker gets a color too, with its own image."""
    model = compose_model()
    model["services"]["worker"] = {"image": "example/worker:v2", "networks": {"default": None}}
    project = green(model, services=["web", "worker"])
    assert list(project["services"]) == ["web-green", "worker-green"]


def test_the_users_model_is_left_as_it_is() -> None:
    """Making a color or its hash changes nothing in the model that the next color is made of."""
    model = compose_model()
    before = copy.deepcopy(model)
    green(model)
    config_hash(model, make_settings())
    assert model == before


def test_the_hash_is_the_same_for_another_version() -> None:
    """Another version and image of the same configuration are told from a changed configuration."""
    settings = make_settings()
    other = compose_model(image="example/web:v2", environment={"VERSION": "v2", "MODE": "fast"})
    assert config_hash(compose_model(), settings) == config_hash(other, settings)


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {"VERSION": "v1", "MODE": "slow"}},
        {"environment": {"VERSION": "v1"}},
        {"command": ["serve"]},
        {"user": "1000"},
        {"labels": {"a": "b"}},
        {"networks": {"default": None, "inner": None}},
        {"volumes": [{"type": "volume", "source": "data", "target": "/data"}]},
        {"deploy": {"resources": {"limits": {"memory": "1g"}}}},
        {"stop_grace_period": "3s"},
    ],
)
def test_the_hash_notices_every_other_change(change: dict[str, Any]) -> None:
    """The same version in another configuration is a release worth making."""
    settings = make_settings()
    assert config_hash(compose_model(), settings) != config_hash(compose_model(**change), settings)


def test_the_hash_notices_port_and_replicas() -> None:
    """What ondeploy itself adds to the configuration counts as configuration."""
    model = compose_model()
    hashes = {
        config_hash(model, make_settings(release={"services": ["web"], **more}))
        for more in ({"port": 8000}, {"port": 8001}, {"port": 8000, "replicas": 2})
    }
    assert len(hashes) == 3


def test_the_platform_is_all_that_is_not_released() -> None:
    """Unless the configuration names it."""
    assert list(platform_services(compose_model(), make_settings())) == ["catalog", "nginx"]
    named = make_settings(platform={"services": ["nginx"]})
    assert list(platform_services(compose_model(), named)) == ["nginx"]


def test_what_only_a_release_uses_is_made_as_the_compose_file_says() -> None:
    """A network or volume that is missing comes with its driver, subnet and Compose's labels."""
    model = compose_model()
    model["networks"]["inner"] = {
        "name": "shop_inner",
        "driver": "bridge",
        "driver_opts": {"com.docker.network.bridge.name": "br0"},
        "internal": True,
        "ipam": {"config": [{"subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}, {}]},
    }
    assert creation_options("network", "inner", model) == [
        "--driver=bridge",
        "--opt=com.docker.network.bridge.name=br0",
        "--label=com.docker.compose.project=shop",
        "--label=com.docker.compose.network=inner",
        "--internal",
        "--subnet=10.9.0.0/24",
        "--gateway=10.9.0.1",
    ]
    model["volumes"]["data"]["driver_opts"] = {"type": "tmpfs"}
    assert creation_options("volume", "data", model) == [
        "--opt=type=tmpfs",
        "--label=com.docker.compose.project=shop",
        "--label=com.docker.compose.volume=data",
    ]
