"""The append-only record of every run, one JSON object per line, written before the act.

Every append checks in the same locked breath that the lease is still this run's: a run that was
paused and overtaken learns it here, before it can change anything.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ondeploy.errors import EngineError, LeaseLost
from ondeploy.model import Color, RunSummary
from ondeploy.volume import StateVolume

LOST = 74

APPEND = """
read -r id ttl < lease 2>/dev/null || exit {lost}
[ "$id" = {lease} ] || exit {lost}
[ -z "$(tail -c 1 runs/{run}.jsonl 2>/dev/null)" ] || echo >> runs/{run}.jsonl
printf '%s\\n' {line} >> runs/{run}.jsonl
"""

LAST = """
for run in $(ls runs 2>/dev/null | tail -n {limit}); do
  printf '\\n=%s\\n' "$run"; cat "runs/$run"
done
"""

PRUNE = """
n=0
for run in $(ls runs | head -n -{keep}); do rm "runs/$run"; n=$((n + 1)); done
echo $n
"""


class VolumeJournal:
    """Journals on the state volume."""

    def __init__(self, volume: StateVolume) -> None:
        self.volume = volume

    def append(self, run: str, event: str, facts: Mapping[str, Any], lease: str) -> None:
        """Record an event; LeaseLost if the lease is no longer this run's."""
        line = json.dumps({"event": event, **facts}, default=str)
        script = APPEND.format(lost=LOST, lease=shlex.quote(lease), run=run, line=shlex.quote(line))
        reply = self.volume.locked(script)
        if reply.code == LOST:
            raise LeaseLost(
                "this run's lease was taken over or removed; nothing more was changed",
                "invoke status shows what runs; invoke recover tidies up",
            )
        if reply.code != 0:
            raise EngineError(f"the journal could not be written: {reply.text.strip()}")

    def history(self, limit: int) -> tuple[RunSummary, ...]:
        """The last runs, oldest first."""
        reply = self.volume.run(LAST.format(limit=int(limit)), again=True)
        if reply.code != 0:
            raise EngineError(f"the history could not be read: {reply.text.strip()[-300:]}")
        text = reply.text
        runs = text.split("\n=")[1:]
        return tuple(summary(events_in(run.partition("\n")[2])) for run in runs)

    def prune(self, keep: int) -> int:
        """Remove all but the newest journals; how many went."""
        script = PRUNE.format(keep=int(keep))
        return int(self.volume.change(script, "old journals could not be removed"))


def events_in(text: str) -> list[dict[str, Any]]:
    """The events of a journal; a last line cut off by a crash of the host is passed over."""
    events = []
    for line in text.splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def summary(events: Iterable[Mapping[str, Any]]) -> RunSummary:
    """A run in one record, folded from its events."""
    listed = list(events)
    begin = next((e for e in listed if e["event"] == "begin"), {})
    end = next((e for e in reversed(listed) if e["event"] == "end"), None)
    image = next((e for e in listed if e["event"] == "image"), {})
    return RunSummary(
        id=begin.get("run", ""),
        command=begin.get("command", ""),
        version=begin.get("version", ""),
        outcome=end["result"] if end else "unfinished",
        reason=end["reason"] if end else "",
        started=datetime.fromisoformat(begin.get("at", "1970-01-01T00:00:00+00:00")),
        finished=datetime.fromisoformat(end["at"]) if end else None,
        who=begin.get("who", ""),
        color=color_or_none(begin.get("target")),
        previous=color_or_none(begin.get("previous")),
        image=image.get("image", ""),
        images=dict(image.get("images", {})),
        leaves=begin.get("leaves", ""),
        started_standby=any(
            e["event"] == "intend" and e.get("step") == "start-standby" for e in listed
        ),
        committed=any(e["event"] == "commit" for e in listed),
    )


def color_or_none(word: str | None) -> Color | None:
    return Color(word) if word else None
