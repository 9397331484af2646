"""The deploy lock: one small file on the state volume, judged by the engine's clock alone.

First line: id and time to live in seconds; second line: who, as JSON. Its mtime is the last sign of
life. Taking, renewing and releasing happen under the volume's flock, so of any number of takers
from any number of machines exactly one wins, and a stale lease is stolen exactly once.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ondeploy.errors import EngineError, LeaseHeld
from ondeploy.model import LeaseInfo
from ondeploy.volume import StateVolume

HELD = 73

TAKE = """
if read -r id ttl < lease 2>/dev/null; then
  age=$(( $(date +%s) - $(stat -c %Y lease) ))
  if [ "$age" -le "$ttl" ]; then exit {held}; fi
fi
printf '%s\\n' {first} {second} > lease.new && mv lease.new lease
"""

READ = """
[ -f lease ] || exit 0
age=$(( $(date +%s) - $(stat -c %Y lease) ))
read -r id ttl < lease
if [ "$age" -gt "$ttl" ]; then exit 0; fi
stat -c %Y lease; cat lease
"""

RENEW = """
read -r id ttl < lease 2>/dev/null && [ "$id" = {id} ] && touch lease
"""

RELEASE = """
read -r id ttl < lease 2>/dev/null && [ "$id" = {id} ] && rm lease
"""


class VolumeLease:
    """The lease of one app."""

    def __init__(self, volume: StateVolume, seconds: float) -> None:
        self.volume = volume
        self.seconds = math.ceil(seconds)

    def take(self, info: Mapping[str, str]) -> None:
        """Take the lease; LeaseHeld names the holder and the time when it would expire."""
        first = shlex.quote(f"{info['id']} {self.seconds}")
        second = shlex.quote(json.dumps(dict(info)))
        reply = self.volume.locked(TAKE.format(held=HELD, first=first, second=second))
        if reply.code == HELD:
            raise held_by(self.read())
        if reply.code != 0:
            raise EngineError(f"the lease could not be taken: {reply.text.strip()}")

    def renew(self, lease: str) -> bool:
        """Show a sign of life; False if the lease is no longer ours."""
        return self.volume.locked(RENEW.format(id=shlex.quote(lease))).code == 0

    def release(self, lease: str) -> None:
        """Give the lease back; nothing happens if it is someone else's by now."""
        self.volume.locked(RELEASE.format(id=shlex.quote(lease)))

    def read(self) -> LeaseInfo | None:
        """Who holds the lease; None if nobody does or it has expired."""
        reply = self.volume.run(READ, again=True)
        return parse(reply.text)

    def clear(self) -> LeaseInfo | None:
        """Remove the lease whoever holds it; who that was."""
        before = self.read()
        self.volume.change("rm -f lease", "the lease could not be removed")
        return before


def parse(text: str) -> LeaseInfo | None:
    """A lease file with its mtime before it, as READ prints them."""
    lines = text.strip().splitlines()
    if len(lines) < 3:
        return None
    renewed = datetime.fromtimestamp(int(lines[0]), UTC)
    identity, ttl = lines[1].split()
    owner = json.loads(lines[2])
    return LeaseInfo(
        id=identity,
        who=owner["who"],
        command=owner["command"],
        version=owner["version"],
        acquired=datetime.fromisoformat(owner["acquired"]),
        expires=renewed + timedelta(seconds=int(ttl)),
    )


def held_by(lease: LeaseInfo | None) -> LeaseHeld:
    if lease is None:  # released between our look and theirs
        return LeaseHeld("another run held the lease a moment ago", "try again")
    what = f"{lease.command} {lease.version}".strip()
    until = lease.expires.strftime("%H:%M:%S UTC")
    return LeaseHeld(
        f"{lease.who} is running «{what}» since {lease.acquired:%H:%M:%S} UTC; "
        f"the lease runs until {until} and is renewed while that run lives",
        "wait for it, or invoke unlock if you know that it is dead",
    )
