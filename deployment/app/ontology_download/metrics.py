"""What the app counts for Prometheus."""

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

DECLARED_STATUSES = ("200", "500", "503")
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
QUERY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

disable_created_metrics()  # type: ignore[no-untyped-call]


class VersionLabel(Collector):
    """Puts the version on every series when it is scraped, so that no metric can be without."""

    def __init__(self, version: str, source: CollectorRegistry) -> None:
        self._label = {"version": version}
        self._source = source

    def collect(self) -> Iterable[Metric]:
        """Copy the metrics: prometheus_client may hand out the same objects twice."""
        for metric in self._source.collect():
            labelled = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            labelled.samples = [
                sample._replace(labels={**sample.labels, **self._label})
                for sample in metric.samples
            ]
            yield labelled


class Metrics:
    """The app's metrics, in a registry of their own so that tests can hold several apps."""

    def __init__(self, version: str) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "http_requests_total",
            "Requests answered.",
            ("method", "handler", "status"),
            registry=registry,
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ("method", "handler"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.query = Histogram(
            "duckdb_query_duration_seconds",
            "Time to get an answer from the catalog.",
            buckets=QUERY_BUCKETS,
            registry=registry,
        )
        self.cache_hits = Counter(
            "cache_hits_total", "Catalog answers taken from the cache.", registry=registry
        )
        self.cache_misses = Counter(
            "cache_misses_total", "Catalog answers not in the cache.", registry=registry
        )
        Gauge("build_info", "1, with the version that runs.", registry=registry).set(1)
        self._exposed = CollectorRegistry()
        self._exposed.register(VersionLabel(version, registry))

    def declare(self, method: str, handler: str) -> None:
        """Start a handler's series at 0: one born at 50 reads 0 in rate() and increase()."""
        for status in DECLARED_STATUSES:
            self.requests.labels(method, handler, status)
        self.duration.labels(method, handler)

    def text(self) -> bytes:
        """Render all series in Prometheus' text format."""
        return generate_latest(self._exposed)
