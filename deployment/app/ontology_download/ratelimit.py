"""The rate limit: so many requests per visitor and minute, kept in a file.

Requests are counted in memory; once a second the counts are added to the file and the file's
totals read back. So both colors, which share the file, share the limit as well.
"""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

WINDOW_SECONDS = 60


class RateLimit:
    """Counts in memory; knows nothing of the file."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._window = 0
        self._known: Counter[str] = Counter()
        self._fresh: Counter[str] = Counter()

    def allows(self, visitor: str, now: float) -> bool:
        """Count a request unless it is over the limit."""
        self._enter(int(now // WINDOW_SECONDS))
        if self._known[visitor] + self._fresh[visitor] >= self._per_minute:
            return False
        self._fresh[visitor] += 1
        return True

    def take(self, now: float) -> tuple[int, dict[str, int]]:
        """Hand out the minute and what was counted in it since the last call."""
        self._enter(int(now // WINDOW_SECONDS))
        fresh, self._fresh = self._fresh, Counter()
        self._known.update(fresh)
        return self._window, dict(fresh)

    def learn(self, window: int, totals: dict[str, int]) -> None:
        """Take over the file's totals, unless a new minute has begun meanwhile."""
        if window == self._window:
            self._known = Counter(totals)

    def _enter(self, window: int) -> None:
        if window != self._window:
            self._window = window
            self._known.clear()
            self._fresh.clear()


class RateLimitFile:
    """The counts on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, window: int, counts: dict[str, int]) -> dict[str, int]:
        """Add counts to a minute and return its totals; earlier minutes are dropped."""
        with closing(sqlite3.connect(self._path, timeout=5)) as db, db:
            # The counts are worth no disk flush: after a power cut the minute has passed.
            db.execute("PRAGMA synchronous = OFF")
            db.execute(
                "CREATE TABLE IF NOT EXISTS requests"
                " (minute INTEGER, visitor TEXT, count INTEGER, PRIMARY KEY (minute, visitor))"
            )
            db.execute("DELETE FROM requests WHERE minute < ?", (window,))
            db.executemany(
                "INSERT INTO requests VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET count = count + excluded.count",
                [(window, visitor, count) for visitor, count in counts.items()],
            )
            rows = db.execute("SELECT visitor, count FROM requests WHERE minute = ?", (window,))
            return dict(rows.fetchall())
