"""Thin Invoke tasks: each parses, calls one command, prints; errors become exit codes here only.

Everything heavy is imported inside, so that `invoke --list` costs what Invoke costs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ondeploy.errors import OndeployError, UsageError

if TYPE_CHECKING:
    from ondeploy.model import Outcome, Request
    from ondeploy.volume import Reach
    from ondeploy.world import World

CONFIG = "deployment/ondeploy.yml"
COMMON = {
    "env": "environment of the configuration file (default: prod)",
    "config": f"configuration file (default: {CONFIG})",
    "json": "print JSON on stdout; progress goes to stderr",
}


@task(
    auto_shortflags=False,
    help={
        **COMMON,
        "version": "the version to release, as v1.2.3",
        "image": "image to release instead of the configured one",
        "dry-run": "print the plan and what it would change; write nothing",
        "force": "release even if it runs already or the active release is sick",
    },
)
def deploy(
    _: Context,
    version: str = "",
    env: str = "prod",
    image: str = "",
    config: str = CONFIG,
    dry_run: bool = False,
    force: bool = False,
    json: bool = False,
) -> None:
    """Release a version blue-green: start, prove, shift, watch; undo if anything fails."""
    where = Where(config, env, json)
    act("deploy", where, dry_run=dry_run, version=version, image=image, force=force)


@task(
    auto_shortflags=False,
    help={
        **COMMON,
        "to": "version to go back to (default: the previous release)",
        "dry-run": "print the plan and what it would change; write nothing",
    },
)
def rollback(
    _: Context,
    to: str = "",
    env: str = "prod",
    config: str = CONFIG,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Return to the previous release: within a second while it is warm."""
    act("rollback", Where(config, env, json), dry_run=dry_run, version=to)


@task(auto_shortflags=False, help=COMMON)
def recover(_: Context, env: str = "prod", config: str = CONFIG, json: bool = False) -> None:
    """Finish or undo what a killed run left."""
    act("recover", Where(config, env, json))


@task(auto_shortflags=False, help=COMMON)
def status(_: Context, env: str = "prod", config: str = CONFIG, json: bool = False) -> None:
    """Show what runs, which color has the traffic, who holds the lease."""
    with_world("status", Where(config, env, json), "read", show_status)


@task(auto_shortflags=False, help={**COMMON, "limit": "how many runs (default: 20)"})
def history(
    _: Context, limit: int = 20, env: str = "prod", config: str = CONFIG, json: bool = False
) -> None:
    """Show the last runs, oldest first."""
    with_world("history", Where(config, env, json), "read", lambda w, j: show_history(w, j, limit))


@task(auto_shortflags=False, help=COMMON)
def unlock(_: Context, env: str = "prod", config: str = CONFIG, json: bool = False) -> None:
    """Remove the lease of a run that is known to be dead."""
    with_world("unlock", Where(config, env, json), "read", show_unlock)


@task(auto_shortflags=False, help=COMMON)
def prune(_: Context, env: str = "prod", config: str = CONFIG, json: bool = False) -> None:
    """Stop the warm standby; remove old configurations, journals and images."""
    with_world("prune", Where(config, env, json), "write", show_prune)


namespace = Collection(deploy, rollback, recover, status, history, unlock, prune)


class Where(NamedTuple):
    """What every task is told: which file, which environment, and in what form to answer."""

    config: str
    env: str
    as_json: bool


def act(
    command: str,
    where: Where,
    *,
    dry_run: bool = False,
    version: str = "",
    image: str = "",
    force: bool = False,
) -> None:
    """Carry out a command that changes something, or show its plan, and exit with its code."""

    def story(world: World, as_json: bool) -> int:
        request = checked(command, version, where.env, image, force)
        if dry_run:
            return show_plan(world, request, as_json)
        from ondeploy import commands  # noqa: PLC0415

        with world.signals.listening():
            outcome: Outcome = getattr(commands, command)(world, request)
        return show_outcome(outcome, as_json)

    with_world(command, where, "look" if dry_run else "write", story)


def with_world(
    command: str, where: Where, reach: Reach, story: Callable[[World, bool], int]
) -> None:
    """The one place where errors become exit codes: never a traceback."""
    try:
        from ondeploy.bootstrap import build  # noqa: PLC0415

        world = build(Path(where.config), where.env, os.environ, say, reach)
        code = story(world, where.as_json)
    except Exception as problem:
        from ondeploy import report  # noqa: PLC0415
        from ondeploy.execute import bug_report  # noqa: PLC0415

        error = problem if isinstance(problem, OndeployError) else bug_report(problem)
        if where.as_json:
            print(report.error_json(command, error))
        print(report.error_text(error), file=sys.stderr)
        raise Exit(code=error.code) from None
    raise Exit(code=code)


def checked(command: str, version: str, env: str, image: str, force: bool) -> Request:
    from ondeploy.config import check_image, check_version  # noqa: PLC0415
    from ondeploy.model import Request  # noqa: PLC0415

    if command == "deploy" and not version:
        raise UsageError("deploy needs --version", "for example: --version v1.2.3")
    if version:
        check_version(version)
    return Request(command, version, env, check_image(image), force)


def show_outcome(outcome: Outcome, as_json: bool) -> int:
    from ondeploy import report  # noqa: PLC0415

    print(report.outcome_json(outcome) if as_json else report.outcome_text(outcome))
    return outcome.code


def show_plan(world: World, request: Request, as_json: bool) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    seen = commands.dry_run(world, request)
    show: Any = report.plan_json if as_json else report.plan_text
    print(show(seen.plan, seen.snapshot, seen.nginx_diff))
    return 0


def show_status(world: World, as_json: bool) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    show = report.status_json if as_json else report.status_text
    print(show(commands.status(world), world.settings.env))
    return 0


def show_history(world: World, as_json: bool, limit: int) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    show = report.history_json if as_json else report.history_text
    print(show(commands.history(world, limit)))
    return 0


def show_unlock(world: World, as_json: bool) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    held = commands.unlock(world)
    if as_json:
        print(report.dumps({"removed": report.lease_facts(held)}))
    else:
        print(f"removed the lease of {held.who} («{held.command}»)" if held else "no lease is held")
    return 0


def show_prune(world: World, as_json: bool) -> int:
    from ondeploy import commands  # noqa: PLC0415
    from ondeploy.model import Request  # noqa: PLC0415

    with world.signals.listening():
        outcome, pruned = commands.prune(world, Request("prune", env=world.settings.env))
    if not as_json:
        print(
            f"removed {pruned.images} images, {pruned.generations} nginx configurations and "
            f"{pruned.journals} journals"
        )
    return show_outcome(outcome, as_json)


def say(line: str) -> None:
    """Progress for people, on stderr so that stdout stays one JSON document."""
    print(f"  {line}", file=sys.stderr, flush=True)
