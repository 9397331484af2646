"""Pure: outcomes, snapshots, plans and history as text for people and JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from ondeploy.errors import OndeployError
from ondeploy.model import Color, LeaseInfo, Outcome, RunSummary, Slot, Snapshot
from ondeploy.plan import Plan

WORDS = {
    "succeeded": "succeeded",
    "unchanged": "nothing to do",
    "rolled-back": "rolled back",
    "failed": "failed",
}


def outcome_text(outcome: Outcome) -> str:
    """What happened, where traffic is, and what to do next."""
    title = f"{outcome.command} {outcome.version}".strip()
    took = f" in {outcome.seconds:.1f} s" if outcome.steps else ""
    code = f" (exit code {outcome.code})" if outcome.code else ""
    rows = [
        ("why", outcome.reason),
        ("traffic", traffic(outcome.active, outcome.active_version)),
        ("next", outcome.hint or next_command(outcome)),
        ("run", outcome.run),
    ]
    lines = [f"{title}: {WORDS[outcome.result]}{took}{code}"]
    lines += [f"  {name:<9}{value}" for name, value in rows if value]
    return "\n".join(lines)


def next_command(outcome: Outcome) -> str:
    if outcome.result in ("succeeded", "unchanged"):
        return ""
    return "invoke history shows the run; invoke status shows what runs"


def traffic(active: Color | None, version: str) -> str:
    if active is None:
        return version or "no release takes traffic"
    return f"{active}, {version or 'version unknown'}"


def outcome_json(outcome: Outcome) -> str:
    return dumps(asdict(outcome))


def error_text(error: OndeployError) -> str:
    """An error that ended a command before it changed anything."""
    hint = error.hint or "correct this, then run the command again"
    return f"error: {error.message}\n  traffic  not touched by this command\n  next     {hint}"


def error_json(command: str, error: OndeployError) -> str:
    return dumps(
        {
            "command": command,
            "result": "failed",
            "code": error.code,
            "reason": error.message,
            "hint": error.hint,
        }
    )


def status_json(snapshot: Snapshot, env: str) -> str:
    """The shape that scripts rely on, see docs/reference.md."""
    last = snapshot.last_run
    return dumps(
        {
            "env": env,
            "active": snapshot.active,
            "colors": {str(color): color_facts(snapshot, color) for color in Color},
            "lease": lease_facts(snapshot.lease),
            "last_run": last and run_facts(last),
        }
    )


def color_facts(snapshot: Snapshot, color: Color) -> dict[str, Any] | None:
    slot = snapshot.slots.get(color)
    if slot is None:
        return None
    return {
        "version": slot.release.version,
        "image": slot.release.image,
        "digest": slot.release.digest,
        "weight": snapshot.router.weights.of(color) if snapshot.router else 0,
        "health": slot.health,
        "replicas": len(slot.replicas),
    }


def lease_facts(lease: LeaseInfo | None) -> dict[str, Any] | None:
    return asdict(lease) if lease else None


def run_facts(run: RunSummary) -> dict[str, Any]:
    return {
        "id": run.id,
        "command": run.command,
        "version": run.version,
        "outcome": run.outcome,
        "started": run.started,
        "finished": run.finished,
    }


def status_text(snapshot: Snapshot, env: str) -> str:
    """What runs, in a few lines."""
    lines = [f"{env}: {headline(snapshot)}", ""]
    lines += [color_line(snapshot, color) for color in Color]
    if snapshot.platform:
        states = ", ".join(f"{name} {state}" for name, state in sorted(snapshot.platform.items()))
        lines += [f"  platform {states}"]
    if snapshot.lease:
        held = snapshot.lease
        what = f"{held.command} {held.version}".strip()
        lines.append(f"  lease    {held.who}, «{what}», until {held.expires:%H:%M:%S} UTC")
    if snapshot.last_run:
        lines.append(f"  last run {run_line(snapshot.last_run)}")
    advice = next_step(snapshot)
    return "\n".join([*lines, *([f"  next     {advice}"] if advice else [])])


def next_step(snapshot: Snapshot) -> str:
    """What to do about what a status shows; "" if all is well."""
    if snapshot.slots and (snapshot.router is None or not snapshot.router.serving):
        return "docker compose up -d nginx, then invoke status"
    last = snapshot.last_run
    if last and last.outcome == "unfinished" and snapshot.lease is None:
        return "invoke recover: the last run was killed"
    slot = snapshot.slots.get(snapshot.active) if snapshot.active else None
    if snapshot.active and (slot is None or not slot.running):
        return "invoke rollback, or release again with --force: the active color is down"
    return ""


def headline(snapshot: Snapshot) -> str:
    if snapshot.router is None:
        return "nginx does not run, or nothing was released yet"
    if not snapshot.router.serving:
        return "nginx does not answer; what follows is what it is set to"
    release = snapshot.release(snapshot.active)
    if snapshot.active is None:
        return "nginx runs, no release takes traffic"
    return f"traffic is on {snapshot.active}, {release.version if release else 'which is gone'}"


def color_line(snapshot: Snapshot, color: Color) -> str:
    slot: Slot | None = snapshot.slots.get(color)
    if slot is None:
        return f"  {color:<8} -"
    weight = snapshot.router.weights.of(color) if snapshot.router else 0
    count = len(slot.replicas)
    return (
        f"  {color:<8} {slot.release.version:<12} {weight:>3} %  {slot.health:<10} "
        f"{count} container{'s' * (count != 1)}  {slot.release.digest[:19]}"
    )


def history_text(runs: Sequence[RunSummary]) -> str:
    if not runs:
        return "nothing was released here yet"
    return "\n".join(run_line(run) for run in runs)


def run_line(run: RunSummary) -> str:
    reason = f": {run.reason}" if run.reason else ""
    return (
        f"{run.started:%Y-%m-%d %H:%M:%S} UTC  {run.command:<8} {run.version:<12} "
        f"{run.outcome:<11} {run.who}{reason}"
    )


def history_json(runs: Sequence[RunSummary]) -> str:
    return dumps([{**run_facts(run), "who": run.who, "reason": run.reason} for run in runs])


def plan_text(plan: Plan, snapshot: Snapshot, nginx_diff: str) -> str:
    """A dry run: the steps, what changes in images and nginx, and what a reader should know."""
    if plan.unchanged:
        return f"{plan.command}: nothing to do: {plan.unchanged}"
    lines = [f"{plan.command} {plan.release.version}: would do, in this order"]
    lines += [f"  {n:>2}. {s.name:<15}{s.detail}" for n, s in enumerate(plan.steps, 1)]
    lines += ["", "release", *release_diff(plan, snapshot)]
    if nginx_diff:
        lines += ["", "nginx.conf", *[f"  {line}" for line in nginx_diff.splitlines()]]
    if plan.notes:
        lines += ["", "notes", *[f"  - {note}" for note in plan.notes]]
    return "\n".join([*lines, "", "dry run: nothing was written"])


def release_diff(plan: Plan, snapshot: Snapshot) -> list[str]:
    """The active release against the planned one: - and + lines."""
    active = snapshot.release(snapshot.active)
    lines = [f"  - {release_words(active)}"] if active else []
    planned = plan.release
    digest = planned.digest[:19] or digest_words(plan)
    return [
        *lines,
        f"  + {planned.version}  {planned.image}  {digest}  config {planned.config_hash}",
    ]


def release_words(release: Any) -> str:
    return (
        f"{release.version}  {release.image}  {release.digest[:19]}  config {release.config_hash}"
    )


def digest_words(plan: Plan) -> str:
    images = next((s for s in plan.steps if s.name == "prepare-images"), None)
    return f"(digest known after: {images.detail})" if images else ""


def plan_json(plan: Plan, snapshot: Snapshot, nginx_diff: str) -> str:
    return dumps(
        {
            "command": plan.command,
            "dry_run": True,
            "version": plan.release.version,
            "unchanged": plan.unchanged,
            "target": plan.target,
            "previous": plan.previous,
            "steps": [{"name": step.name, "detail": step.detail} for step in plan.steps],
            "release": {
                "active": facts_of(snapshot.release(snapshot.active)),
                "planned": facts_of(plan.release),
            },
            "nginx_diff": nginx_diff,
            "notes": list(plan.notes),
        }
    )


def facts_of(release: Any) -> Mapping[str, Any] | None:
    return asdict(release) if release else None


def dumps(facts: Any) -> str:
    return json.dumps(facts, indent=2, default=plain, ensure_ascii=False)


def plain(value: Any) -> str:
    """Times as ISO 8601, which every language can read."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
