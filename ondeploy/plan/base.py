"""What every plan is, and what the plans have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ondeploy.colors import platform_services
from ondeploy.errors import PreflightFailed
from ondeploy.model import Color, Release, Snapshot, Weights
from ondeploy.settings import Settings
from ondeploy.steps import (
    CheckPlatform,
    Shift,
    Smoke,
    StageRouter,
    StartPlatform,
    StartStandby,
    Step,
    WaitReady,
)

UP = ("healthy", "running", "starting", "completed")


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
    undoable: bool = True
    """A recovery is not: what it moved away from is no place to go back to."""
    unchanged: str = ""
    """Why there is nothing to do; "" where there is."""


def check_traffic_known(snapshot: Snapshot) -> None:
    """Refuse to decide anything where colors run but nginx's state is unknown."""
    if snapshot.router is None and snapshot.slots:
        colors = " and ".join(sorted(snapshot.slots))
        raise PreflightFailed(
            f"{colors} have containers, but nginx cannot say which color takes the traffic",
            "start nginx (docker compose up -d nginx), then try again",
        )


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
        # Before the warm release makes room: a broken template must not cost the way back.
        StageRouter(Weights.all_to(target), seamless),
        StartStandby(target, warm.version if warm else ""),
        WaitReady(target),
        Smoke(target, len(settings.smoke)),
    )


def switch_steps(snapshot: Snapshot, target: Color) -> tuple[Step, ...]:
    before = snapshot.router.weights if snapshot.router else Weights.all_to(None)
    return (Shift(before, Weights.all_to(target), versions_of(snapshot)),)


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
