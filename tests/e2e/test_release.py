"""Releases and rollbacks that go as they should, on a host of their own from its first day."""

from __future__ import annotations

import pytest

from .conftest import MakeHost
from .harness import Host

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def fresh(make_host: MakeHost) -> Host:
    """A host on which nothing was ever released; the stories below follow one another."""
    return make_host("first")


def test_first_release(fresh: Host) -> None:
    """On an empty host the platform is started and the release takes the traffic unbaked."""
    ran = fresh.deploy("v1.0.0", "--json")
    assert ran.code == 0, ran
    assert ran.json["result"] == "succeeded"
    assert (ran.json["active"], ran.json["active_version"]) == ("blue", "v1.0.0")
    assert fresh.expect("v1.0.0", None) == "blue"


def test_rollback_of_the_only_release(fresh: Host) -> None:
    """With one release there is nothing to go back to: exit 2, and it stays."""
    ran = fresh.run("rollback")
    assert ran.code == 2, ran
    assert "released were: v1.0.0" in ran.err
    fresh.expect("v1.0.0", None)


def test_next_release(fresh: Host) -> None:
    """The next version takes the other color and loses no request; the first stays warm."""
    nginx = fresh.container("nginx")
    with fresh.load() as load:
        ran = fresh.deploy("v2.0.0")
    assert ran.code == 0, ran
    assert fresh.expect("v2.0.0", "v1.0.0") == "green"
    assert fresh.container("nginx") == nginx
    load.expect_no_loss()
    assert set(load.report.versions()) == {"blue", "green"}


def test_same_version_again(fresh: Host) -> None:
    """What already runs is left alone: exit 0, no new nginx generation, no container changed."""
    before = fresh.served(), fresh.ids(color="blue"), fresh.ids(color="green")
    ran = fresh.deploy("v2.0.0", "--json")
    assert ran.code == 0, ran
    assert ran.json["result"] == "unchanged"
    assert (fresh.served(), fresh.ids(color="blue"), fresh.ids(color="green")) == before
    fresh.expect("v2.0.0", "v1.0.0")


def test_forced_release(fresh: Host) -> None:
    """--force releases the same version again, in the other color."""
    with fresh.load() as load:
        ran = fresh.deploy("v2.0.0", "--force")
    assert ran.code == 0, ran
    assert fresh.expect("v2.0.0", "v2.0.0") == "blue"
    load.expect_no_loss()


def test_warm_rollback(fresh: Host) -> None:
    """rollback returns to the previous release by a reload alone."""
    with fresh.load() as load:
        assert (ran := fresh.deploy("v3.0.0")).code == 0, ran
        containers = fresh.ids(color="blue"), fresh.ids(color="green")
        back = fresh.run("rollback", "--json")
    assert back.code == 0, back
    assert back.json["active_version"] == "v2.0.0"
    assert "start-standby" not in [step["name"] for step in back.json["steps"]]
    assert fresh.expect("v2.0.0", "v3.0.0") == "blue"
    assert (fresh.ids(color="blue"), fresh.ids(color="green")) == containers
    load.expect_no_loss()


def test_second_rollback(fresh: Host) -> None:
    """A second rollback goes further back, never to the release that was just rolled back."""
    with fresh.load() as load:
        ran = fresh.run("rollback")
    assert ran.code == 0, ran
    assert fresh.expect("v1.0.0", "v2.0.0") == "green"
    load.expect_no_loss()


def test_cold_rollback_after_prune(fresh: Host) -> None:
    """prune stops the warm color; rollback then starts the previous release afresh."""
    with fresh.load() as load:
        assert (ran := fresh.deploy("v3.0.0")).code == 0, ran
        assert (ran := fresh.run("prune")).code == 0, ran
        fresh.expect("v3.0.0", None)
        back = fresh.run("rollback", "--json")
    assert back.code == 0, back
    assert "start-standby" in [step["name"] for step in back.json["steps"]]
    fresh.expect("v1.0.0", "v3.0.0")
    load.expect_no_loss()


def test_rollback_to_a_version(fresh: Host) -> None:
    """rollback --to starts an older release from the image it was recorded with."""
    with fresh.load() as load:
        ran = fresh.run("rollback", "--to", "v2.0.0")
    assert ran.code == 0, ran
    fresh.expect("v2.0.0", "v1.0.0")
    load.expect_no_loss()


def test_rollback_to_what_never_was(fresh: Host) -> None:
    """A version that was never released is refused with those that were; nothing changes."""
    served = fresh.served()
    ran = fresh.run("rollback", "--to", "v0.9.0")
    assert ran.code == 2, ran
    assert "v0.9.0 was never released here" in ran.err
    assert "v1.0.0, v2.0.0, v3.0.0" in ran.err
    assert fresh.served() == served
    fresh.expect("v2.0.0", "v1.0.0")


def test_rollback_of_nothing(make_host: MakeHost) -> None:
    """On a host without any release there is nothing to roll back: exit 2, no container made."""
    empty = make_host("nothing")
    ran = empty.run("rollback")
    assert ran.code == 2, ran
    assert empty.ids() == []


def test_history(fresh: Host) -> None:
    """Every run is in the history, oldest first, with its outcome."""
    ran = fresh.run("history", "--json")
    assert ran.code == 0, ran
    found = [(run["command"], run["version"], run["outcome"]) for run in ran.json]  # type: ignore[index]
    assert found[:2] == [("deploy", "v1.0.0", "succeeded"), ("deploy", "v2.0.0", "succeeded")]
    assert ("rollback", "v1.0.0", "succeeded") in found
    assert found[-1] == ("rollback", "v2.0.0", "succeeded")
    assert len(found) == 10
