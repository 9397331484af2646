"""Waiting for the requests that an earlier nginx worker still serves."""

from __future__ import annotations

from dataclasses import dataclass

from ondeploy.steps.run import Run
from ondeploy.world import World


@dataclass(frozen=True)
class Drain:
    """Let requests in flight on the previous color end; it stays warm either way."""

    name: str = "drain"
    detail: str = "wait until no earlier nginx worker serves a request"

    def do(self, run: Run) -> str:
        return "" if wait_drained(run.world) else "still draining; nothing is stopped for it"

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


def wait_drained(world: World, seconds: float | None = None) -> bool:
    """Wait for nginx's earlier workers, as long as the configuration allows; False if some stay.

    Long-lived connections such as websockets may stay for ever; so there is a limit.
    """
    limit = seconds or world.settings.router.drain_seconds
    return not world.prober.until(lambda: "" if world.router.drained() else "draining", limit)
