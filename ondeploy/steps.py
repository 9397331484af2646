"""The named steps of a release; each has its `undo` beside its `do`.

A step is data made by plan.py and acts through the ports in `Run.world`. `undo` must be safe after
a `do` that failed half way, and twice: recovery calls it without knowing how far `do` came.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ondeploy import checks
from ondeploy.analysis import Reading
from ondeploy.bake import bake
from ondeploy.colors import color_project, image_of
from ondeploy.errors import EngineError, PreflightFailed, ReleaseUnhealthy
from ondeploy.model import Color, Release, Weights
from ondeploy.ports import NoData
from ondeploy.world import World

PLATFORM_SECONDS = 120.0
"""Longest wait for nginx, the catalog and the rest to become healthy after they were started."""


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
    """What was counted before the shift, smoke tests included: not the visitors' requests."""
    touched: bool = False
    """Something was changed that an undo has to put back."""

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


@dataclass(frozen=True)
class StartPlatform:
    """Start the services around the release that do not run; the others are not touched."""

    services: tuple[str, ...]
    name: str = "start-platform"

    @property
    def detail(self) -> str:
        return f"start what does not run: {', '.join(self.services)}"

    def do(self, run: Run) -> str:
        world = run.world
        world.router.seed()
        image = image_of(run.model, world.settings.router.service)
        for volume, folder in world.settings.platform.files.items():
            name = run.model["volumes"][volume]["name"]
            world.stack.fill_volume(name, world.settings.folder / folder, image)
        world.stack.start_platform(run.release.version, self.services)
        world.signals.check()
        with world.signals.interruptible():
            problem = world.prober.until(
                lambda: checks.platform_problem(world, self.services), PLATFORM_SECONDS
            )
        if problem:
            raise PreflightFailed(problem, "docker compose logs shows why")
        return ""

    def undo(self, run: Run) -> None:
        """The platform stays: it holds no release, and what comes next needs it."""


@dataclass(frozen=True)
class CheckPlatform:
    """Pre-deployment checks: the platform is healthy, the active release answers."""

    active: Color | None
    services: tuple[str, ...]
    name: str = "check-platform"

    @property
    def detail(self) -> str:
        return f"{', '.join(self.services)} healthy" + (
            f"; the active color {self.active} healthy" if self.active else ""
        )

    def do(self, run: Run) -> str:
        with ThreadPoolExecutor(3) as pool:
            platform = pool.submit(
                checks.settled_platform_problem, run.world, self.services, PLATFORM_SECONDS
            )
            check = pool.submit(checks.failed_check, run.world)
            active = pool.submit(self._active_problem, run.world)
        problem = platform.result() or check.result()
        if problem:
            raise PreflightFailed(problem, "invoke status; docker compose logs shows why")
        if active.result():
            raise PreflightFailed(
                f"the active release in {self.active} is not healthy: {active.result()}",
                "mend it, or release over it with --force",
            )
        return ""

    def _active_problem(self, world: World) -> str:
        if self.active is None:
            return ""
        return checks.color_problem(world, self.active, checks.liveness(world))

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


@dataclass(frozen=True)
class CheckWarm:
    """The warm release answers; asked once, since a rollback has no time to lose."""

    color: Color
    name: str = "check-warm"

    @property
    def detail(self) -> str:
        return f"the warm release in {self.color} is alive"

    def do(self, run: Run) -> str:
        problem = checks.color_problem(run.world, self.color, checks.liveness(run.world))
        if problem:
            raise PreflightFailed(
                f"the warm release in {self.color} is not healthy: {problem}",
                "invoke prune, then invoke rollback starts it afresh",
            )
        return ""

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


@dataclass(frozen=True)
class PrepareImages:
    """Build, pull or find the images of the release, and pin them by their id."""

    source: str
    images: Mapping[str, str]
    """Service -> reference, or the recorded id for a release that ran before."""
    name: str = "prepare-images"

    @property
    def detail(self) -> str:
        return f"{self.source} {', '.join(sorted(set(self.images.values())))}"

    def do(self, run: Run) -> str:
        with run.world.signals.interruptible():
            built = self._build(run) if self.source == "build" else set()
            for image in sorted(set(self.images.values()) - built):
                if self.source == "pull" or (self.source != "local" and not has(run, image)):
                    run.world.stack.pull(image)
        run.images = {name: self._pin(run, image) for name, image in self.images.items()}
        digest = run.images[run.world.settings.routed]
        run.release = replace(run.release, digest=digest)
        run.journal("image", image=run.release.image, images=run.images)
        return digest[:19]

    def _build(self, run: Run) -> set[str]:
        """Build what has a `build:` section; a worker may share the routed service's image."""
        services = run.model["services"]
        own = {name: image for name, image in self.images.items() if services[name].get("build")}
        run.world.stack.build(run.model, own)
        return set(own.values())

    def _pin(self, run: Run, image: str) -> str:
        try:
            return run.world.stack.image_id(image)
        except EngineError as error:
            if "o such image" not in error.message:
                raise
            raise PreflightFailed(
                f"the image {image} is not on the engine", "build or pull it, or name another"
            ) from None

    def undo(self, run: Run) -> None:
        """An image that nothing runs does no harm; `prune` removes it in time."""


@dataclass(frozen=True)
class StartStandby:
    """Start the release in the color without traffic, in place of what stood there."""

    color: Color
    replaces: str
    """The version that stands there now, which this ends; "" if none."""
    name: str = "start-standby"

    @property
    def detail(self) -> str:
        ends = f" (ends the warm {self.replaces} there)" if self.replaces else ""
        return f"start it in {self.color}, without traffic{ends}"

    def do(self, run: Run) -> str:
        world = run.world
        if self.replaces:
            wait_drained(world)
        project = color_project(run.model, world.settings, self.color, run.release, run.images)
        run.touched = True
        world.stack.up(project)
        return ""

    def undo(self, run: Run) -> None:
        """Remove the color's containers, whatever state they are in, once nothing uses them."""
        wait_drained(run.world)
        run.world.stack.remove(self.color)


@dataclass(frozen=True)
class StageRouter:
    """Have nginx test the whole new configuration while the release warms up."""

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
class WaitReady:
    """Startup, liveness and readiness of every replica, asked directly."""

    color: Color
    name: str = "wait-ready"

    @property
    def detail(self) -> str:
        return "liveness, then readiness, of every replica"

    def do(self, run: Run) -> str:
        for probe in checks.startup_probes(run.world):
            with run.world.signals.interruptible():
                problem = checks.wait_for_color(run.world, self.color, probe)
            if problem:
                tail = run.world.stack.log_tail(self.color, 20)
                run.world.say(f"last lines of its log:\n{tail}" if tail else "it logged nothing")
                raise ReleaseUnhealthy(f"the release never became fit for traffic: {problem}")
        return ""

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


@dataclass(frozen=True)
class Smoke:
    """The smoke tests, against the release directly and through nginx by the preview header."""

    color: Color
    tests: int
    name: str = "smoke"

    @property
    def detail(self) -> str:
        return f"{self.tests} smoke tests, directly and through nginx"

    def do(self, run: Run) -> str:
        with run.world.signals.interruptible():
            problem = checks.smoke_directly(run.world, self.color, run.release)
            problem = problem or checks.smoke_through_nginx(run.world, self.color, run.release)
            problem = problem or checks.container_problem(run.world, self.color)
        if problem:
            raise ReleaseUnhealthy(f"smoke test failed: {problem}")
        counted = run.world.metrics.counts(self.color, run.release.version)
        run.reading = Reading() if isinstance(counted, NoData) else Reading(counted)
        return ""

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


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
        run.touched = True
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
class Drain:
    """Let requests in flight on the previous color end; it stays warm either way."""

    name: str = "drain"
    detail: str = "wait until no earlier nginx worker serves a request"

    def do(self, run: Run) -> str:
        return "" if wait_drained(run.world) else "still draining; nothing is stopped for it"

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


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
        return bake(run.world, self.color, run.release.version, run.reading)

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
        return ""

    def undo(self, run: Run) -> None:
        """Never called: nothing that can fail comes after the commit point."""


@dataclass(frozen=True)
class RemoveColor:
    """Stop a color that has no traffic."""

    color: Color
    version: str
    name: str = "remove-color"

    @property
    def detail(self) -> str:
        return f"stop and remove {self.version or 'what is left'} in {self.color}"

    def do(self, run: Run) -> str:
        run.touched = True
        wait_drained(run.world)
        run.world.stack.remove(self.color)
        return ""

    def undo(self, run: Run) -> None:
        """Its images are recorded: a rollback starts it again."""


def has(run: Run, image: str) -> bool:
    try:
        return bool(run.world.stack.image_id(image))
    except EngineError:
        return False


def wait_drained(world: World) -> bool:
    """Wait for nginx's earlier workers, as long as the configuration allows; False if some stay.

    Long-lived connections such as websockets may stay for ever; so there is a limit.
    """
    limit = world.settings.router.drain_seconds
    return not world.prober.until(lambda: "" if world.router.drained() else "draining", limit)
