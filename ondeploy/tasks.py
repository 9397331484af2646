"""Thin Invoke tasks: each parses, calls one command, prints; errors become exit codes here only.

Everything heavy is imported inside, so that `invoke --list` costs what Invoke costs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ondeploy.errors import OndeployError, UsageError
from ondeploy.output import (
    say,
    show,
    show_history,
    show_outcome,
    show_plan,
    show_prune,
    show_status,
    show_unlock,
    write,
)

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
    version: str | None = None,
    env: str = "prod",
    image: str | None = None,
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
    to: str | None = None,
    env: str = "prod",
    config: str = CONFIG,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Return to the previous release: within a second while it is warm."""
    where = Where(config, env, json)
    act("rollback", where, dry_run=dry_run, version=to)


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
    _: Context, limit: str = "20", env: str = "prod", config: str = CONFIG, json: bool = False
) -> None:
    """Show the last runs, oldest first."""
    with_world("history", Where(config, env, json), "read", lambda w, j: show_history(w, j, limit))


@task(auto_shortflags=False, help={**COMMON, "force": "even if the run shows signs of life"})
def unlock(
    _: Context, env: str = "prod", config: str = CONFIG, force: bool = False, json: bool = False
) -> None:
    """Remove the lease of a run that is dead; refuses while the run shows signs of life."""
    where = Where(config, env, json)
    with_world("unlock", where, "read", lambda w, j: show_unlock(w, j, force))


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
    version: str | None = None,
    image: str | None = None,
    force: bool = False,
) -> None:
    """Carry out a command that changes something, or show its plan, and exit with its code."""

    def story(world: World, as_json: bool) -> int:
        if dry_run:
            return show_plan(world, request(), as_json)
        from ondeploy import commands  # noqa: PLC0415

        with world.signals.listening():
            outcome: Outcome = getattr(commands, command)(world, request())
        return show_outcome(outcome, as_json)

    def request() -> Request:
        return checked(command, version, where.env, image, force)

    with_world(command, where, "look" if dry_run else "write", story, check=request)


def with_world(
    command: str,
    where: Where,
    reach: Reach,
    story: Callable[[World, bool], int],
    check: Callable[[], object] = lambda: None,
) -> None:
    """The one place where errors become exit codes: never a traceback."""
    try:
        check()  # before anything is opened, and be it only to look
        from ondeploy.bootstrap import build  # noqa: PLC0415

        world = build(Path(where.config), where.env, os.environ, say, reach)
        code = story(world, where.as_json)
    except Exception as problem:
        from ondeploy import report  # noqa: PLC0415
        from ondeploy.execute import bug_report  # noqa: PLC0415

        error = problem if isinstance(problem, OndeployError) else bug_report(problem)
        if where.as_json:
            show(report.error_json(command, error))
        write(sys.stderr, report.error_text(error))
        raise Exit(code=error.code) from None
    raise Exit(code=code)


def checked(command: str, version: str | None, env: str, image: str | None, force: bool) -> Request:
    """The request, if its words are sound. Given but empty is an error: an unset variable of a
    script must not mean «the default»."""
    from ondeploy.config import check_image, check_version  # noqa: PLC0415
    from ondeploy.model import Request  # noqa: PLC0415

    if command == "deploy" and version is None:
        raise UsageError("deploy needs --version", "for example: --version v1.2.3")
    return Request(
        command=command,
        version=check_version(version) if version is not None else "",
        env=env,
        image=check_image(image) if image is not None else "",
        force=force,
    )
