"""The stories: what each command does from beginning to end. Tasks call these and print.

deploy:  lease -> recover what an earlier run left -> snapshot -> plan -> execute -> outcome
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ondeploy import checks
from ondeploy.errors import Interrupted, LeaseHeld, LeaseLost, RollbackFailed
from ondeploy.execute import UNKNOWN, execute
from ondeploy.keeper import leased, new_id
from ondeploy.model import LeaseInfo, Outcome, Request, RunSummary, Snapshot
from ondeploy.plan import (
    Plan,
    choose_rollback,
    images_beyond,
    nothing_to_do,
    plan_deploy,
    plan_prune,
    plan_recovery,
    plan_rollback,
)
from ondeploy.steps import Run
from ondeploy.world import World

HISTORY = 50
"""Runs looked at to find the release to go back to."""


def deploy(world: World, request: Request) -> Outcome:
    """Take the service to another version; undo everything if anything fails."""
    with ThreadPoolExecutor(2) as pool:
        # Both while the lease is taken: neither changes anything.
        resolving = pool.submit(world.stack.resolve, request.version)
        pool.submit(world.stack.prepare)
        with leased(world, request) as lease:
            snapshot = recovered(world, observe(world), lease)
            plan = plan_deploy(world.settings, resolving.result(), snapshot, request)
            return carry_out(world, plan, lease)


def rollback(world: World, request: Request) -> Outcome:
    """Return to the previous release, or to the version asked for."""
    with leased(world, request) as lease:
        snapshot = recovered(world, observe(world), lease)
        return carry_out(world, plan_back(world, snapshot, request), lease)


def recover(world: World, request: Request) -> Outcome:
    """Finish or undo what a killed run left; waits until the dead run's lease has expired."""
    with leased(world, request, wait=True) as lease:
        snapshot = observe(world)
        unfinished = unfinished_run(snapshot)
        if unfinished is None:
            return unchanged(snapshot, request, "no run was left unfinished")
        return recover_run(world, snapshot, unfinished, lease)


@dataclass(frozen=True)
class DryRun:
    """A plan that was only looked at, with the differences it would make."""

    plan: Plan
    snapshot: Snapshot
    nginx_diff: str


def dry_run(world: World, request: Request) -> DryRun:
    """Decide what a deploy or rollback would do, and write nothing anywhere."""
    snapshot = observe(world)
    if request.command == "rollback":
        plan = plan_back(world, snapshot, request)
    else:
        model = world.stack.resolve(request.version)
        plan = plan_deploy(world.settings, model, snapshot, request)
    known = snapshot.router is not None and snapshot.router.serving
    diff = world.router.diff(plan.weights, plan.versions) if known and plan.steps else ""
    return DryRun(plan, snapshot, diff)


def status(world: World) -> Snapshot:
    """What runs, who holds the lease, how the last run ended."""
    return observe(world, history=1)


def history(world: World, limit: int) -> tuple[RunSummary, ...]:
    """The last runs, oldest first."""
    return world.journal.history(limit)


def unlock(world: World, *, force: bool) -> LeaseInfo | None:
    """Remove the lease of a dead run; who held it. LeaseHeld if it is renewed while we watch."""
    before = world.lease.read()
    if before is None:
        return None
    if not force:
        world.say(f"watching whether {before.who} still renews the lease")
        world.clock.sleep(world.settings.lease.seconds / 5 + 1.5)
        if world.lease.read() not in (before, None):
            raise LeaseHeld(
                f"the run of {before.who} («{before.command} {before.version}») is alive",
                "stop that run: it rolls back by itself; or unlock --force",
            )
    return world.lease.clear()


@dataclass(frozen=True)
class Pruned:
    """What `prune` removed besides the warm standby."""

    images: int
    generations: int
    journals: int


def prune(world: World, request: Request) -> tuple[Outcome, Pruned]:
    """Stop the warm standby; remove configurations, journals and images beyond retention."""
    with leased(world, request) as lease:
        snapshot = recovered(world, observe(world, history=10_000), lease)
        ended = carry_out(world, plan_prune(snapshot), lease)
        if ended.code != 0:
            return ended, Pruned(0, 0, 0)
        keep = world.settings.retention
        old = images_beyond(snapshot, keep.releases)
        return ended, Pruned(
            images=sum(world.stack.remove_image(image) for image in old),
            generations=world.router.prune(keep.generations),
            journals=world.journal.prune(keep.runs),
        )


def observe(world: World, history: int = HISTORY) -> Snapshot:
    """Everything that decisions rest on, read now; the engine is asked while nginx answers."""
    with ThreadPoolExecutor(1) as pool:
        containers = pool.submit(world.stack.observe)
        router = world.router.observe()
        known = router is not None
        runs = world.journal.history(history) if known else ()
        lease = world.lease.read() if known else None
        slots, platform = containers.result()
    return Snapshot(slots, router, platform, runs, lease)


def recovered(world: World, snapshot: Snapshot, lease: str) -> Snapshot:
    """The snapshot after an earlier run that never ended was recovered."""
    unfinished = unfinished_run(snapshot)
    if unfinished is None:
        return snapshot
    ended = recover_run(world, snapshot, unfinished, lease)
    if ended.code != 0:
        error = RollbackFailed(f"an earlier run could not be recovered: {ended.reason}", ended.hint)
        if ended.code in (LeaseLost.code, Interrupted.code):
            error.code = ended.code
        raise error
    return observe(world)


def unfinished_run(snapshot: Snapshot) -> RunSummary | None:
    """The last run, if its journal has no end; recoveries before it count only if they ended it."""
    last = next((run for run in reversed(snapshot.history) if run.command != "recover"), None)
    return last if last and last.outcome == "unfinished" else None


def recover_run(world: World, snapshot: Snapshot, unfinished: RunSummary, lease: str) -> Outcome:
    """Carry out a recovery, then close the journal of the run that never did."""
    plan = plan_recovery(snapshot, unfinished)
    for note in plan.notes:
        world.say(f"recovering: {note}")
    ended = carry_out(world, plan, lease)
    if ended.code == 0:
        at = world.clock.now().isoformat()
        facts = {"at": at, "result": "recovered", "code": 0, "reason": f"recovered by {ended.run}"}
        world.journal.append(unfinished.id, "end", facts, lease)
    return ended


def plan_back(world: World, snapshot: Snapshot, request: Request) -> Plan:
    """A rollback's plan; the compose files are only resolved for a cold one."""
    now = snapshot.release(snapshot.active)
    if snapshot.active and now and request.version == now.version:
        return nothing_to_do("rollback", now, snapshot.active, snapshot)
    choice = choose_rollback(snapshot, request.version, warm_answers(world, snapshot))
    model = {} if choice.warm else world.stack.resolve(choice.version)
    return plan_rollback(world.settings, model, snapshot, choice)


def warm_answers(world: World, snapshot: Snapshot) -> bool:
    """The standby is alive: asked once, since a rollback has no time to lose."""
    standby = snapshot.slots.get(snapshot.active.other) if snapshot.active else None
    if standby is None:
        return False
    probe = checks.liveness(world)
    return not checks.replicas_problem(world, standby.color, standby.replicas, probe)


def carry_out(world: World, plan: Plan, lease: str) -> Outcome:
    """Journal the plan and execute it; a plan without steps is an outcome already."""
    if plan.unchanged:
        return unchanged_plan(plan)
    run = Run(
        world=world,
        id=new_id(world),
        lease=lease,
        model=plan.model,
        release=plan.release,
        versions=plan.versions,
    )
    run.journal(
        "begin",
        run=run.id,
        command=plan.command,
        version=plan.release.version,
        who=world.who,
        target=plan.target,
        previous=plan.previous,
        leaves=plan.versions.get(plan.previous, "") if plan.previous else "",
        steps=[step.name for step in plan.steps],
    )
    return execute(plan, run)


def unchanged_plan(plan: Plan) -> Outcome:
    return Outcome(
        run="",
        command=plan.command,
        version=plan.release.version,
        result="unchanged",
        code=0,
        reason=plan.unchanged,
        hint="",
        active=plan.target,
        active_version=plan.release.version,
    )


def unchanged(snapshot: Snapshot, request: Request, why: str) -> Outcome:
    """An outcome without a run; where nginx is silent it does not claim to know about traffic."""
    serving = snapshot.router is not None and snapshot.router.serving
    active = snapshot.release(snapshot.active) if serving else None
    return Outcome(
        run="",
        command=request.command,
        version=request.version,
        result="unchanged",
        code=0,
        reason=why,
        hint="" if serving or not snapshot.slots else "docker compose up -d nginx",
        active=snapshot.active if serving else None,
        active_version=active.version if active else "" if serving else UNKNOWN,
    )
