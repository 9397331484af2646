"""Ctrl-C, a cancelled job and a closed terminal become one exception, at a place that can take it.

A signal that arrives while Compose or nginx is being changed is noted and raised at the next wait
or step, so that no change is left half made; during an undo it is noted and nothing more.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ondeploy.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Whether someone asked this run to stop."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._open = False
        self._shut = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the stopping signals; the former handlers come back at the end."""
        former = {number: signal.signal(number, self._on_signal) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A wait that a signal may cut short."""
        self.check()
        outer, self._open = self._open, True
        try:
            yield
        finally:
            self._open = outer

    def check(self) -> None:
        """Raise Interrupted if a signal came earlier, unless an undo is under way."""
        if self.received and not self._shut:
            raise Interrupted(f"stopped by {self.received.name}")

    def shut(self) -> None:
        """From here on finish in peace: an undo must not be interrupted."""
        self._shut = True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)
        if self._open:
            self.check()
