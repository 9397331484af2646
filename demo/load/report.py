"""What the load found out: totals, failures, latencies, versions over time."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

from demo.load.records import Failure, Log, Record


@dataclass(frozen=True)
class Snapshot:
    """Live counts; `rps` and `shares` (percent of answers per version) are of the last second."""

    seconds: float
    requests: int
    failed: int
    rps: float
    shares: dict[str, float]
    running: bool


@dataclass(frozen=True)
class FailureSample:
    """One failed request: when it ended, and why it is called failed."""

    time: float
    failure: Failure
    traffic: str
    detail: str


@dataclass(frozen=True)
class Totals:
    """Requests of one kind; `unsent` were due but no client was free to send them."""

    requests: int
    failed: int
    unsent: int


@dataclass(frozen=True)
class Latency:
    """Seconds from the scheduled time to the end of the answer, failures included."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True)
class Seen:
    """A version that answered: its first and last answer, and when the last of these was sent."""

    count: int
    first: float
    last: float
    last_sent: float


@dataclass(frozen=True)
class Bucket:
    """Requests that finished in one stretch of the timeline."""

    start: float
    requests: int
    failed: int
    p99: float
    versions: dict[str, int]


@dataclass(frozen=True)
class Report:
    """Everything recorded. Times are seconds since the load started, at `started_at` (epoch).

    A question may be narrowed to requests that finished within [start, end) and
    to kinds of traffic by name.
    """

    started_at: float
    seconds: float
    log: Log
    marks: dict[str, float] = field(default_factory=dict)
    samples: tuple[FailureSample, ...] = ()
    idle_closes: dict[str, int] = field(default_factory=dict)
    unsent: dict[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return len(self.log)

    @property
    def failed(self) -> int:
        return self.log.failed

    @property
    def failures(self) -> dict[str, int]:
        return self.failures_between()

    def select(
        self, start: float = 0.0, end: float = float("inf"), traffic: Iterable[str] = ()
    ) -> Iterator[Record]:
        wanted = frozenset(traffic)
        finished = self.log.finished
        for row in range(bisect_left(finished, start), bisect_left(finished, end)):
            record = self.log[row]
            if not wanted or record.traffic in wanted:
                yield record

    def failures_between(self, start: float = 0.0, end: float = float("inf")) -> dict[str, int]:
        return dict(Counter(str(r.failure) for r in self.select(start, end) if r.failure))

    def totals(self) -> dict[str, Totals]:
        requests = Counter(record.traffic for record in self.log)
        failed = Counter(record.traffic for record in self.log if record.failure)
        names = sorted({*requests, *self.unsent})
        return {n: Totals(requests[n], failed[n], self.unsent.get(n, 0)) for n in names}

    def latency(
        self, start: float = 0.0, end: float = float("inf"), traffic: Iterable[str] = ()
    ) -> Latency:
        return summarise([record.latency for record in self.select(start, end, traffic)])

    def versions(self, traffic: Iterable[str] = ()) -> dict[str, Seen]:
        """Leave long requests and uploads out to learn when a switch was complete."""
        seen: dict[str, list[Record]] = {}
        for record in self.select(traffic=traffic):
            if record.version is not None:
                seen.setdefault(record.version, []).append(record)
        return {version: _seen(records) for version, records in seen.items()}

    def timeline(self, width: float = 0.5, traffic: Iterable[str] = ()) -> tuple[Bucket, ...]:
        buckets: dict[int, list[Record]] = {}
        for record in self.select(traffic=traffic):
            buckets.setdefault(int(record.finished / width), []).append(record)
        return tuple(_bucket(at * width, buckets[at]) for at in sorted(buckets))

    def to_dict(self) -> dict[str, Any]:
        """All answers, ready for JSON; the single records are left out."""
        return {
            "started_at": self.started_at,
            "seconds": self.seconds,
            "requests": self.requests,
            "failed": self.failed,
            "failures": self.failures,
            "samples": [asdict(sample) for sample in self.samples],
            "idle_closes": self.idle_closes,
            "totals": {name: asdict(totals) for name, totals in self.totals().items()},
            "latency": {name: asdict(self.latency(traffic=[name])) for name in self.totals()},
            "versions": {name: asdict(seen) for name, seen in self.versions().items()},
            "marks": self.marks,
            "timeline": [asdict(bucket) for bucket in self.timeline()],
        }


def summarise(latencies: list[float]) -> Latency:
    """Percentiles by nearest rank; of nothing, all are 0."""
    ordered = sorted(latencies) or [0.0]

    def rank(percent: float) -> float:
        return ordered[max(ceil(len(ordered) * percent / 100) - 1, 0)]

    return Latency(len(latencies), rank(50), rank(90), rank(99), ordered[-1])


def shares(log: Log, first: int) -> dict[str, float]:
    """Percent of the answers from row `first` on, per version; unversioned ones are left out."""
    counts = Counter(version for version in log.version[first:] if version >= 0)
    total = counts.total()
    return {log.versions[version]: 100 * n / total for version, n in sorted(counts.items())}


def _seen(records: list[Record]) -> Seen:
    return Seen(
        count=len(records),
        first=records[0].finished,
        last=records[-1].finished,
        last_sent=max(record.sent for record in records),
    )


def _bucket(start: float, records: list[Record]) -> Bucket:
    return Bucket(
        start=start,
        requests=len(records),
        failed=sum(record.failure is not None for record in records),
        p99=summarise([record.latency for record in records]).p99,
        versions=dict(Counter(r.version for r in records if r.version is not None)),
    )
