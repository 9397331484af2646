"""Steps on the services around the release: nginx, the catalog, Prometheus."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ondeploy import checks
from ondeploy.colors import image_of
from ondeploy.errors import PreflightFailed
from ondeploy.model import Color
from ondeploy.steps.run import Run, has_image
from ondeploy.world import World

PLATFORM_SECONDS = 120.0
"""Longest wait for nginx, the catalog and the rest to become healthy after they were started."""


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
        world.say(f"starting {', '.join(self.services)}, for up to {PLATFORM_SECONDS:g} s")
        self._build_missing(run)
        world.stack.start_platform(run.release.version, self.services)
        world.signals.check()
        with world.signals.interruptible():
            problem = world.prober.until(
                lambda: checks.platform_problem(world, self.services), PLATFORM_SECONDS
            )
        if problem:
            raise PreflightFailed(problem, "docker compose logs shows why")
        return ""

    def _build_missing(self, run: Run) -> None:
        """Build what the user's files build and the engine lacks.

        Not left to `compose up`: Compose v5 refuses to build with a buildx below 0.17.
        """
        built = [name for name in self.services if run.model["services"][name].get("build")]
        images = {name: image_of(run.model, name) for name in built}
        lacking = {name: image for name, image in images.items() if not has_image(run, image)}
        if lacking:
            run.world.stack.build(run.model, lacking)

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
        with ThreadPoolExecutor(4) as pool:
            platform = pool.submit(
                checks.settled_platform_problem, run.world, self.services, PLATFORM_SECONDS
            )
            check = pool.submit(checks.failed_check, run.world)
            active = pool.submit(self._active_problem, run.world)
            metrics = pool.submit(run.world.metrics.problem)
        problem = platform.result() or check.result()
        if problem:
            raise PreflightFailed(problem, "invoke status; docker compose logs shows why")
        if self.active and metrics.result():
            raise PreflightFailed(
                f"{metrics.result()}; the bake could only be inconclusive",
                "mend it, say prometheus: null, or release without this check by --force",
            )
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
