"""What a task prints: results on stdout, progress and errors on stderr.

Everything heavy is imported inside, so that `invoke --list` costs what Invoke costs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ondeploy.errors import UsageError

if TYPE_CHECKING:
    from ondeploy.model import Outcome, Request
    from ondeploy.world import World


def show_outcome(outcome: Outcome, as_json: bool) -> int:
    from ondeploy import report  # noqa: PLC0415

    show(report.outcome_json(outcome) if as_json else report.outcome_text(outcome))
    return outcome.code


def show_plan(world: World, request: Request, as_json: bool) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    seen = commands.dry_run(world, request)
    form: Any = report.plan_json if as_json else report.plan_text
    show(form(seen.plan, seen.snapshot, seen.nginx_diff))
    return 0


def show_status(world: World, as_json: bool) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    form = report.status_json if as_json else report.status_text

    show(form(commands.status(world), world.settings.env))
    return 0


def show_history(world: World, as_json: bool, limit: str) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    if not limit.isdecimal() or int(limit) < 1:
        raise UsageError(f"--limit {limit!r} is not a positive number", "for example: --limit 20")
    form = report.history_json if as_json else report.history_text
    show(form(commands.history(world, int(limit))))
    return 0


def show_unlock(world: World, as_json: bool, force: bool) -> int:
    from ondeploy import commands, report  # noqa: PLC0415

    held = commands.unlock(world, force=force)
    if as_json:
        show(report.dumps({"removed": report.lease_facts(held)}))
    else:
        show(f"removed the lease of {held.who} («{held.command}»)" if held else "no lease is held")
    return 0


def show_prune(world: World, as_json: bool) -> int:
    from ondeploy import commands  # noqa: PLC0415
    from ondeploy.model import Request  # noqa: PLC0415

    with world.signals.listening():
        outcome, pruned = commands.prune(world, Request("prune", env=world.settings.env))
    if not as_json:
        show(
            f"removed {pruned.images} images, {pruned.generations} nginx configurations and "
            f"{pruned.journals} journals"
        )
    return show_outcome(outcome, as_json)


def say(line: str) -> None:
    """Progress for people, on stderr so that stdout stays one JSON document."""
    write(sys.stderr, f"  {line}")


def show(text: str) -> None:
    """The result, on stdout."""
    write(sys.stdout, text)


def write(stream: TextIO, text: str) -> None:
    """Print, and go on if nobody reads: a closed pipe or a full disk must not end a release."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        # Python would try to flush the rest at exit, and turn that into an exit code.
        with contextlib.suppress(OSError), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
