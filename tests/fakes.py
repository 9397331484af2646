"""Hand-written fakes of our own ports (ondeploy/ports.py), joined into one pretend host.

`Host` is the world that the fakes share: `stack.up` makes a color appear, `router.activate` moves
the weights, time only passes when someone sleeps, and while it passes visitors send requests.
`Host.broken["stack.up"] = EngineError(...)` makes a call fail; `Host.calls` is what was called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ondeploy.analysis import Counts
from ondeploy.errors import EngineError, LeaseHeld, LeaseLost
from ondeploy.journal import summary
from ondeploy.model import (
    Color,
    LeaseInfo,
    Release,
    Replica,
    RouterState,
    RunSummary,
    Slot,
    Weights,
)
from ondeploy.ports import Answer, NoData, Reply
from ondeploy.settings import Settings
from ondeploy.signals import Signals
from ondeploy.world import World

EPOCH = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
BLUE, GREEN = Color.BLUE, Color.GREEN
CONFIG: dict[str, Any] = {
    "app": "shop",
    "compose": {"files": ["compose.yml"], "project": "shop"},
    "release": {"services": ["web"], "port": 8000, "image": "example/web:{version}"},
}


def make_settings(**sections: Any) -> Settings:
    """Settings of a small shop; every section given replaces the default one."""
    return Settings.model_validate({**CONFIG, "folder": Path("/srv/shop/deployment"), **sections})


def compose_model(**web: Any) -> dict[str, Any]:
    """A compose model as `docker compose config` resolves it, with more keys for `web`."""
    return {
        "name": "shop",
        "services": {
            "web": {
                "image": "example/web:v1",
                "environment": {"VERSION": "v1", "MODE": "fast"},
                "networks": {"default": None},
                **web,
            },
            "catalog": {"image": "example/catalog:1", "networks": {"default": None}},
            "nginx": {
                "image": "nginx:1.29",
                "networks": {"default": None},
                "volumes": [{"type": "volume", "source": "ondeploy", "target": "/ondeploy"}],
            },
        },
        "networks": {"default": {"name": "shop_default"}, "inner": {"name": "shop_inner"}},
        "volumes": {"ondeploy": {"name": "shop_ondeploy"}, "data": {"name": "shop_data"}},
    }


@dataclass(frozen=True)
class App:
    """How the containers of a version behave."""

    ready_after: float = 1.0
    """Seconds until /health and /ready answer 200."""
    dies_after: float | None = None
    restarts: bool = False
    """Docker restarts it when it dies."""
    says: str | None = None
    """The version that it claims to be; its own by default."""
    error_share: float = 0.0
    """Share of the visitors' requests that answer 500."""
    sick_after: float | None = None
    """Seconds until /health fails while the container keeps running."""


@dataclass
class FakeClock:
    """Time that passes when someone sleeps; `later` runs what is due on the way."""

    host: Host | None = None
    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)
    due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        if self.host:
            self.host.visit(seconds)
        ripe = [act for at, act in self.due if at <= self.seconds]
        self.due = [(at, act) for at, act in self.due if at > self.seconds]
        for act in ripe:
            act()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self.due.append((self.seconds + seconds, act))


@dataclass(frozen=True)
class Container:
    """What runs in a color, since when."""

    release: Release
    since: float
    replicas: int


class Host:
    """One pretend machine with its visitors, and a World made of fakes on it."""

    def __init__(self, settings: Settings | None = None, **apps: App) -> None:
        self.settings = settings or make_settings()
        self.apps = apps
        self.calls: list[str] = []
        self.broken: dict[str, Exception] = {}
        self.broken_once: dict[str, Exception] = {}
        self.said: list[str] = []
        self.visitors_per_second = 10.0
        self.counted: dict[Color, Counts] = {}
        self.clock = FakeClock(self)
        self.stack = FakeStack(self)
        self.router = FakeRouter(self)
        self.prober = FakeProber(self)
        self.metrics = FakeMetrics(self)
        self.lease = FakeLease(self)
        self.journal = FakeJournal(self)
        self.signals = Signals()
        self.world = World(
            settings=self.settings,
            stack=self.stack,
            router=self.router,
            prober=self.prober,
            metrics=self.metrics,
            journal=self.journal,
            lease=self.lease,
            clock=self.clock,
            signals=self.signals,
            say=self.said.append,
            who="ada@example",
        )

    def call(self, name: str, *details: object) -> None:
        """Note a call that changes something or may fail, and let it fail if it should."""
        self.calls.append(" ".join([name, *map(str, details)]))
        failure = self.broken_once.pop(name, None) or self.broken.get(name)
        if failure:
            raise failure

    def visit(self, seconds: float) -> None:
        """The requests of visitors while time passes, counted where nginx sends them."""
        for color, container in self.stack.running.items():
            share = self.router.state.weights.of(color) / 100 if self.router.state else 0
            fresh = self.visitors_per_second * seconds * share
            bad = fresh * self.app(container.release.version).error_share
            before = self.counted.get(color, Counts(0, 0))
            self.counted[color] = Counts(before.total + fresh, before.bad + bad)

    def app(self, version: str) -> App:
        return self.apps.get(version, App())

    def runs(self, color: Color) -> str:
        """The version in a color; "" where nothing runs."""
        container = self.stack.running.get(color)
        return container.release.version if container else ""

    @property
    def traffic(self) -> Color | None:
        return self.router.state.weights.active if self.router.state else None

    def put(self, color: Color, version: str, config_hash: str = "") -> None:
        """A version that runs in a color already, for as long as it matters."""
        release = Release(version, f"example/web:{version}", f"sha256:{version}", config_hash)
        self.stack.running[color] = Container(release, self.clock.seconds - 1000, 1)


class FakeStack:
    """Containers that come with `up` and go with `remove`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.model: dict[str, Any] = compose_model()
        self.running: dict[Color, Container] = {}
        self.platform = {"catalog": "healthy", "nginx": "healthy"}
        self.missing_images: set[str] = set()
        self.check_reply = Reply(0, "")

    def prepare(self) -> None:
        pass

    def resolve(self, version: str) -> Mapping[str, Any]:
        model: dict[str, Any] = json.loads(json.dumps(self.model))
        for service in model["services"].values():
            if "VERSION" in service.get("environment", {}):
                service["environment"]["VERSION"] = version
        return model

    def observe(self) -> tuple[Mapping[Color, Slot], Mapping[str, str]]:
        self.host.call("stack.observe")
        slots = {
            color: Slot(color, container.release, self._replicas(color))
            for color, container in self.running.items()
        }
        return slots, dict(self.platform)

    def replicas(self, color: Color) -> tuple[Replica, ...]:
        self.host.call("stack.replicas", color)
        return self._replicas(color) if color in self.running else ()

    def _replicas(self, color: Color) -> tuple[Replica, ...]:
        container = self.running[color]
        app = self.host.app(container.release.version)
        age = self.host.clock.seconds - container.since
        dead = app.dies_after is not None and age >= app.dies_after
        return tuple(
            Replica(
                id=f"{color}{n}",
                name=f"shop-{color}-web-{color}-{n}",
                service=f"web-{color}",
                address=f"{color}-{n}",
                state="exited" if dead and not app.restarts else "running",
                health="",
                restarts=int(dead and app.restarts),
                exit_code=137 * dead,
            )
            for n in range(1, container.replicas + 1)
        )

    def build(self, model: Mapping[str, Any], images: Mapping[str, str]) -> None:
        self.host.call("stack.build", *images)
        self.missing_images -= set(images.values())

    def pull(self, image: str) -> None:
        self.host.call("stack.pull", image)
        self.missing_images.discard(image)

    def image_id(self, image: str) -> str:
        self.host.call("stack.image_id", image)
        if image in self.missing_images:
            raise EngineError(f"docker image: Error: No such image: {image}")
        return image if image.startswith("sha256:") else f"sha256:{image.rpartition(':')[2]}"

    def remove_image(self, image: str) -> bool:
        self.host.call("stack.remove_image", image)
        return True

    def fill_volume(self, volume: str, folder: Path, image: str) -> None:
        self.host.call("stack.fill_volume", volume, folder, image)

    def start_platform(self, version: str, services: Sequence[str]) -> None:
        self.host.call("stack.start_platform", *services)
        self.platform.update(dict.fromkeys(services, "healthy"))
        if self.host.router.state:
            self.host.router.state = replace(self.host.router.state, serving=True)

    def exec(self, service: str, command: Sequence[str], timeout: float) -> Reply:
        self.host.call("stack.exec", service, *command)
        return self.check_reply

    def up(self, project: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        color = Color(project["name"].rpartition("-")[2])
        service = project["services"][f"web-{color}"]
        marks = service["labels"]
        release = Release(
            marks["ondeploy.version"],
            marks["ondeploy.image"],
            service["image"],
            marks["ondeploy.config-hash"],
        )
        replicas = service["deploy"]["replicas"]
        self.running[color] = Container(release, self.host.clock.seconds, replicas)
        self.host.call("stack.up", color)  # at the end: a failing `up` has done half of it

    def remove(self, color: Color, grace: int | None = None) -> None:
        self.host.call("stack.remove", color)
        self.running.pop(color, None)

    def log_tail(self, color: Color, lines: int) -> str:
        return f"the log of {color}"


class FakeRouter:
    """nginx, which has a state once it was seeded."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.state: RouterState | None = None
        self.staged: dict[int, Weights] = {}
        self.busy = 0.0
        """Until then (seconds of the clock) earlier workers still serve requests."""

    def send(self, weights: Weights, *, seamless: bool = True, serving: bool = True) -> None:
        """Have traffic go somewhere, as if an earlier run had sent it there."""
        version = (1, 29, 0) if seamless else (1, 26, 0)
        self.state = RouterState(serving, 7, 7, weights, version, seamless)
        self.staged[7] = weights

    def observe(self) -> RouterState | None:
        self.host.call("router.observe")
        return self.state

    def diff(self, weights: Weights, versions: Mapping[Color, str]) -> str:
        return f"+ blue {weights.blue}, green {weights.green}"

    def seed(self) -> None:
        self.host.call("router.seed")
        if self.state is None:
            self.send(Weights(0, 0), serving=False)

    def stage(self, weights: Weights, versions: Mapping[Color, str]) -> int:
        self.host.call("router.stage", weights.blue, weights.green)
        generation = max(self.staged, default=0) + 1
        self.staged[generation] = weights
        return generation

    def activate(self, generation: int, weights: Weights, lease: str) -> None:
        self.host.call("router.activate", weights.blue, weights.green)
        self.host.lease.check(lease)
        assert self.state is not None
        assert self.staged[generation] == weights
        self.state = replace(
            self.state, generation=generation, intended=generation, weights=weights
        )

    def drained(self) -> bool:
        self.host.call("router.drained")
        return self.host.clock.seconds >= self.busy

    def prune(self, keep: int) -> int:
        self.host.call("router.prune", keep)
        return 3


class FakeProber:
    """Asks the pretend containers and nginx; `until` asks once a second of the fake clock."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.slow = 0.01
        self.refusing: set[str] = set()
        """Addresses of containers that do not answer."""
        self.claims = ""
        """The color that nginx says it served, where it is not the one that was asked for."""

    def get(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> Answer:
        host, _, path = url.removeprefix("http://").partition("/")
        through_nginx = url.startswith(self.host.settings.router.url)
        named = (headers or {}).get(self.host.settings.router.preview_header)
        word = named if through_nginx else host.partition("-")[0]
        container = self.host.stack.running.get(Color(word)) if word else None
        if container is None or host.partition(":")[0] in self.refusing:
            headers = {"x-ondeploy-color": str(word)}
            status = 502 if through_nginx else 0
            return Answer(status, 0.0, headers=headers, problem="connection refused")
        answer = self._answer(container, path)
        color = {"x-ondeploy-color": self.claims or str(word)} if through_nginx else {}
        return replace(answer, headers={**(answer.headers or {}), **color})

    def _answer(self, container: Container, path: str) -> Answer:
        app = self.host.app(container.release.version)
        age = self.host.clock.seconds - container.since
        sick = app.sick_after is not None and age >= app.sick_after
        fit = age >= app.ready_after and not sick
        body = {"version": app.says or container.release.version.removeprefix("v"), "path": path}
        headers = {"content-type": "application/json"}
        return Answer(200 if fit else 503, self.slow, json.dumps(body), headers)

    def until(self, problem: Callable[[], str], limit: float) -> str:
        started = self.host.clock.monotonic()
        while (words := problem()) and self.host.clock.monotonic() - started < limit:
            self.host.clock.sleep(1)
        return words


class FakeMetrics:
    """A Prometheus that counts what the host's visitors met; `answer` overrides it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.answer: Callable[[], Mapping[str, Counts] | NoData] | None = None
        self.silent = ""
        """Why it does not answer at all."""

    def problem(self) -> str:
        return self.silent

    def counts(self, color: Color, version: str) -> Mapping[str, Counts] | NoData:
        self.host.call("metrics.counts", color, version)
        if self.answer:
            return self.answer()
        return {f"{color}:8000": self.host.counted.get(color, Counts(0, 0))}


class FakeLease:
    """A lease that expires by the host's clock."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.info: Mapping[str, str] | None = None
        self.renewed = 0.0

    def _held(self) -> bool:
        age = self.host.clock.seconds - self.renewed
        return self.info is not None and age <= self.host.settings.lease.seconds

    def take(self, info: Mapping[str, str]) -> None:
        self.host.call("lease.take")
        if self._held():
            assert self.info is not None
            raise LeaseHeld(f"{self.info['who']} is running «{self.info['command']}»", "wait")
        self.info, self.renewed = dict(info), self.host.clock.seconds

    def check(self, lease: str) -> None:
        if self.info is None or self.info["id"] != lease:
            raise LeaseLost("this run's lease was taken over", "invoke status")

    def renew(self, lease: str) -> bool:
        self.renewed = self.host.clock.seconds
        return self.info is not None and self.info["id"] == lease

    def release(self, lease: str) -> None:
        self.host.call("lease.release")
        if self.info and self.info["id"] == lease:
            self.info = None

    def read(self) -> LeaseInfo | None:
        if not self._held():
            return None
        assert self.info is not None
        return LeaseInfo(
            id=self.info["id"],
            who=self.info["who"],
            command=self.info["command"],
            version=self.info["version"],
            acquired=datetime.fromisoformat(self.info["acquired"]),
            expires=EPOCH + timedelta(seconds=self.renewed + self.host.settings.lease.seconds),
        )

    def clear(self) -> LeaseInfo | None:
        before = self.read()
        self.info = None
        return before


class FakeJournal:
    """Events in memory, refused to whoever does not hold the lease."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.runs: dict[str, list[dict[str, Any]]] = {}

    def append(self, run: str, event: str, facts: Mapping[str, Any], lease: str) -> None:
        what = facts.get("step") or facts.get("result") or facts.get("command") or ""
        self.host.call(f"journal {event}", what)
        self.host.lease.check(lease)
        line = json.dumps({"event": event, **facts}, default=str)
        self.runs.setdefault(run, []).append(json.loads(line))

    def history(self, limit: int) -> tuple[RunSummary, ...]:
        self.host.call("journal.history")
        newest = list(self.runs.values())[-limit:]
        return tuple(summary(events) for events in newest)

    def prune(self, keep: int) -> int:
        self.host.call("journal.prune", keep)
        return 2
