"""Carries out a plan: journal, do, and on failure undo in reverse; ends in an Outcome always."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from ondeploy.errors import LeaseLost, OndeployError, RollbackFailed
from ondeploy.model import Color, Outcome, StepRecord
from ondeploy.plan import Plan
from ondeploy.steps import Run, Step

UNKNOWN = "unknown: nginx does not answer"


def execute(plan: Plan, run: Run) -> Outcome:
    """Run every step of a plan. Never raises: what went wrong is in the outcome."""
    progress = Progress(run)
    try:
        for step in plan.steps:
            run.world.signals.check()
            progress.do(step)
    except LeaseLost as lost:
        # Someone else is responsible now: not even an undo may touch anything.
        return outcome(plan, run, progress, "failed", lost)
    except OndeployError as failure:
        return ended_badly(plan, run, progress, failure)
    except Exception as bug:
        return ended_badly(plan, run, progress, bug_report(bug))
    return outcome(plan, run, progress, "succeeded", None)


def ended_badly(plan: Plan, run: Run, progress: Progress, failure: OndeployError) -> Outcome:
    """Undo, unless the release is committed already or the plan only ever tidies up."""
    if run.committed:
        run.world.say(f"after the commit point: {failure.message}")
        return outcome(plan, run, progress, "succeeded", None)
    if not plan.undoable:
        return outcome(plan, run, progress, "failed", failure)
    return undo_all(plan, run, progress, failure)


def undo_all(plan: Plan, run: Run, progress: Progress, failure: OndeployError) -> Outcome:
    """Undo in reverse what was begun; a failing undo does not stop the others."""
    run.world.signals.shut()
    run.world.say(f"{failure.message}")
    try:
        run.journal("failed", reason=failure.message)
    except LeaseLost as lost:  # what failed may well be the other run's doing
        return outcome(plan, run, progress, "failed", lost)
    except OndeployError as error:
        run.world.say(f"not journaled: {error.message}")
    problems = progress.undo() if run.touched else []
    if problems:
        failed = RollbackFailed(
            f"{failure.message}; then the rollback failed too: {'; '.join(problems)}",
            "invoke status shows what runs; invoke recover tries again",
        )
        return outcome(plan, run, progress, "failed", failed)
    return outcome(plan, run, progress, "rolled-back" if run.touched else "failed", failure)


@dataclass
class Progress:
    """The steps begun so far, and how each went."""

    run: Run
    begun: list[Step] = field(default_factory=list)
    records: list[StepRecord] = field(default_factory=list)

    def do(self, step: Step) -> None:
        clock = self.run.world.clock
        self.run.journal("intend", step=step.name)
        self.begun.append(step)
        started = clock.monotonic()
        try:
            detail = step.do(self.run)
        except Exception as failure:
            seconds = clock.monotonic() - started
            self.records.append(StepRecord(step.name, "failed", seconds, str(failure)))
            raise
        seconds = clock.monotonic() - started
        self.records.append(StepRecord(step.name, "done", seconds, detail))
        self.run.journal("done", step=step.name, seconds=round(seconds, 3), detail=detail)
        self.run.world.say(
            f"{step.name}: done in {seconds:.2f} s{f' ({detail})' if detail else ''}"
        )

    def undo(self) -> list[str]:
        """Undo every step begun, last first; the problems met."""
        return [problem for step in reversed(self.begun) if (problem := self._undo(step))]

    def _undo(self, step: Step) -> str:
        try:
            self.run.journal("undo", step=step.name)
            step.undo(self.run)
        except Exception as failure:
            self.records.append(StepRecord(step.name, "undo-failed", 0.0, str(failure)))
            return f"{step.name}: {failure}"
        return ""


def outcome(
    plan: Plan, run: Run, progress: Progress, result: str, failure: OndeployError | None
) -> Outcome:
    """Look once more at where traffic is, write the journal's last line, and say it all."""
    active, version = traffic_now(run)
    ended = Outcome(
        run=run.id,
        command=plan.command,
        version=plan.release.version,
        result=result,
        code=failure.code if failure else 0,
        reason=failure.message if failure else "",
        hint=failure.hint if failure else "",
        active=active,
        active_version=version,
        steps=tuple(progress.records),
        seconds=sum(record.seconds for record in progress.records),
        notes=plan.notes,
    )
    if not isinstance(failure, LeaseLost):
        try_to_end(run, ended)
    return ended


def traffic_now(run: Run) -> tuple[Color | None, str]:
    """The active color and its version, read and not remembered; unknown if it cannot be read."""
    try:
        state = run.world.router.observe()
        slots, _ = run.world.stack.observe()
    except OndeployError:
        return None, UNKNOWN
    if state is None or not state.serving:
        return None, UNKNOWN
    active = state.weights.active
    slot = slots.get(active) if active else None
    return active, slot.release.version if slot else ""


def try_to_end(run: Run, ended: Outcome) -> None:
    try:
        run.journal(
            "end",
            result=ended.result,
            code=ended.code,
            reason=ended.reason,
            active=ended.active,
            active_version=ended.active_version,
        )
    except OndeployError as error:
        run.world.say(f"the end of this run could not be journaled: {error.message}")


def bug_report(bug: Exception) -> OndeployError:
    """A fault of ondeploy itself: still one clear error, with the place for a bug report."""
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(bug.__traceback__)
    last = frames[-1]
    where = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
    return OndeployError(
        f"a fault in ondeploy itself: {type(bug).__name__}: {bug} (at {where})",
        "please report it with the output of invoke history --json",
    )
