"""Steps on the color without traffic: its images, its containers, its proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ondeploy import checks
from ondeploy.analysis import Reading
from ondeploy.colors import color_project
from ondeploy.errors import EngineError, PreflightFailed, ReleaseUnhealthy
from ondeploy.model import Color
from ondeploy.ports import NoData
from ondeploy.steps.drain import wait_drained
from ondeploy.steps.run import Run, has_image

HURRY_SECONDS = 2.0
QUICK_GRACE = 2
"""A cancelled job is killed after ten seconds: what is undone for it has to fit in well."""


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
                if self.source == "pull" or (self.source != "local" and not has_image(run, image)):
                    self._pull(run, image)
        run.images = {name: self._pin(run, image) for name, image in self.images.items()}
        digest = run.images[run.world.settings.routed]
        run.release = replace(run.release, digest=digest)
        run.journal("image", image=run.release.image, images=run.images)
        return digest[:19]

    def _pull(self, run: Run, image: str) -> None:
        try:
            run.world.stack.pull(image)
        except EngineError as error:
            raise PreflightFailed(
                f"the image {image} cannot be pulled: {error.message.splitlines()[-1]}",
                "check the reference and the registry's login, or build it here",
            ) from None

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
        run.journal("start", color=self.color)  # after the wait: is the lease still ours?
        project = color_project(run.model, world.settings, self.color, run.release, run.images)
        run.touched = True
        world.stack.up(project, run.model)
        return ""

    def undo(self, run: Run) -> None:
        """Remove the color's containers, whatever state they are in, once nothing uses them.

        A run that was told to stop has only seconds: then requests in flight keep their containers,
        which get no others and which the next release replaces. What visitors never reached needs
        no long grace; a process that is still starting would not even hear the signal.
        """
        hurried = run.world.signals.received is not None
        drained = not run.shifted or wait_drained(run.world, HURRY_SECONDS if hurried else None)
        if hurried and not drained:
            run.world.say(f"{self.color} still answers requests in flight: it is left running")
            return
        quick = hurried or not run.shifted
        remove_idle(run, self.color, QUICK_GRACE if quick else None)


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
        run.restarts = {r.id: r.restarts for r in run.world.stack.replicas(self.color)}
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
        if not self.tests:
            return "one request through nginx; no smoke tests are configured"
        return f"{self.tests} smoke test{'s' * (self.tests > 1)}, directly and through nginx"

    def do(self, run: Run) -> str:
        with run.world.signals.interruptible():
            problem = checks.smoke_directly(run.world, self.color, run.release)
            problem = problem or checks.smoke_through_nginx(run.world, self.color, run.release)
            problem = problem or checks.container_problem(run.world, self.color, run.restarts)
        if problem:
            raise ReleaseUnhealthy(f"smoke test failed: {problem}")
        counted = run.world.metrics.counts(self.color, run.release.version)
        run.reading = Reading() if isinstance(counted, NoData) else Reading(counted)
        return ""

    def undo(self, run: Run) -> None:
        """Nothing was changed."""


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
        remove_idle(run, self.color)
        return ""

    def undo(self, run: Run) -> None:
        """Its images are recorded: a rollback starts it again."""


def remove_idle(run: Run, color: Color, grace: int | None = None) -> None:
    """Remove a color's containers, but only where nginx itself says that it has no traffic.

    Raises EngineError otherwise: a shift back that failed must not be followed by the removal of
    the only color that still answers.
    """
    state = run.world.router.observe()
    if state is None or not state.serving or state.weights.of(color) > 0:
        raise EngineError(
            f"{color} is left as it is: nginx does not confirm that it has no traffic",
            "invoke status; once nginx answers, invoke recover",
        )
    run.journal("remove", color=color)  # and is the lease still ours?
    run.world.stack.remove(color, grace)
