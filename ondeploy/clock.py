"""The one clock: time and sleep are parameters everywhere else."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from ondeploy.signals import Signals


class SystemClock:
    """Real time; a sleep ends early, by Interrupted, when a signal asks the run to stop."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        with self.signals.interruptible():
            time.sleep(max(seconds, 0))
