"""Everything a run can reach, gathered in one record; bootstrap.py fills it, tests fill it too."""

from __future__ import annotations

from dataclasses import dataclass

from ondeploy.ports import Clock, Journal, Lease, Metrics, Prober, Router, Say, Stack
from ondeploy.settings import Settings
from ondeploy.signals import Signals


@dataclass(frozen=True)
class World:
    """The ports of one environment."""

    settings: Settings
    stack: Stack
    router: Router
    prober: Prober
    metrics: Metrics
    journal: Journal
    lease: Lease
    clock: Clock
    signals: Signals
    say: Say
    who: str
    """The person or job that acts, as user@host or the GitHub actor."""
