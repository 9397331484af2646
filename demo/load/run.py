"""Sends a profile's traffic: every client of every kind, until time, count or `stop` ends it."""

import asyncio
import itertools
from bisect import bisect_left
from collections import Counter

from demo.load.client import Client, Outcome
from demo.load.profile import Profile, Traffic
from demo.load.records import Failure, Log, Record
from demo.load.report import FailureSample, Snapshot, shares

_SAMPLES = 20  # kept of each failure kind
_NAP = 0.25  # how late a sleeping client may notice the end
_AFTER_FAILURE = 0.02  # keeps a closed loop from spinning while nobody listens
_LATE = 0.1  # a request due this shortly before the end is not called unsent
_RECENT = 1.0  # seconds that the live rate is taken over


class Slots:
    """When the clients of one kind of traffic send: a shared timetable, or one after another."""

    def __init__(self, traffic: Traffic, run: "Run") -> None:
        self._traffic = traffic
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self.begun = 0

    async def next(self, pause: float) -> float | None:
        """When the next request is due, once that time has come; None when the run is over."""
        now, rate = self._loop.time(), self._traffic.rate
        due = now + pause if rate is None else self._run.started + next(self._numbers) / rate
        while (wait := due - self._loop.time()) > 0:
            if self._run.stopping:
                return None
            await asyncio.sleep(min(wait, _NAP))
        if self._run.stopping:
            return None
        self.begun += 1
        return due

    def unsent(self, seconds: float) -> int:
        """Requests of the timetable that no client was free to send."""
        rate = self._traffic.rate
        return 0 if rate is None else max(0, int((seconds - _LATE) * rate) - self.begun)


class Run:
    """The load of one profile."""

    def __init__(self, profile: Profile, host: str, port: int) -> None:
        self._profile = profile
        self._address = (host, port)
        self._loop = asyncio.get_running_loop()
        self._slots = {traffic.name: Slots(traffic, self) for traffic in profile.traffic}
        self._samples: dict[Failure, list[FailureSample]] = {}
        self.log = Log()
        self.idle_closes: Counter[str] = Counter()
        self.started = self._loop.time()
        self.ended = 0.0
        self.stopping = False

    async def go(self) -> None:
        """Ends when the last request in flight has ended."""
        self._loop.call_later(self._profile.seconds, self.stop)
        async with asyncio.TaskGroup() as group:
            for traffic in self._profile.traffic:
                for _ in range(traffic.connections):
                    group.create_task(self._send(traffic))
        self.stop()

    def stop(self) -> None:
        """Starts no more requests; those in flight go on."""
        self.ended = self.ended or self._loop.time() - self.started
        self.stopping = True

    async def _send(self, traffic: Traffic) -> None:
        client = Client(*self._address, traffic, self._profile, self.idle_closes)
        slots, pause = self._slots[traffic.name], 0.0
        while (due := await slots.next(pause)) is not None:
            outcome = await client.exchange()
            self._keep(traffic, due, outcome)
            pause = traffic.think if outcome.failure is None else _AFTER_FAILURE
        client.close()

    def _keep(self, traffic: Traffic, due: float, outcome: Outcome) -> None:
        start, failure = self.started, outcome.failure
        finished = outcome.finished - start
        self.log.append(
            Record(
                traffic.name,
                due - start,
                outcome.sent - start,
                finished,
                outcome.status,
                failure,
                outcome.version,
            )
        )
        if failure is not None:
            kept = self._samples.setdefault(failure, [])
            if len(kept) < _SAMPLES:
                kept.append(FailureSample(finished, failure, traffic.name, outcome.detail))
        if len(self.log) >= self._profile.max_requests:
            self.stop()

    @property
    def samples(self) -> tuple[FailureSample, ...]:
        kept = itertools.chain.from_iterable(self._samples.values())
        return tuple(sorted(kept, key=lambda sample: sample.time))

    @property
    def unsent(self) -> dict[str, int]:
        return {name: slots.unsent(self.ended) for name, slots in self._slots.items()}

    def snapshot(self) -> Snapshot:
        """Counts so far; rate and shares over the last second."""
        log, now = self.log, self._loop.time() - self.started
        since = max(0.0, now - _RECENT)
        first = bisect_left(log.finished, since)
        return Snapshot(
            seconds=now,
            requests=len(log),
            failed=log.failed,
            rps=(len(log) - first) / max(now - since, 0.001),
            shares=shares(log, first),
            running=not self.stopping,
        )
