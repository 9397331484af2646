"""The records that everything else speaks of; all frozen, none knows Docker, nginx or files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Color(StrEnum):
    """One of the two slots that a release can occupy."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        return Color.GREEN if self is Color.BLUE else Color.BLUE


@dataclass(frozen=True)
class Weights:
    """Percent of new requests sent to each color; they add to 100, or to 0 before any release."""

    blue: int
    green: int

    def __post_init__(self) -> None:
        if min(self.blue, self.green) < 0 or self.blue + self.green not in (0, 100):
            raise ValueError(
                f"weights must add to 100 (or to 0): blue {self.blue}, green {self.green}"
            )

    @classmethod
    def all_to(cls, color: Color | None) -> Weights:
        """Everything to one color; `None` means that no release takes traffic yet."""
        return cls(blue=100 * (color is Color.BLUE), green=100 * (color is Color.GREEN))

    def of(self, color: Color) -> int:
        return self.blue if color is Color.BLUE else self.green

    @property
    def active(self) -> Color | None:
        """The color that holds the traffic: the larger share, blue where they are equal."""
        if self.blue + self.green == 0:
            return None
        return Color.BLUE if self.blue >= self.green else Color.GREEN


@dataclass(frozen=True)
class Release:
    """What runs in a color: the version asked for, the image it became, and its configuration."""

    version: str
    image: str
    """The reference a person would write, as docstokg/ontology-download:v1.2.3."""
    digest: str
    """The image id on the engine (sha256:...), which pins what runs; "" until it is known."""
    config_hash: str


@dataclass(frozen=True)
class Replica:
    """One container of a color, as inspected once."""

    id: str
    name: str
    service: str
    address: str
    """Its IP address on the network that it shares with nginx; "" while it does not run."""
    state: str
    """Docker's word: created, running, restarting, exited, dead ..."""
    health: str
    """Docker's word: healthy, unhealthy, starting; "" without a healthcheck."""
    restarts: int
    exit_code: int = 0

    @property
    def running(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True)
class Slot:
    """A color that has containers."""

    color: Color
    release: Release
    replicas: tuple[Replica, ...]
    routed: bool = True
    """The service that takes the traffic has a container among them."""

    @property
    def running(self) -> bool:
        return self.routed and all(replica.running for replica in self.replicas)

    @property
    def health(self) -> str:
        """One word for all replicas: the worst of them."""
        if not self.routed:
            return "incomplete"
        words = {r.health or r.state if r.running else r.state for r in self.replicas}
        for word in ("dead", "exited", "restarting", "created", "unhealthy", "starting"):
            if word in words:
                return word
        return "healthy" if "healthy" in words else "running"


@dataclass(frozen=True)
class RouterState:
    """What nginx itself says that it serves, and what its volume says that it should."""

    serving: bool
    """False while nginx does not answer: then the rest is what its volume says."""
    generation: int
    intended: int
    weights: Weights
    nginx_version: tuple[int, ...]
    seamless: bool
    """Reloads lose nothing (nginx >= 1.27.4); otherwise a flag file switches without a reload."""

    @property
    def settled(self) -> bool:
        """What nginx serves is what its volume says; a flag file needs no reload to be so."""
        return self.serving and (not self.seamless or self.generation == self.intended)


@dataclass(frozen=True)
class LeaseInfo:
    """Who may change this app now, and until when if they fall silent."""

    id: str
    who: str
    command: str
    version: str
    acquired: datetime
    expires: datetime


@dataclass(frozen=True)
class RunSummary:
    """One line of history, read back from a run's journal."""

    id: str
    command: str
    version: str
    outcome: str
    """succeeded, unchanged, rolled-back, failed, recovered, or unfinished (without an end)."""
    reason: str
    started: datetime
    finished: datetime | None
    who: str
    color: Color | None = None
    previous: Color | None = None
    image: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    """Service -> image id, as released: what a cold rollback starts from."""
    leaves: str = ""
    """The version that had the traffic when the run began."""
    started_standby: bool = False
    """It began to put its own containers into `color`."""
    committed: bool = False
    """The commit point was journaled: from there a crash is finished, not undone."""

    @property
    def released(self) -> bool:
        """It ended with its version in production, if need be with a recovery's help."""
        return self.outcome == "succeeded" or (self.outcome == "recovered" and self.committed)


@dataclass(frozen=True)
class Snapshot:
    """What is observed on the engine and in nginx now; never remembered, always read."""

    slots: Mapping[Color, Slot]
    router: RouterState | None
    platform: Mapping[str, str]
    """Each service of the stack that is not released -> its state, as Slot.health words it."""
    history: tuple[RunSummary, ...] = ()
    """Newest last."""
    lease: LeaseInfo | None = None

    @property
    def active(self) -> Color | None:
        return self.router.weights.active if self.router else None

    def release(self, color: Color | None) -> Release | None:
        slot = self.slots.get(color) if color else None
        return slot.release if slot else None

    @property
    def last_run(self) -> RunSummary | None:
        return self.history[-1] if self.history else None


@dataclass(frozen=True)
class Request:
    """What the person asked for."""

    command: str
    version: str = ""
    env: str = "prod"
    image: str = ""
    force: bool = False


@dataclass(frozen=True)
class StepRecord:
    """How one step of a run went; `seconds` is wall time."""

    name: str
    status: str
    """done, failed, undone, undo-failed, or skipped."""
    seconds: float
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the one thing that reports are made of."""

    run: str
    command: str
    version: str
    result: str
    """succeeded, unchanged, rolled-back, or failed."""
    code: int
    reason: str
    hint: str
    active: Color | None
    active_version: str
    steps: tuple[StepRecord, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
