"""Pure: from what is wanted and what is observed, the ordered steps. What is planned is what runs.

No step decides strategy later; `--dry-run` prints exactly the tuple that a run would carry out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ondeploy.colors import check_model, config_hash, image_of, notes, platform_services
from ondeploy.errors import PreflightFailed, UsageError
from ondeploy.model import Color, Release, Request, RunSummary, Snapshot, Weights
from ondeploy.settings import Settings
from ondeploy.steps import (
    Bake,
    CheckPlatform,
    CheckWarm,
    Drain,
    Finish,
    PrepareImages,
    RemoveColor,
    Shift,
    Smoke,
    StageRouter,
    StartPlatform,
    StartStandby,
    Step,
    WaitReady,
)

UP = ("healthy", "running", "starting")
FIRST_RELEASE = "a first release is not baked: there is nothing to go back to"


@dataclass(frozen=True)
class Plan:
    """The steps of one run, and what a reader should know about them."""

    command: str
    release: Release
    target: Color | None
    """The color that will be active; None where nothing is to be done."""
    previous: Color | None
    steps: tuple[Step, ...]
    versions: Mapping[Color, str]
    """What each color runs after the plan."""
    weights: Weights
    model: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The compose model of the new release; holds the user's secrets, so it is never printed."""
    notes: tuple[str, ...] = ()
    unchanged: str = ""
    """Why there is nothing to do; "" where there is."""


def plan_deploy(
    settings: Settings, model: Mapping[str, Any], snapshot: Snapshot, request: Request
) -> Plan:
    """Blue-green: start the standby color, prove it, move all traffic, watch it.

    Raises ConfigError if the compose files cannot be released, PreflightFailed if it cannot be
    told where traffic is.
    """
    check_model(model, settings)
    check_traffic_known(snapshot)
    active = snapshot.active
    release = Release(
        version=request.version,
        image=wanted_image(settings, model, request),
        digest="",
        config_hash=config_hash(model, settings),
    )
    if not request.force and is_running(snapshot, release, request):
        assert active is not None
        return nothing_to_do("deploy", release, active, snapshot)
    target = active.other if active else free_color(snapshot)
    return Plan(
        command="deploy",
        release=release,
        target=target,
        previous=active,
        versions=versions_with(snapshot, target, request.version),
        weights=Weights.all_to(target),
        model=model,
        steps=(
            *platform_steps(settings, model, snapshot, check_active=not request.force),
            PrepareImages(source_of(settings, model, request), images_of(settings, model, release)),
            *standby_steps(settings, snapshot, target),
            *switch_steps(snapshot, target),
            *bake_steps(settings, target, active),
            Finish(target, active),
        ),
        notes=(
            *router_notes(snapshot),
            *(() if active else (FIRST_RELEASE,)),
            *notes(model, settings),
        ),
    )


@dataclass(frozen=True)
class RollbackChoice:
    """Which release to go back to, and how."""

    target: Color
    version: str
    warm: bool
    """It still runs, so going back is a reload; else it starts from the recorded image."""
    run: RunSummary | None


def choose_rollback(snapshot: Snapshot, version: str) -> RollbackChoice:
    """The release that `rollback` means: the one asked for, else the one before the active one.

    Raises UsageError where there is none, naming those that there are.
    """
    check_traffic_known(snapshot)
    active = snapshot.active
    if active is None:
        raise UsageError("nothing is released here, so there is nothing to roll back to")
    run = recorded(snapshot, version, active)
    standby = snapshot.slots.get(active.other)
    if (
        standby
        and standby.running
        and standby.release.version
        == (version or (run.version if run else standby.release.version))
    ):
        return RollbackChoice(active.other, standby.release.version, True, run)
    if run is None:
        raise UsageError(*no_such_release(snapshot, version))
    return RollbackChoice(active.other, run.version, False, run)


def plan_rollback(
    settings: Settings, model: Mapping[str, Any], snapshot: Snapshot, choice: RollbackChoice
) -> Plan:
    """Back to a release that ran before: warm, a render and a reload; cold, from its image.

    Neither bakes: the release has been in production. A warm one needs no model.
    """
    if choice.warm:
        return warm_rollback(snapshot, choice.target)
    assert choice.run is not None
    return cold_rollback(settings, model, snapshot, choice.target, choice.run)


def plan_prune(snapshot: Snapshot) -> Plan:
    """Stop the warm standby, if there is one."""
    active = snapshot.active
    standby = snapshot.slots.get(active.other) if active else None
    return Plan(
        command="prune",
        release=snapshot.release(active) or Release("", "", "", ""),
        target=active,
        previous=active,
        steps=(RemoveColor(standby.color, standby.release.version),) if standby else (),
        versions=versions_of(snapshot),
        weights=Weights.all_to(active),
    )


def plan_recovery(snapshot: Snapshot, run: RunSummary) -> Plan:
    """What an unfinished run left: put traffic on a released version and tidy up.

    A deploy that had not passed its commit point is undone, if the previous color still runs.
    Otherwise, and for a rollback (both of its versions were released), traffic stays where it is.
    """
    state = snapshot.router
    weights = state.weights if state else Weights.all_to(None)
    undo = run.command == "deploy" and not run.committed and previous_runs(snapshot, run)
    home = run.previous if undo else snapshot.active
    versions = versions_of(snapshot)
    steps: list[Step] = []
    if state and (not state.settled or weights != Weights.all_to(home)):
        after = Weights.all_to(home)
        steps += [StageRouter(after, state.seamless), Shift(weights, after, versions), Drain()]
    left = snapshot.slots.get(run.color) if run.color else None
    if left and left.color is not home and run.started_standby and not run.committed:
        steps.append(RemoveColor(left.color, left.release.version))
    release = snapshot.release(home) or Release(run.version, "", "", "")
    return Plan(
        command="recover",
        release=release,
        target=home,
        previous=home,
        steps=tuple(steps),
        versions=versions,
        weights=Weights.all_to(home),
        notes=(f"the run {run.id} («{run.command} {run.version}» by {run.who}) did not finish",),
    )


def check_traffic_known(snapshot: Snapshot) -> None:
    """Refuse to decide anything where colors run but nginx's state is unknown."""
    if snapshot.router is None and snapshot.slots:
        colors = " and ".join(sorted(snapshot.slots))
        raise PreflightFailed(
            f"{colors} have containers, but nginx cannot say which color takes the traffic",
            "start nginx (docker compose up -d nginx), then try again",
        )


def wanted_image(settings: Settings, model: Mapping[str, Any], request: Request) -> str:
    """The reference of the routed service's image for this request."""
    named = request.image or (settings.release.image or "").replace("{version}", request.version)
    return named or image_of(model, settings.routed)


def is_running(snapshot: Snapshot, release: Release, request: Request) -> bool:
    """The active color already runs this version in this configuration, and is not sick."""
    active = snapshot.active
    slot = snapshot.slots.get(active) if active else None
    if slot is None or not slot.running or slot.health == "unhealthy":
        return False
    same = (slot.release.version, slot.release.config_hash) == (
        release.version,
        release.config_hash,
    )
    return same and (
        not request.image or request.image in (slot.release.image, slot.release.digest)
    )


def nothing_to_do(command: str, release: Release, active: Color, snapshot: Snapshot) -> Plan:
    return Plan(
        command=command,
        release=snapshot.release(active) or release,
        target=active,
        previous=active,
        steps=(),
        versions=versions_of(snapshot),
        weights=Weights.all_to(active),
        unchanged=f"{release.version} is already active in {active}; --force releases it again",
    )


def free_color(snapshot: Snapshot) -> Color:
    """The color of a first release: blue, unless only green is free."""
    return Color.GREEN if set(snapshot.slots) == {Color.BLUE} else Color.BLUE


def source_of(settings: Settings, model: Mapping[str, Any], request: Request) -> str:
    """build, pull or local. An image named on the command line is there, or is pulled."""
    if request.image:
        return "local" if settings.release.source == "local" else "pull-if-missing"
    if settings.release.source:
        return settings.release.source
    return "build" if model["services"][settings.routed].get("build") else "pull"


def images_of(settings: Settings, model: Mapping[str, Any], release: Release) -> dict[str, str]:
    """Service -> image reference; a service with the routed one's image gets the same."""
    routed = image_of(model, settings.routed)
    found = {name: image_of(model, name) for name in settings.release.services}
    return {name: release.image if image == routed else image for name, image in found.items()}


def platform_steps(
    settings: Settings, model: Mapping[str, Any], snapshot: Snapshot, *, check_active: bool
) -> tuple[Step, ...]:
    services = tuple(platform_services(model, settings))
    missing = tuple(name for name in services if snapshot.platform.get(name) not in UP)
    start = (StartPlatform(missing),) if missing else ()
    return (*start, CheckPlatform(snapshot.active if check_active else None, services))


def standby_steps(settings: Settings, snapshot: Snapshot, target: Color) -> tuple[Step, ...]:
    warm = snapshot.release(target)
    seamless = snapshot.router.seamless if snapshot.router else True
    return (
        StartStandby(target, warm.version if warm else ""),
        StageRouter(Weights.all_to(target), seamless),
        WaitReady(target),
        Smoke(target, max(len(settings.smoke), 1)),
    )


def switch_steps(snapshot: Snapshot, target: Color) -> tuple[Step, ...]:
    before = snapshot.router.weights if snapshot.router else Weights.all_to(None)
    return (Shift(before, Weights.all_to(target), versions_of(snapshot)),)


def bake_steps(settings: Settings, target: Color, active: Color | None) -> tuple[Step, ...]:
    """The watch, and then the wait for the last request of the previous release."""
    if active is None:
        return ()
    limit = settings.bake.error_rate_percent if settings.prometheus else None
    return (Bake(target, settings.bake.minutes, limit), Drain())


def warm_rollback(snapshot: Snapshot, target: Color) -> Plan:
    state, release = snapshot.router, snapshot.release(target)
    assert state is not None
    assert release is not None
    return Plan(
        command="rollback",
        release=release,
        target=target,
        previous=target.other,
        versions=versions_with(snapshot, target, release.version),
        weights=Weights.all_to(target),
        steps=(
            CheckWarm(target),
            StageRouter(Weights.all_to(target), state.seamless),
            *switch_steps(snapshot, target),
            Finish(target, target.other),
        ),
        notes=(*router_notes(snapshot), "warm: it still runs, so this is a reload of nginx"),
    )


def cold_rollback(
    settings: Settings,
    model: Mapping[str, Any],
    snapshot: Snapshot,
    target: Color,
    run: RunSummary,
) -> Plan:
    check_model(model, settings)
    release = Release(run.version, run.image, "", config_hash(model, settings))
    return Plan(
        command="rollback",
        release=release,
        target=target,
        previous=target.other,
        versions=versions_with(snapshot, target, run.version),
        weights=Weights.all_to(target),
        model=model,
        steps=(
            *platform_steps(settings, model, snapshot, check_active=False),
            PrepareImages("local", run.images),
            *standby_steps(settings, snapshot, target),
            *switch_steps(snapshot, target),
            Finish(target, target.other),
        ),
        notes=(
            *router_notes(snapshot),
            f"cold: {run.version} is started from the image that {run.id} recorded",
        ),
    )


def recorded(snapshot: Snapshot, version: str, active: Color) -> RunSummary | None:
    """The journal of the newest release that can be gone back to."""
    now = snapshot.release(active)
    for run in reversed(snapshot.history):
        if run.outcome != "succeeded" or run.command not in ("deploy", "rollback"):
            continue
        if not version and (now is None or run.version != now.version):
            version = run.version
        if run.images and run.version == version:  # a warm rollback recorded no images itself
            return run
    return None


def no_such_release(snapshot: Snapshot, version: str) -> tuple[str, str]:
    versions = {run.version for run in snapshot.history if run.outcome == "succeeded"}
    known = ", ".join(sorted(versions)) or "none"
    what = f"{version} was never released here" if version else "there is no earlier release"
    return f"{what}; released were: {known}", "invoke history lists every run"


def previous_runs(snapshot: Snapshot, run: RunSummary) -> bool:
    slot = snapshot.slots.get(run.previous) if run.previous else None
    return slot is not None and slot.running


def versions_of(snapshot: Snapshot) -> dict[Color, str]:
    return {color: slot.release.version for color, slot in snapshot.slots.items()}


def versions_with(snapshot: Snapshot, target: Color, version: str) -> dict[Color, str]:
    return {**versions_of(snapshot), target: version}


def router_notes(snapshot: Snapshot) -> tuple[str, ...]:
    if snapshot.router is None or snapshot.router.seamless:
        return ()
    found = ".".join(str(part) for part in snapshot.router.nginx_version)
    return (
        f"nginx {found} is older than 1.27.4: traffic is switched by a flag file instead of a "
        "reload, since its reloads can lose requests on kept-alive connections",
    )
