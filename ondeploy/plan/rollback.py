"""The plan back to an earlier release: warm or cold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ondeploy.colors import config_hash
from ondeploy.compose_rules import check_model
from ondeploy.errors import UsageError
from ondeploy.model import Color, Release, RunSummary, Snapshot, Weights
from ondeploy.plan.base import (
    Plan,
    check_traffic_known,
    platform_steps,
    router_notes,
    standby_steps,
    switch_steps,
    versions_with,
)
from ondeploy.settings import Settings
from ondeploy.steps import Finish, PrepareImages, StageRouter


@dataclass(frozen=True)
class RollbackChoice:
    """Which release to go back to, and how."""

    target: Color
    version: str
    warm: bool
    """It still runs, so going back is a reload; else it starts from the recorded image."""
    run: RunSummary | None


def choose_rollback(snapshot: Snapshot, version: str, warm_answers: bool = True) -> RollbackChoice:
    """The release that `rollback` means: the one asked for, else the one before the active one.

    A standby that does not answer its probe is no warm release: it is started afresh. Raises
    UsageError where there is none, naming those that there are.
    """
    check_traffic_known(snapshot)
    active = snapshot.active
    if active is None:
        raise UsageError("nothing is released here, so there is nothing to roll back to")
    now = snapshot.release(active)
    run = recorded(snapshot, version, active)
    standby = snapshot.slots.get(active.other)
    warm = warm_answers and standby is not None and standby.running
    if run and standby and warm and standby.release.version == run.version:
        return RollbackChoice(active.other, run.version, True, run)
    if version and now and now.version == version:
        raise UsageError(f"{version} is active already, in {active}")
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
    if set(run.images) != set(settings.release.services):
        raise UsageError(
            f"{run.version} was released as {', '.join(sorted(run.images))}, "
            f"release.services now says {', '.join(settings.release.services)}",
            "roll back from a checkout of that time, or release the old version anew",
        )
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
    """The journal of the release to go back to: the newest of this version."""
    now = snapshot.release(active)
    commands = ("deploy", "rollback")
    released = [run for run in snapshot.history if run.released and run.command in commands]
    wanted = version or earlier(released, now.version if now else "")
    for run in reversed(released):
        if run.images and run.version == wanted:  # a warm rollback recorded no images itself
            return run
    return None


def earlier(released: Sequence[RunSummary], active: str) -> str:
    """The version that was released before the active one; "" if none.

    Never one that was itself rolled back from: a second `rollback` must not bring the bad release
    back.
    """
    avoided = {active, *rolled_back_from(released)}
    deployed = [at for at, run in enumerate(released) if is_deploy(run, active)]
    before = released[: deployed[-1]] if deployed else released
    return next((run.version for run in reversed(before) if run.version not in avoided), "")


def rolled_back_from(released: Sequence[RunSummary]) -> set[str]:
    """The versions that a rollback left for an older one and that were not released again since."""
    left: set[str] = set()
    deployed: dict[str, int] = {}
    for at, run in enumerate(released):
        if run.command == "deploy":
            deployed[run.version] = at
            left.discard(run.version)
        elif deployed.get(run.version, -1) < deployed.get(run.leaves, -1):
            left.add(run.leaves)
    return left


def is_deploy(run: RunSummary, version: str) -> bool:
    return run.command == "deploy" and run.version == version


def no_such_release(snapshot: Snapshot, version: str) -> tuple[str, str]:
    versions = {run.version for run in snapshot.history if run.released}
    known = ", ".join(sorted(versions)) or "none"
    if version:
        return f"{version} was never released here; released were: {known}", "invoke history"
    what = "there is no earlier release that was not itself rolled back from"
    return f"{what}; released were: {known}", "name one with --to; invoke history lists every run"
