"""The plans that tidy up: after a run that never ended, and of a standby no longer wanted."""

from __future__ import annotations

from ondeploy.model import Color, Release, RunSummary, Snapshot, Weights
from ondeploy.plan.base import Plan, versions_of
from ondeploy.steps import Drain, RemoveColor, Shift, StageRouter, Step


def plan_recovery(snapshot: Snapshot, run: RunSummary) -> Plan:
    """What an unfinished run left: put traffic on a released version and tidy up.

    A deploy that had not passed its commit point is undone, if the previous color still runs.
    Otherwise, and for a rollback (both of its versions were released), traffic stays where it is;
    but a color that does not run never keeps it while the other one runs.
    """
    state = snapshot.router
    weights = state.weights if state else Weights.all_to(None)
    undo = run.command == "deploy" and not run.committed and runs(snapshot, run.previous)
    home = run.previous if undo else snapshot.active
    if home and not runs(snapshot, home) and runs(snapshot, home.other):
        home = home.other
    versions = versions_of(snapshot)
    steps: list[Step] = []
    unsettled = state is not None and state.serving and not state.settled
    if state and (unsettled or weights != Weights.all_to(home)):
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
        undoable=False,
        notes=(f"the run {run.id} («{run.command} {run.version}» by {run.who}) did not finish",),
    )


def runs(snapshot: Snapshot, color: Color | None) -> bool:
    slot = snapshot.slots.get(color) if color else None
    return slot is not None and slot.running


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
        undoable=False,
    )


def images_beyond(snapshot: Snapshot, keep: int) -> list[str]:
    """Pure: the images that only releases older than the last `keep` used, as recorded."""
    released = [run for run in snapshot.history if run.images and run.released]
    recent = {image for run in released[-keep:] for image in run.images.values()}
    every = {image for run in snapshot.history for image in run.images.values()}
    running = {slot.release.digest for slot in snapshot.slots.values()}
    return sorted(every - recent - running)
