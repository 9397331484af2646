"""The stories, from the command to the outcome, on a pretend host."""

from functools import partial
from typing import Any

import pytest

from ondeploy import commands
from ondeploy.errors import (
    EngineError,
    Interrupted,
    LeaseHeld,
    LeaseLost,
    OndeployError,
    ReleaseUnhealthy,
    RollbackFailed,
    RouterRefused,
    UsageError,
)
from ondeploy.model import Color, Outcome, Request, RunSummary, Snapshot, Weights
from ondeploy.plan import images_beyond
from tests.fakes import BLUE, EPOCH, GREEN, App, Host, make_settings


def shop(**apps: App) -> Host:
    """A host with a short bake on which nothing was released yet."""
    host = Host(make_settings(bake={"minutes": 1, "deadline_minutes": 1}), **apps)
    host.stack.platform = {}
    return host


def deploy(host: Host, version: str, **options: Any) -> Outcome:
    """Release a version."""
    return commands.deploy(host.world, Request("deploy", version, **options))


def rollback(host: Host, version: str = "") -> Outcome:
    """Go back."""
    return commands.rollback(host.world, Request("rollback", version))


def test_the_life_of_an_app() -> None:
    """First release, next release, rollback while warm, the same again, and a third release."""
    host = shop()
    assert deploy(host, "v1").active is BLUE
    assert host.stack.platform == {"catalog": "healthy", "nginx": "healthy"}
    second = deploy(host, "v2")
    assert (second.result, second.active, second.active_version) == ("succeeded", GREEN, "v2")
    assert (host.runs(BLUE), host.runs(GREEN)) == ("v1", "v2")  # v1 stays warm
    assert (rollback(host).active_version, host.traffic) == ("v1", BLUE)
    assert deploy(host, "v1").result == "unchanged"
    assert (deploy(host, "v3").active_version, host.runs(GREEN)) == ("v3", "v3")
    outcomes = [(run.command, run.version, run.outcome) for run in commands.history(host.world, 9)]
    assert outcomes == [
        ("deploy", "v1", "succeeded"),
        ("deploy", "v2", "succeeded"),
        ("rollback", "v1", "succeeded"),
        ("deploy", "v3", "succeeded"),
    ]
    assert host.lease.info is None


def test_a_cold_rollback_runs_the_recorded_image() -> None:
    """After prune the previous release comes back as it was, from its id."""
    host = shop()
    deploy(host, "v1")
    deploy(host, "v2")
    commands.prune(host.world, Request("prune"))
    assert host.runs(BLUE) == ""
    ended = rollback(host)
    assert (ended.active, ended.active_version) == (BLUE, "v1")
    assert host.stack.running[BLUE].release.digest == "sha256:v1"


def test_a_warm_release_that_went_sick_is_started_afresh() -> None:
    """A rollback does not send visitors to a standby that does not answer: it starts it again."""
    host = shop(v1=App(sick_after=100))
    deploy(host, "v1")
    deploy(host, "v2")
    host.clock.pass_time(100)
    planned = commands.dry_run(host.world, Request("rollback")).plan
    assert "start-standby" in [step.name for step in planned.steps]
    ended = rollback(host)
    assert (ended.result, ended.code, ended.active_version) == ("succeeded", 0, "v1")
    assert "stack.up blue" in host.calls[host.calls.index("journal begin rollback") :]
    assert host.traffic is BLUE


def test_a_warm_rollback_starts_nothing() -> None:
    """The standby answers its probe: nginx is told, and that is all."""
    host = shop()
    deploy(host, "v1")
    deploy(host, "v2")
    ended = rollback(host)
    assert [record.name for record in ended.steps] == ["stage-router", "shift", "finish"]
    assert ended.active_version == "v1"


def test_rollback_to_what_is_active_is_nothing_to_do() -> None:
    """A script may repeat it: exit code 0, and no run in the history."""
    host = shop()
    deploy(host, "v1")
    deploy(host, "v2")
    ended = rollback(host, "v2")
    assert (ended.result, ended.code, ended.active_version) == ("unchanged", 0, "v2")
    assert ended.reason == "v2 is already active in green"
    assert len(commands.history(host.world, 9)) == 2
    assert commands.dry_run(host.world, Request("rollback", "v2")).plan.steps == ()


def test_one_rollback_after_another_goes_further_back_and_never_forth() -> None:
    """v3, v2, v1, and then nowhere; by name to any; what is released anew counts."""
    host = shop()
    for version in ("v1", "v2", "v3"):
        deploy(host, version)
    assert rollback(host).active_version == "v2"
    assert rollback(host).active_version == "v1"
    with pytest.raises(UsageError, match="rolled back from"):
        rollback(host)
    assert rollback(host, "v3").active_version == "v3"
    deploy(host, "v2")
    deploy(host, "v4")
    assert rollback(host).active_version == "v2"


def test_a_rollback_past_a_release_does_not_come_back_to_it() -> None:
    """From v3 by name to v1: the next plain rollback is no way forth to v2."""
    host = shop()
    for version in ("v1", "v2", "v3"):
        deploy(host, version)
    assert rollback(host, "v1").active_version == "v1"
    with pytest.raises(UsageError, match="there is no earlier release"):
        rollback(host)
    assert host.traffic is not None
    assert host.runs(host.traffic) == "v1"


def test_a_release_made_twice_is_rolled_back_from_like_any_other() -> None:
    """v1, v2, v1 again and back to v2: the next rollback does not bring v1 back."""
    host = shop()
    for version in ("v1", "v2", "v1"):
        deploy(host, version)
    assert rollback(host).active_version == "v2"
    with pytest.raises(UsageError, match="rolled back from"):
        rollback(host)


def test_a_dry_run_changes_nothing() -> None:
    """It reads and decides; nothing is written, started, staged or locked."""
    host = shop()
    deploy(host, "v1")
    host.calls.clear()
    before = (dict(host.stack.running), host.router.state, dict(host.router.staged))
    seen = commands.dry_run(host.world, Request("deploy", "v2"))
    assert [step.name for step in seen.plan.steps][-1] == "finish"
    assert seen.nginx_diff == "+ blue 0, green 100"
    reads = ("stack.observe", "router.observe", "journal.history")
    assert [call for call in host.calls if call not in reads] == []
    assert (host.stack.running, host.router.state, host.router.staged) == before


def test_a_dry_rollback_says_which_release() -> None:
    """--dry-run of a rollback names what it would go back to."""
    host = shop()
    deploy(host, "v1")
    deploy(host, "v2")
    seen = commands.dry_run(host.world, Request("rollback"))
    assert (seen.plan.release.version, seen.plan.target) == ("v1", BLUE)


def test_a_second_release_is_told_who_is_first() -> None:
    """While one run holds the lease another is refused with exit code 3, and changes nothing."""
    host = shop()
    deploy(host, "v1")
    now = host.clock.now().isoformat()
    host.lease.take(
        {"id": "X", "who": "eve", "command": "deploy", "version": "v2", "acquired": now}
    )
    host.calls.clear()
    with pytest.raises(LeaseHeld, match="eve is running «deploy»") as caught:
        deploy(host, "v3")
    assert caught.value.code == 3
    assert host.calls == ["lease.take"]
    assert host.lease.info is not None
    assert host.lease.info["id"] == "X"


def killed(host: Host, version: str, after: str) -> None:
    """Release a version and die right after a call, as kill -9 does: no undo, no end."""

    class Killed(BaseException):
        pass

    original = host.call

    def call(name: str, *details: object) -> None:
        original(name, *details)
        if " ".join([name, *map(str, details)]) == after:
            raise Killed

    host.call = call  # type: ignore[method-assign]
    with pytest.raises(Killed):
        deploy(host, version)
    host.call = original  # type: ignore[method-assign]


KILLS = [
    "journal begin deploy",
    "journal intend check-platform",
    "journal intend prepare-images",
    "stack.pull example/web:v2",
    "journal intend start-standby",
    "stack.up green",
    "journal done start-standby",
    "journal intend stage-router",
    "journal done wait-ready",
    "journal done smoke",
    "journal intend shift",
    "router.activate 0 100",
    "journal done shift",
    "journal intend bake",
    "metrics.counts green v2",
    "journal done bake",
    "journal intend finish",
]


@pytest.mark.parametrize("moment", KILLS)
def test_whenever_a_run_is_killed_the_next_one_recovers(moment: str) -> None:
    """Before its commit point a killed release is undone: v1 has the traffic and v2 is gone."""
    host = shop()
    deploy(host, "v1")
    killed(host, "v2", moment)
    host.lease.info = None  # its time ran out
    ended = commands.recover(host.world, Request("recover"))
    assert ended.code == 0
    assert (host.traffic, host.runs(BLUE)) == (BLUE, "v1")
    assert host.runs(GREEN) == ""
    assert commands.recover(host.world, Request("recover")).result == "unchanged"


def test_a_run_killed_after_its_commit_point_stays_released() -> None:
    """The next command finds it finished: v2 keeps the traffic and v1 stays warm."""
    host = shop()
    deploy(host, "v1")
    killed(host, "v2", "journal done finish")
    host.lease.info = None
    assert commands.recover(host.world, Request("recover")).code == 0
    assert (host.traffic, host.runs(GREEN), host.runs(BLUE)) == (GREEN, "v2", "v1")
    deploy(host, "v3")
    assert rollback(host).active_version == "v2"  # it counts as released


def test_a_deploy_recovers_before_it_plans() -> None:
    """After a kill in the bake the next deploy starts from the release before it."""
    host = shop()
    deploy(host, "v1")
    killed(host, "v2", "journal intend bake")
    host.lease.info = None
    ended = deploy(host, "v3")
    assert (ended.code, ended.active_version, host.runs(BLUE)) == (0, "v3", "v1")
    assert any("«deploy v2» by ada@example" in line for line in host.said)


def test_a_recovery_that_fails_stops_the_deploy() -> None:
    """Nothing is released onto a host that could not be tidied up: exit code 6."""
    host = shop()
    deploy(host, "v1")
    killed(host, "v2", "journal done shift")
    host.lease.info = None
    host.broken["router.activate"] = EngineError("gone")
    with pytest.raises(RollbackFailed, match="an earlier run could not be recovered") as caught:
        deploy(host, "v3")
    assert caught.value.code == 6
    assert host.lease.info is None


def test_a_first_release_that_died_before_nginx_ran_is_tidied_up() -> None:
    """Killed while the platform came up, nothing has traffic: recovery asks nothing of nginx."""
    host = shop()
    killed(host, "v1", "stack.start_platform catalog nginx")
    assert host.router.state is not None
    host.router.send(Weights(0, 0), serving=False)
    host.lease.info = None
    host.calls.clear()
    assert commands.recover(host.world, Request("recover")).code == 0
    assert not [call for call in host.calls if call.startswith(("router.stage", "router.activ"))]
    assert deploy(host, "v1").active_version == "v1"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (EngineError("gone"), 6),
        (RouterRefused("no"), 6),
        (ReleaseUnhealthy("x"), 6),
        (LeaseLost("taken over"), 3),
        (Interrupted("stopped by SIGINT"), 130),
    ],
    ids=["engine", "nginx", "sick", "lease", "signal"],
)
def test_the_code_of_a_recovery_that_fails(failure: OndeployError, code: int) -> None:
    """A person is needed, except where another run took over or someone pressed Ctrl-C."""
    host = shop()
    deploy(host, "v1")
    killed(host, "v2", "journal done shift")
    host.lease.info = None
    host.broken_once["router.activate"] = failure
    with pytest.raises(RollbackFailed) as caught:
        deploy(host, "v3")
    assert caught.value.code == code


def test_a_recovery_that_fails_is_not_undone() -> None:
    """What it moved away from is no place to go back to: the standby that died gets nothing."""
    host = shop()
    deploy(host, "v1")
    killed(host, "v2", "journal done shift")
    host.lease.info = None
    host.broken["router.drained"] = EngineError("gone")
    host.calls.clear()
    ended = commands.recover(host.world, Request("recover"))
    assert (ended.result, host.traffic) == ("failed", BLUE)
    assert not [call for call in host.calls if call.startswith("journal undo")]
    assert host.calls.count("router.activate 100 0") == 1
    assert "router.activate 0 100" not in host.calls
    host.broken.clear()
    assert commands.recover(host.world, Request("recover")).code == 0


def test_a_prune_that_fails_is_not_undone() -> None:
    """The standby may be half gone; nothing tries to bring it back or touches traffic."""
    host = shop()
    deploy(host, "v1")
    deploy(host, "v2")
    host.broken_once["stack.remove"] = EngineError("gone")
    host.calls.clear()
    ended, pruned = commands.prune(host.world, Request("prune"))
    assert (ended.result, ended.code, host.traffic) == ("failed", 2, GREEN)
    assert (pruned.images, pruned.generations, pruned.journals) == (0, 0, 0)
    assert not [call for call in host.calls if call.startswith(("journal undo", "router.activ"))]


def test_recover_outlasts_a_dead_holder() -> None:
    """It waits until the lease of the killed run has expired, and says whom it waits for."""
    host = shop()
    deploy(host, "v1")
    killed(host, "v2", "journal intend bake")
    host.lease.take({**EVE, "acquired": EPOCH.isoformat()})
    before = host.clock.seconds
    assert commands.recover(host.world, Request("recover")).code == 0
    assert 30 <= host.clock.seconds - before < 40
    assert any("waiting for the lease of eve" in line for line in host.said)


def renew(host: Host) -> None:
    """Show that the holder lives."""
    host.lease.renew("X")


def test_recover_does_not_push_a_living_run_aside() -> None:
    """A holder that renews its lease is alive: exit code 3 as soon as that shows."""
    host = shop()
    deploy(host, "v1")
    host.lease.take({**EVE, "acquired": EPOCH.isoformat()})
    host.clock.later(5, partial(renew, host))
    with pytest.raises(LeaseHeld):
        commands.recover(host.world, Request("recover"))


EVE = {"id": "X", "who": "eve", "command": "deploy", "version": "v2"}


def held_by_eve(host: Host) -> None:
    """Have eve hold the lease, as of now."""
    host.lease.take({**EVE, "acquired": EPOCH.isoformat()})


def test_unlock_refuses_while_the_run_shows_life() -> None:
    """A run that renews its lease during the watch keeps it: exit code 3, and who it is."""
    host = shop()
    held_by_eve(host)
    host.clock.later(6, partial(renew, host))
    with pytest.raises(LeaseHeld, match=r"the run of eve .* is alive") as caught:
        commands.unlock(host.world, force=False)
    assert caught.value.code == 3
    assert "--force" in caught.value.hint
    held = host.lease.read()
    assert held is not None
    assert held.who == "eve"


def test_unlock_watches_long_enough_to_see_a_renewal() -> None:
    """A living run renews at a fifth of the lease: whatever that is, unlock waits for longer."""
    for seconds in (2, 30, 3600):
        host = Host(make_settings(lease={"seconds": seconds}))
        held_by_eve(host)
        commands.unlock(host.world, force=False)
        assert seconds / 5 < host.clock.seconds < seconds / 5 + 2


def test_unlock_frees_the_way_for_the_next() -> None:
    """Nothing was renewed, so that run is dead: its lease goes, and whose it was is told."""
    host = shop()
    held_by_eve(host)
    held = commands.unlock(host.world, force=False)
    assert held is not None
    assert held.who == "eve"
    assert any("watching whether eve" in line for line in host.said)
    assert host.lease.info is None
    assert commands.unlock(host.world, force=False) is None


def test_a_forced_unlock_does_not_watch() -> None:
    """A person who knows better frees the way at once, also from a run that is alive."""
    host = shop()
    held_by_eve(host)
    host.clock.later(6, partial(renew, host))
    held = commands.unlock(host.world, force=True)
    assert held is not None
    assert host.clock.slept == []
    assert host.lease.info is None


def test_prune_stops_the_standby_and_counts_what_went() -> None:
    """The warm release ends; the active one and its image stay."""
    host = shop()
    for version in ("v1", "v2", "v3", "v4", "v5", "v6", "v7"):
        deploy(host, version)
    ended, pruned = commands.prune(host.world, Request("prune"))
    assert ended.code == 0
    assert (host.runs(BLUE), host.runs(GREEN)) == ("v7", "")
    assert (pruned.images, pruned.generations, pruned.journals) == (2, 3, 2)
    removed = [call for call in host.calls if call.startswith("stack.remove_image")]
    assert removed == ["stack.remove_image sha256:v1", "stack.remove_image sha256:v2"]


def test_no_image_that_runs_is_removed() -> None:
    """However old a release is, its image stays while it runs."""
    host = shop()
    deploy(host, "v1")
    runs = tuple(
        RunSummary(
            f"r{n}",
            "deploy",
            f"w{n}",
            "succeeded",
            "",
            EPOCH,
            EPOCH,
            "ada",
            images={"web": f"i{n}"},
        )
        for n in range(9)
    )
    old = RunSummary(
        "r", "deploy", "v1", "succeeded", "", EPOCH, EPOCH, "ada", images={"web": "sha256:v1"}
    )
    slots, _ = host.stack.observe()
    seen = Snapshot(slots, host.router.state, {}, (old, *runs))
    assert "sha256:v1" not in images_beyond(seen, 5)
    assert images_beyond(seen, 5) == ["i0", "i1", "i2", "i3"]


def test_nothing_to_go_back_to_gives_the_lease_back() -> None:
    """A refused rollback leaves no lock behind."""
    host = shop()
    deploy(host, "v1")
    with pytest.raises(UsageError, match="there is no earlier release"):
        rollback(host)
    assert host.lease.info is None


def test_an_image_from_the_command_line_is_released() -> None:
    """--image names what runs, and is pulled only where it is missing."""
    host = shop()
    deploy(host, "v1")
    deploy(host, "v2", image="example/web:hotfix")
    assert host.stack.running[GREEN].release.image == "example/web:hotfix"
    assert "stack.pull example/web:hotfix" not in host.calls
    host.stack.missing_images = {"example/web:other"}
    assert deploy(host, "v3", image="example/web:other").code == 0
    assert "stack.pull example/web:other" in host.calls


def test_a_local_image_that_is_not_there_is_named() -> None:
    """Exit code 2 before anything is started."""
    host = Host(make_settings(release={"services": ["web"], "port": 8000, "source": "local"}))
    host.stack.platform = {}
    host.stack.missing_images = {"example/web:v1"}
    ended = deploy(host, "v1")
    assert (ended.result, ended.code) == ("failed", 2)
    assert ended.reason == "the image example/web:v1 is not on the engine"
    assert host.runs(BLUE) == ""


def test_a_failed_check_stops_before_anything_starts() -> None:
    """The message names the check and has its last words."""
    checks = [{"name": "data", "service": "catalog", "command": ["ls", "/data"]}]
    host = Host(make_settings(checks=checks))
    host.router.send(Weights.all_to(BLUE))
    host.put(BLUE, "v1")
    host.stack.check_reply = type(host.stack.check_reply)(2, "first\nls: /data: no such folder\n")
    ended = deploy(host, "v2")
    assert (ended.result, ended.code) == ("failed", 2)
    assert ended.reason == "check 'data' in catalog failed: ls: /data: no such folder"
    assert host.runs(GREEN) == ""


def test_a_prometheus_that_is_down_is_noticed_before_anything_starts() -> None:
    """Refused before the warm release ends: the bake could only be inconclusive."""
    host = shop()
    host.metrics.silent = "Prometheus at http://127.0.0.1:9090 does not answer: refused"
    assert deploy(host, "v1").code == 0  # a first release is not baked
    ended = deploy(host, "v2")
    assert (ended.result, ended.code, ended.steps[-1].name) == ("failed", 2, "check-platform")
    assert ended.reason.startswith("Prometheus at http://127.0.0.1:9090 does not answer: refused")
    assert "--force" in ended.hint
    assert (host.traffic, host.runs(GREEN)) == (BLUE, "")
    assert deploy(host, "v2", force=True).active_version == "v2"
    assert rollback(host).active_version == "v1"


def test_a_release_that_had_to_start_twice_is_released() -> None:
    """A crash before it was proven ready is forgiven, in the smoke tests and in the bake."""
    host = shop(v2=App(dies_after=0, restarts=True))
    deploy(host, "v1")
    assert deploy(host, "v2").active_version == "v2"


def test_a_sick_active_release_is_no_ground_to_release_on() -> None:
    """Refused with the way out; --force takes it."""
    host = shop(v1=App(sick_after=200))
    deploy(host, "v1")
    host.clock.pass_time(500)
    ended = deploy(host, "v2")
    assert (ended.code, host.traffic) == (2, BLUE)
    assert "the active release in blue is not healthy" in ended.reason
    assert "--force" in ended.hint
    assert deploy(host, "v2", force=True).active_version == "v2"


def test_status_reads_and_remembers_nothing() -> None:
    """What runs, whose lease, and the last run: all as of now."""
    host = shop()
    deploy(host, "v1")
    deploy(host, "v2")
    seen = commands.status(host.world)
    assert seen.active is GREEN
    assert {color: slot.release.version for color, slot in seen.slots.items()} == {
        Color.BLUE: "v1",
        Color.GREEN: "v2",
    }
    assert seen.lease is None
    assert seen.last_run is not None
    assert seen.last_run.version == "v2"


def test_a_platform_image_that_is_missing_is_built_before_its_service_starts() -> None:
    """On a fresh engine the catalog is built by ondeploy, since Compose may refuse to build."""
    host = Host()
    host.stack.model["services"]["catalog"]["build"] = {"context": "/catalog"}
    host.stack.missing_images = {"example/catalog:1"}
    host.stack.platform = {}
    deploy(host, "v1")
    built = host.calls.index("stack.build catalog")
    started = next(n for n, call in enumerate(host.calls) if call.startswith("stack.start_pl"))
    assert built < started
