"""Steps that move traffic, watch it, and make it final."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ondeploy.bake import bake
from ondeploy.model import Color, Weights
from ondeploy.steps.run import Run


@dataclass(frozen=True)
class StageRouter:
    """Have nginx test the whole new configuration, away from the live one."""

    weights: Weights
    seamless: bool
    name: str = "stage-router"

    @property
    def detail(self) -> str:
        how = "reload" if self.seamless else "flag file, since this nginx is older than 1.27.4"
        return f"render and test the nginx configuration (switch by {how})"

    def do(self, run: Run) -> str:
        run.generation = run.world.router.stage(self.weights, run.versions)
        return f"generation {run.generation}"

    def undo(self, run: Run) -> None:
        """A candidate that is not current changes nothing."""


@dataclass(frozen=True)
class Shift:
    """Move new requests by making the staged configuration live."""

    before: Weights
    after: Weights
    versions_before: Mapping[Color, str]
    name: str = "shift"

    @property
    def detail(self) -> str:
        return f"blue {self.before.blue} -> {self.after.blue} %, " + (
            f"green {self.before.green} -> {self.after.green} %"
        )

    def do(self, run: Run) -> str:
        run.touched = run.shifted = True
        run.world.router.activate(run.generation, self.after, run.lease)
        return f"confirmed, generation {run.generation}"

    def undo(self, run: Run) -> None:
        """Send everything back where it was, unless it never left."""
        state = run.world.router.observe()
        if state and state.serving and state.weights == self.before and state.settled:
            return
        generation = run.world.router.stage(self.before, self.versions_before)
        run.world.router.activate(generation, self.before, run.lease)


@dataclass(frozen=True)
class Bake:
    """Watch the release on Prometheus, its probes and its containers, after every scrape."""

    color: Color
    minutes: float
    limit_percent: float | None
    """None where no Prometheus is configured."""
    name: str = "bake"

    @property
    def detail(self) -> str:
        if self.limit_percent is None:
            return f"watch its probes and containers for {self.minutes:g} min; there are no metrics"
        return f"watch it for {self.minutes:g} min; roll back above {self.limit_percent:g} % 5xx"

    def do(self, run: Run) -> str:
        return bake(run.world, self.color, run.release.version, run.reading, run.restarts)

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


@dataclass(frozen=True)
class Finish:
    """The commit point: from here on a crash does not take traffic off the new color."""

    color: Color
    warm: Color | None
    name: str = "finish"

    @property
    def detail(self) -> str:
        return f"{self.color} is the active color" + (
            f"; {self.warm} stays warm for a rollback" if self.warm else ""
        )

    def do(self, run: Run) -> str:
        run.journal("commit", active=self.color)
        run.committed = True
        return ""

    def undo(self, run: Run) -> None:
        """Never called: nothing that can fail comes after the commit point."""
