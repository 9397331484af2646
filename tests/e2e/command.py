"""One run of the command line: its lines as they come, its signals, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 120.0


@dataclass(frozen=True)
class Ran:
    """How a command ended; shows what it said when an assertion fails."""

    words: str
    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be exactly one JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def __repr__(self) -> str:
        return f"«{self.words}» -> {self.code} in {self.seconds:.1f} s\n{self.err}\n{self.out}"


class Running:
    """A command that runs, in a session of its own."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self.words = " ".join(words[1:-2])
        self.started = time.monotonic()
        self.out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by end()
        self.process = subprocess.Popen(
            words,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def until(self, words: str, seconds: float = 60) -> str:
        """Wait for a line of progress that contains these words; that line."""
        give_up = time.monotonic() + seconds
        with self._news:
            while True:
                for line in self.lines:
                    if words in line:
                        return line
                left = give_up - time.monotonic()
                if self._closed or left <= 0:
                    why = "ended" if self._closed else f"went on for {seconds:g} s"
                    raise AssertionError(f"«{self.words}» {why} without {words!r}: {self.lines}")
                self._news.wait(left)

    def kill(self) -> None:
        """kill -9 for the command and its session, as an operator or a dying machine would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def signal(self, number: signal.Signals) -> float:
        """Send a signal to the command alone; when that was."""
        os.kill(self.process.pid, number)
        return time.monotonic()

    def end(self, seconds: float = LONGEST) -> Ran:
        """Wait for its end; one that does not end is killed, and fails the test."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"«{self.words}» did not end: {self.lines}") from None
        took = time.monotonic() - self.started
        self._reader.join(5)
        self.out.seek(0)
        with self.out:
            return Ran(self.words, code, self.out.read(), "\n".join(self.lines), took)

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()
