"""The plan of a blue-green release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ondeploy.colors import config_hash, image_of
from ondeploy.compose_rules import check_model, notes
from ondeploy.model import Color, Release, Request, Snapshot, Weights
from ondeploy.plan.base import (
    Plan,
    check_traffic_known,
    platform_steps,
    router_notes,
    standby_steps,
    switch_steps,
    versions_of,
    versions_with,
)
from ondeploy.settings import Settings
from ondeploy.steps import Bake, Drain, Finish, PrepareImages, Step

FIRST_RELEASE = "a first release is not baked: there is nothing to go back to"


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
        unchanged=f"{release.version} is already active in {active}"
        + ("; --force releases it again" if command == "deploy" else ""),
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


def bake_steps(settings: Settings, target: Color, active: Color | None) -> tuple[Step, ...]:
    """The watch, and then the wait for the last request of the previous release."""
    if active is None:
        return ()
    limit = settings.bake.error_rate_percent if settings.prometheus else None
    return (Bake(target, settings.bake.minutes, limit), Drain())
