"""What a run knows while it works, and what every step is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ondeploy.analysis import Reading
from ondeploy.errors import EngineError
from ondeploy.model import Color, Release
from ondeploy.world import World


@dataclass
class Run:
    """What a run has learnt so far; the only thing in it that changes."""

    world: World
    id: str
    lease: str
    model: Mapping[str, Any]
    release: Release
    versions: Mapping[Color, str]
    """What each color runs, as of the end of this run."""
    images: dict[str, str] = field(default_factory=dict)
    generation: int = 0
    reading: Reading = field(default_factory=Reading)
    """What had been counted before the shift: not the visitors' requests."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """Container -> how often it had been restarted when the release was proven."""
    touched: bool = False
    """Something was changed that an undo has to put back."""
    shifted: bool = False
    """Visitors may have reached the release: it may have requests in flight."""

    committed: bool = False
    """The commit point is journaled: nothing is undone any more."""

    def journal(self, event: str, **facts: Any) -> None:
        at = self.world.clock.now().isoformat()
        self.world.journal.append(self.id, event, {"at": at, **facts}, self.lease)


class Step(Protocol):
    """One action of a plan."""

    @property
    def name(self) -> str: ...
    @property
    def detail(self) -> str:
        """One line for the plan."""

    def do(self, run: Run) -> str:
        """Act; a word on how it went, or "" when there is nothing to add."""

    def undo(self, run: Run) -> None: ...


def has_image(run: Run, image: str) -> bool:
    try:
        return bool(run.world.stack.image_id(image))
    except EngineError:
        return False
