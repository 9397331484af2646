"""What the commands and steps need from the outside world, and nothing more.

Adapters satisfy these by shape; tests/fakes.py has a hand-written fake for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from ondeploy.analysis import Counts
from ondeploy.model import Color, LeaseInfo, Replica, RouterState, RunSummary, Slot, Weights


@dataclass(frozen=True)
class Reply:
    """Exit code and text of something run on the engine."""

    code: int
    text: str


@dataclass(frozen=True)
class NoData:
    """Why there are no numbers; never to be taken for good ones."""

    reason: str


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, or why there was none (`status` 0)."""

    status: int
    seconds: float
    body: str = ""
    headers: Mapping[str, str] | None = None
    problem: str = ""


class Clock(Protocol):
    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class Shell(Protocol):
    """A shell near the state volume."""

    def run(self, script: str, timeout: float | None = None) -> Reply: ...
    def close(self) -> None: ...


class Stack(Protocol):
    """Compose: the services around the release, and the colors."""

    def prepare(self) -> None:
        """Load what `up` will need; harmless to leave out."""

    def resolve(self, version: str) -> Mapping[str, Any]:
        """The compose model as Compose itself resolves it for a version."""

    def observe(self) -> tuple[Mapping[Color, Slot], Mapping[str, str]]:
        """The colors that have containers, and the state of every other service."""

    def replicas(self, color: Color) -> tuple[Replica, ...]: ...
    def build(self, model: Mapping[str, Any], images: Mapping[str, str]) -> None:
        """Build services (-> tag) from the model's own build sections."""

    def pull(self, image: str) -> None: ...
    def image_id(self, image: str) -> str:
        """The image's id on the engine; EngineError if it is not there."""

    def remove_image(self, image: str) -> bool:
        """Remove an image that nothing uses; False if something does."""

    def fill_volume(self, volume: str, folder: Path, image: str) -> None:
        """Copy a folder's content into a named volume, with the tar of an image."""

    def start_platform(self, version: str, services: Sequence[str]) -> None:
        """Start services that are missing; what runs is not touched."""

    def exec(self, service: str, command: Sequence[str], timeout: float) -> Reply:
        """Run a command in a platform service."""

    def up(self, project: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """Start a color's compose project; returns before it is ready."""

    def remove(self, color: Color, grace: int | None = None) -> None:
        """Stop and remove every container of a color; `grace` seconds, by default its own."""

    def log_tail(self, color: Color, lines: int) -> str: ...


class Router(Protocol):
    """nginx: where traffic goes."""

    def observe(self) -> RouterState | None:
        """What nginx serves now, or would serve; None where that cannot be known."""

    def diff(self, weights: Weights, versions: Mapping[Color, str]) -> str:
        """Unified diff from the live configuration to the one that these weights need."""

    def seed(self) -> None:
        """Put a first configuration in place before nginx starts; nothing if there is one."""

    def stage(self, weights: Weights, versions: Mapping[Color, str]) -> int:
        """Test a candidate whole, away from the live one; its generation. Raises RouterRefused."""

    def activate(self, generation: int, weights: Weights, lease: str) -> None:
        """Make a staged candidate live; raises RouterRefused and restores if nginx does not."""

    def drained(self) -> bool:
        """No worker of an earlier configuration still serves requests."""

    def prune(self, keep: int) -> int:
        """Remove all but the newest configurations; how many went."""


class Prober(Protocol):
    """HTTP, asked once or until it is right."""

    def get(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> Answer: ...
    def until(self, problem: Callable[[], str], limit: float) -> str:
        """Ask until there is no problem; the last problem after `limit` seconds."""


class Metrics(Protocol):
    """Where the counts come from."""

    def problem(self) -> str:
        """Why no counts can come at all; "" where they can, or where none are configured."""

    def counts(self, color: Color, version: str) -> Mapping[str, Counts] | NoData:
        """Cumulative counters per instance as of the last scrape."""


class Journal(Protocol):
    """The append-only record of every run, on the engine."""

    def append(self, run: str, event: str, facts: Mapping[str, Any], lease: str) -> None:
        """Record before acting. Raises LeaseLost if the lease is no longer this run's."""

    def history(self, limit: int) -> tuple[RunSummary, ...]: ...
    def prune(self, keep: int) -> int:
        """Remove all but the newest journals; how many went."""


class Lease(Protocol):
    """The deploy lock of one app."""

    def take(self, info: Mapping[str, str]) -> None:
        """Raises LeaseHeld, saying who has it and until when."""

    def renew(self, lease: str) -> bool: ...
    def release(self, lease: str) -> None: ...
    def read(self) -> LeaseInfo | None:
        """Who holds the lease now, as the engine's clock has it."""

    def clear(self) -> LeaseInfo | None:
        """Remove the lease whoever holds it (`unlock`)."""


Say = Callable[[str], None]
"""Progress for people: one line."""
