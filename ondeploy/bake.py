"""The bake: watch a release that has all traffic, and end at the first proof that it is bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ondeploy import checks
from ondeploy.analysis import AbsoluteTest, Counts, Reading, Verdict, explain, judge_bake
from ondeploy.errors import AnalysisFailed, EngineError, ReleaseUnhealthy
from ondeploy.model import Color
from ondeploy.ports import NoData
from ondeploy.world import World

SAY_EVERY = 10.0
BLIND_SECONDS = 15.0
"""So long may the engine be silent before its silence counts as the release's failure."""


def bake(
    world: World, color: Color, version: str, before: Reading, restarts: Mapping[str, int]
) -> str:
    """Watch until the verdict is PASS; what it rests on.

    Raises ReleaseUnhealthy when the release dies or stops answering, AnalysisFailed when too many
    requests fail, or when there is still too little evidence at the deadline.
    """
    settings = world.settings.bake
    watch = Watch(world, color, version, before, restarts)
    needed = settings.minutes * 60
    deadline = needed + settings.deadline_minutes * 60
    started = world.clock.monotonic()
    with world.signals.interruptible():
        while True:
            elapsed = world.clock.monotonic() - started
            verdict = watch.look(elapsed, needed)
            if verdict is Verdict.PASS:
                return watch.words
            if verdict is Verdict.FAIL:
                raise AnalysisFailed(f"the error rate condemns {version}: {watch.words}")
            if elapsed > deadline:
                raise AnalysisFailed(
                    f"still inconclusive {settings.deadline_minutes:g} min after the bake's end: "
                    f"{watch.words}; missing data is never taken for success",
                    "mend Prometheus or bring traffic, then release again",
                )
            watch.report(elapsed, needed)
            world.clock.sleep(settings.look_seconds)


@dataclass
class Health:
    """Consecutive failures of the liveness probe; a failing release is asked at every look."""

    failures: int = 0
    asked: float = -1e9


class Watch:
    """One bake's evidence, as it grows."""

    def __init__(
        self,
        world: World,
        color: Color,
        version: str,
        before: Reading,
        restarts: Mapping[str, int],
    ) -> None:
        self.world = world
        self.color = color
        self.version = version
        options = world.settings.bake
        self.test = AbsoluteTest(options.error_rate_percent / 100, options.alpha)
        self.reading = before
        self.restarts = restarts
        self.answering: set[str] = set()
        self.health = Health()
        self.words = "nothing was read yet"
        self.said = -SAY_EVERY
        self.seen = 0.0

    def look(self, elapsed: float, needed: float) -> Verdict:
        """One look at everything; raises ReleaseUnhealthy for what needs no statistics."""
        try:
            self._check_router()
            self._check_containers()
            self._check_liveness()
            self.seen = elapsed
        except EngineError as error:
            if elapsed - self.seen > BLIND_SECONDS:
                raise
            self.words = error.message
            return Verdict.INCONCLUSIVE
        if self.world.settings.prometheus is None:
            self.words = "probes and containers; no metrics are configured"
            return Verdict.PASS if elapsed >= needed else Verdict.INCONCLUSIVE
        return self._judge(elapsed, needed)

    def _judge(self, elapsed: float, needed: float) -> Verdict:
        """Count what is new since the last look, and ask the judge."""
        data = complete(self.world.metrics.counts(self.color, self.version), self.answering)
        current = not isinstance(data, NoData)
        if isinstance(data, NoData):
            self.words = f"{data.reason}; {explain(self.test)}"
        else:
            self.answering |= self.reading.grown(data)
            self.reading, fresh = self.reading.new(data)
            self.test = self.test.add(fresh)
            self.words = explain(self.test)
        minimum = self.world.settings.bake.min_requests
        if current and elapsed >= needed and self.test.total < minimum:
            self.words += f"; {minimum - self.test.total:.0f} more requests are needed"
        return judge_bake(self.test, elapsed, needed, minimum, current)

    def report(self, elapsed: float, needed: float) -> None:
        """A line now and then, sooner when the time is over and the verdict is not in."""
        if elapsed - self.said >= SAY_EVERY or self.said < needed <= elapsed:
            self.said = elapsed
            held = " - held: inconclusive" if elapsed >= needed else ""
            self.world.say(f"bake {elapsed:.0f}/{needed:.0f} s{held}: {self.words}")

    def _check_router(self) -> None:
        state = self.world.router.observe()
        if state is None or not state.serving:
            raise EngineError("nginx does not answer", "docker compose logs nginx")
        if state.weights.of(self.color) == 0:
            raise ReleaseUnhealthy(f"someone else moved the traffic away from {self.color}")

    def _check_containers(self) -> None:
        problem = checks.container_problem(self.world, self.color, self.restarts)
        if problem:
            raise ReleaseUnhealthy(f"the release is unavailable: {problem}")

    def _check_liveness(self) -> None:
        probe = self.world.settings.probes.liveness
        now = self.world.clock.monotonic()
        if self.health.failures == 0 and now - self.health.asked < probe.period_seconds:
            return
        self.health.asked = now
        problem = checks.color_problem(self.world, self.color, probe)
        self.health.failures = self.health.failures + 1 if problem else 0
        if self.health.failures >= probe.failure_threshold:
            raise ReleaseUnhealthy(
                f"liveness failed {self.health.failures} times in a row: {problem}"
            )


def complete(
    data: Mapping[str, Counts] | NoData, answering: set[str]
) -> Mapping[str, Counts] | NoData:
    """No data where a replica that answered requests in this bake is no longer scraped."""
    if isinstance(data, NoData):
        return data
    lost = sorted(answering - set(data))
    return NoData(f"{', '.join(lost)} is no longer scraped") if lost else data
