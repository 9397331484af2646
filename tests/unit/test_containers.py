"""What `docker inspect` says, as our own records."""

from typing import Any

from ondeploy.containers import one_word, replica_of, slot_of
from tests.fakes import GREEN, make_settings


def container(service: str, name: str, version: str = "v2", **state: Any) -> dict[str, Any]:
    """One container as docker inspects it."""
    return {
        "Id": f"id-{name}",
        "Name": f"/{name}",
        "Image": f"sha256:{service}",
        "RestartCount": 0,
        "State": {"Status": "running", "ExitCode": 0, **state},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        "NetworkSettings": {
            "Networks": {"none": {"IPAddress": ""}, "a": {"IPAddress": "10.0.0.5"}}
        },
        "Config": {
            "Labels": {
                "com.docker.compose.service": service,
                "ondeploy.version": version,
                "ondeploy.image": f"example/{service}:{version}",
                "ondeploy.config-hash": "abc",
            }
        },
    }


def test_the_routed_service_speaks_for_its_color() -> None:
    """Version and image of a color are those of the service that takes the traffic."""
    found = [
        container("worker-green", "b"),
        container("web-green", "c"),
        container("web-green", "a"),
    ]
    slot = slot_of(GREEN, found, make_settings())
    assert (slot.release.image, slot.release.digest) == ("example/web-green:v2", "sha256:web-green")
    assert slot.release.config_hash == "abc"
    assert [replica.name for replica in slot.replicas] == ["a", "b", "c"]
    assert (slot.running, slot.health) == (True, "running")


def test_the_worst_container_is_the_health_of_a_color() -> None:
    """One that is not well is not hidden by others."""
    well = container("web-green", "a", Health={"Status": "healthy"})
    for state, word in (
        ({"Health": {"Status": "unhealthy"}}, "unhealthy"),
        ({"Health": {"Status": "starting"}}, "starting"),
        ({"Status": "exited", "ExitCode": 137, "Health": {"Status": "healthy"}}, "exited"),
        ({"Status": "restarting"}, "restarting"),
    ):
        slot = slot_of(GREEN, [well, container("web-green", "b", **state)], make_settings())
        assert slot.health == word
    assert slot_of(GREEN, [well], make_settings()).health == "healthy"


def test_a_container_in_one_word() -> None:
    """Its health where it has a check and runs, else Docker's state."""
    assert one_word(container("nginx", "n")) == "running"
    assert one_word(container("nginx", "n", Health={"Status": "healthy"})) == "healthy"
    assert one_word(container("nginx", "n", Health={"Status": "none"})) == "running"
    dead = container("nginx", "n", Status="exited", Health={"Status": "healthy"})
    assert one_word(dead) == "exited"


def test_a_migration_that_ended_well_is_completed() -> None:
    """A service that runs once and is never restarted is not down when it is done."""
    once = container("migrate", "m", Status="exited")
    assert one_word(once) == "exited"
    once["HostConfig"]["RestartPolicy"]["Name"] = "no"
    assert one_word(once) == "completed"
    once["State"]["ExitCode"] = 1
    assert one_word(once) == "exited"


def test_a_container_without_labels_or_address_is_no_problem() -> None:
    """Foreign containers and such that have no network are read as they are."""
    bare = container("x", "n")
    bare["Config"]["Labels"] = None
    bare["NetworkSettings"]["Networks"] = {}
    replica = replica_of(bare)
    assert (replica.service, replica.address, replica.name) == ("", "", "n")


def test_a_worker_alone_is_no_release() -> None:
    """Without the service that takes the traffic a color is incomplete, however well it runs."""
    slot = slot_of(GREEN, [container("worker-green", "a")], make_settings())
    assert (slot.routed, slot.running, slot.health) == (False, False, "incomplete")
    assert slot.release.version == "v2"
