"""Which compose files can be released, and what a reader of the plan is told about them."""

from typing import Any

import pytest

from ondeploy.compose_rules import check_model, check_ports, notes, shared_network, state_volume
from ondeploy.errors import ConfigError
from ondeploy.settings import Settings
from tests.fakes import compose_model, make_settings

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("key", "value"), [("ports", [{"target": 8000}]), ("container_name", "web")]
)
def test_what_was_dropped_is_told(key: str, value: Any) -> None:
    """The plan says which keys of the compose file the colors do not use, and why."""
    said = notes(compose_model(**{key: value}), make_settings())
    assert [note for note in said if f"{key} is not used for the colors: " in note]


@pytest.mark.parametrize("mode", ["host", "none", "service:catalog"])
def test_a_borrowed_network_stack_is_refused(mode: str) -> None:
    """With network_mode two colors cannot run side by side: refused, with the reason."""
    with pytest.raises(ConfigError, match="two colors cannot share one network stack") as caught:
        check_model(compose_model(network_mode=mode, networks=None), make_settings())
    assert caught.value.hint


def test_volumes_from_is_refused() -> None:
    """Volumes borrowed from another container cannot be followed."""
    with pytest.raises(ConfigError, match="volumes_from"):
        check_model(compose_model(volumes_from=["catalog"]), make_settings())


@pytest.mark.parametrize("gone", ["web", "nginx"])
def test_a_service_that_is_not_there_is_named(gone: str) -> None:
    """A mistyped service lists those of the compose files."""
    model = compose_model()
    del model["services"][gone]
    with pytest.raises(ConfigError, match=f"no service '{gone}'; they have: catalog"):
        check_model(model, make_settings())


def test_nginx_must_mount_the_state_volume() -> None:
    """Without it the message has the two lines to add."""
    model = compose_model()
    model["services"]["nginx"]["volumes"] = []
    with pytest.raises(ConfigError, match="does not mount a volume at /ondeploy") as caught:
        check_model(model, make_settings())
    assert "ondeploy:/ondeploy" in caught.value.hint


def test_nginx_and_the_service_must_meet() -> None:
    """Without a network of both nginx could not reach a release."""
    model = compose_model(networks={"inner": None})
    with pytest.raises(ConfigError, match="share no network"):
        check_model(model, make_settings())
    assert shared_network(compose_model(), make_settings())


def test_no_note_repeats_a_value() -> None:
    """Environment values may be secrets; the notes of a plan have none."""
    model = compose_model(
        environment={"PASSWORD": SECRET},
        ports=[{"target": 1, "name": SECRET}],
        labels={"x": SECRET},
        networks={"default": {"aliases": [SECRET]}},
    )
    assert SECRET not in "\n".join(notes(model, make_settings()))


def test_a_bind_mount_of_the_checkout_is_pointed_out() -> None:
    """A folder of the checkout inside a container is worth a note; one of the host is not."""
    binds = [
        {"type": "bind", "source": "/srv/shop/conf", "target": "/conf"},
        {"type": "bind", "source": "/etc/ssl", "target": "/ssl"},
    ]
    said = [n for n in notes(compose_model(volumes=binds), make_settings()) if "checkout" in n]
    assert len(said) == 1
    assert "/srv/shop/conf" in said[0]


def test_an_ordinary_compose_file_is_fine() -> None:
    """And its state volume goes by its real name."""
    check_model(compose_model(), make_settings())
    assert state_volume(compose_model(), make_settings()) == "shop_ondeploy"


def test_nginx_cannot_be_released_by_itself() -> None:
    """What routes the release is refused as a part of it."""
    settings = make_settings(release={"services": ["web", "nginx"], "port": 8000})
    with pytest.raises(ConfigError, match="'nginx' routes the release and cannot be released"):
        check_model(compose_model(), settings)


def test_a_mistyped_platform_service_is_named() -> None:
    """Refused at once, with its key, instead of waiting for a service that never comes."""
    settings = make_settings(platform={"services": ["nginx", "katalog"]})
    with pytest.raises(ConfigError, match=r"platform\.services: .* no service 'katalog'"):
        check_model(compose_model(), settings)


def asked_at(url: str) -> Settings:
    """Settings that ask nginx's control port at an address."""
    return make_settings(router={"control_url": url})


def published(*ports: dict[str, Any]) -> dict[str, Any]:
    """The nginx service with these ports."""
    return {"ports": list(ports)}


@pytest.mark.parametrize(
    "ports",
    [
        [],
        [{"target": 8081, "published": "18081", "host_ip": "127.0.0.1"}],
        [{"target": 8081, "published": 18081}],
        [{"target": 8081, "published": "9"}, {"target": 8081, "published": "18081"}],
        [{"target": 8081}],
        [{"target": 8081, "published": "18000-18100"}],
        [{"target": 8080, "published": "80"}],
    ],
    ids=["none", "same", "number", "one-of-two", "dockers-choice", "range", "other-port"],
)
def test_a_control_port_that_may_be_right_is_believed(ports: list[dict[str, Any]]) -> None:
    """Nobody is refused for a port that Docker chooses or that someone else publishes."""
    check_ports(published(*ports), asked_at("http://127.0.0.1:18081"))


@pytest.mark.parametrize(
    ("url", "says"),
    [("http://127.0.0.1:8081", "8081"), ("http://127.0.0.1", "80")],
)
def test_a_control_port_published_elsewhere_is_refused(url: str, says: str) -> None:
    """Both numbers are in the message, so that it is plain which of the files to mend."""
    model = compose_model()
    model["services"]["nginx"]["ports"] = [{"target": 8081, "published": "18081"}]
    with pytest.raises(ConfigError, match=f"as 18081, but router.control_url says {says}$"):
        check_model(model, asked_at(url))
