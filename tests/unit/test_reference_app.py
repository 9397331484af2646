"""The reference app, without sockets: the catalog is answered for in the test."""

import asyncio
import hashlib
from functools import partial
from pathlib import Path

import httpx
import pytest
from ontology_download.app import build
from ontology_download.ratelimit import RateLimit, RateLimitFile
from ontology_download.settings import Faults, Settings, plain_version, read_settings
from starlette.types import ASGIApp, Message

GO = {
    "id": "go",
    "title": "Gene Ontology",
    "release": "2025-10-10",
    "terms": [{"id": "GO:0006281", "label": "DNA repair"}],
}


class CatalogDouble(httpx.AsyncBaseTransport):
    """Answers like the catalog, counts what it was asked, and can be taken away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.down:
            raise httpx.ConnectError("no catalog")
        path = request.url.raw_path.decode()
        self.asked.append(path)
        await asyncio.sleep(0)
        answers = {
            "/": {"status": "ok"},
            "/ontologies": {"ontologies": [GO]},
            "/ontologies/go": GO,
            "/search?q=DNA": {"query": "DNA", "terms": GO["terms"]},
        }
        if path not in answers:
            return httpx.Response(404, json={"error": "no"})
        return httpx.Response(200, json=answers[path])


class App:
    """One app with its catalog, asked synchronously."""

    def __init__(self, settings: Settings) -> None:
        self.catalog = CatalogDouble()
        self.asgi: ASGIApp = build(settings, self.catalog)

    def ask(
        self, method: str, path: str, content: bytes = b"", forwarded_for: str = "10.0.0.1"
    ) -> httpx.Response:
        """Send one request."""
        return self.ask_together(1, method, path, content, forwarded_for)[0]

    def ask_together(
        self, count: int, method: str, path: str, content: bytes, forwarded_for: str
    ) -> list[httpx.Response]:
        """Send the same request several times at once."""

        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.asgi)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                headers = {"X-Forwarded-For": forwarded_for}
                ask = partial(client.request, method, path, content=content, headers=headers)
                return await asyncio.gather(*(ask() for _ in range(count)))

        return asyncio.run(send())

    def series(self, start: str) -> dict[str, float]:
        """Return the metric's series whose text starts so."""
        lines = self.ask("GET", "/metrics").text.splitlines()
        wanted = (line.rpartition(" ") for line in lines if line.startswith(start))
        return {name: float(value) for name, _, value in wanted}


@pytest.fixture
def app() -> App:
    """Provide version 1.2.3 without faults."""
    return App(Settings(version="1.2.3"))


def with_faults(faults: Faults) -> App:
    """Build a release that fails."""
    return App(Settings(version="1.2.3", faults=faults))


def test_health_has_the_guides_shape(app: App) -> None:
    """/health answers status, timestamp and version as the guide prints them."""
    body = app.ask("GET", "/health").json()
    assert (body["status"], body["version"]) == ("healthy", "1.2.3")
    assert len(body["timestamp"]) == len("2025-10-21T10:30:00Z")
    assert body["timestamp"].endswith("Z")


def test_ready_follows_the_catalog(app: App) -> None:
    """/ready is 200 exactly while the catalog answers; /health does not care."""
    app.catalog.down = True
    assert app.ask("GET", "/ready").status_code == 503
    assert app.ask("GET", "/health").status_code == 200
    app.catalog.down = False
    assert app.ask("GET", "/ready").status_code == 200


def test_api_reads_the_catalog(app: App) -> None:
    """List, search and download come from the catalog, and what it lacks is a 404."""
    assert app.ask("GET", "/api/ontologies").json() == {"ontologies": [GO]}
    assert app.ask("GET", "/api/search?q=DNA").json()["terms"] == GO["terms"]
    assert app.ask("GET", "/api/search").status_code == 400
    assert "id: GO:0006281\nname: DNA repair" in app.ask("GET", "/api/ontologies/go/download").text
    assert app.ask("GET", "/api/ontologies/none/download").status_code == 404


def test_verify_tells_a_current_copy_from_another(app: App) -> None:
    """A POST of any body answers its size and digest, and whether it is the current file."""
    current = app.ask("GET", "/api/ontologies/go/download").content
    other = b"x" * 3_000_000
    assert app.ask("POST", "/api/ontologies/go/verify", current).json()["current"] is True
    assert app.ask("POST", "/api/ontologies/go/verify", other).json() == {
        "bytes": len(other),
        "sha256": hashlib.sha256(other).hexdigest(),
        "current": False,
    }


def test_cache_asks_once(app: App) -> None:
    """Requests at the same time share one question, and later ones are served from the cache."""
    app.ask_together(20, "GET", "/api/ontologies", b"", "10.0.0.1")
    app.ask("GET", "/api/ontologies")
    assert app.catalog.asked == ["/ontologies"]
    assert app.series("cache_hits_total") == {'cache_hits_total{version="1.2.3"}': 1}


def test_aged_answers_outlive_the_catalog() -> None:
    """Without the catalog, what was known is still answered and what was not is a 503."""
    app = App(Settings(version="1.2.3", cache_seconds=0))
    app.ask("GET", "/api/ontologies")
    app.catalog.down = True
    assert app.ask("GET", "/api/ontologies").status_code == 200
    assert app.ask("GET", "/api/search?q=DNA").status_code == 503


def test_every_series_carries_the_version(app: App) -> None:
    """No series is without the version, so a verdict can never mix two releases."""
    app.ask("GET", "/api/ontologies")
    series = [line for line in app.ask("GET", "/metrics").text.splitlines() if line[0] != "#"]
    assert len(series) > 50
    assert [line for line in series if 'version="1.2.3"' not in line] == []


def test_error_series_start_at_zero(app: App) -> None:
    """Each handler has its error series before the first error."""
    errors = app.series("http_requests_total")
    for path in ("/api/version", "/api/ontologies/{id}/download", "/health", "/ready"):
        for status in ("500", "503"):
            name = f'handler="{path}",method="GET",status="{status}",version="1.2.3"'
            assert errors[f"http_requests_total{{{name}}}"] == 0


def test_requests_count_under_their_route(app: App) -> None:
    """A request counts under its route's pattern, or as unmatched; an odd method as `other`."""
    app.ask("GET", "/api/ontologies/go/download")
    app.ask("GET", "/nowhere/at/all")
    app.ask("BREW", "/api/version")
    counts = app.series("http_requests_total")
    for name in (
        'handler="/api/ontologies/{id}/download",method="GET",status="200"',
        'handler="unmatched",method="GET",status="404"',
        'handler="/api/version",method="other",status="405"',
    ):
        assert counts[f'http_requests_total{{{name},version="1.2.3"}}'] == 1
    assert any('le="1.0"' in name for name in app.series("http_request_duration_seconds_bucket"))


def test_uncaught_errors_are_counted_500(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in a handler answers 500 and counts as one."""
    monkeypatch.setattr("ontology_download.api.obo", lambda _: 1 / 0)
    assert app.ask("GET", "/api/ontologies/go/download").status_code == 500
    counts = app.series("http_requests_total")
    name = 'handler="/api/ontologies/{id}/download",method="GET",status="500",version="1.2.3"'
    assert counts[f"http_requests_total{{{name}}}"] == 1


def test_a_visitor_who_leaves_is_no_error(app: App) -> None:
    """An upload that is broken off counts as 499, not as a failure of the release."""

    async def upload() -> None:
        half: Message = {"type": "http.request", "body": b"half", "more_body": True}
        messages = iter([half, {"type": "http.disconnect"}])

        async def receive() -> Message:
            return next(messages)

        async def send(_: Message) -> None:
            raise AssertionError("nobody is there to answer")

        path = "/api/ontologies/go/verify"
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
        await app.asgi({**scope, "client": ("1.2.3.4", 5)}, receive, send)

    asyncio.run(upload())
    name = 'handler="/api/ontologies/{id}/verify",method="POST",status="499",version="1.2.3"'
    assert app.series("http_requests_total")[f"http_requests_total{{{name}}}"] == 1


def test_error_rate_spares_what_smoke_tests_ask() -> None:
    """FAULT_ERROR_RATE fails its share of the API, counted, and never /api/version."""
    app = with_faults(Faults(error_rate=1.0))
    assert app.ask("GET", "/api/ontologies").status_code == 500
    assert app.ask("GET", "/api/version").json() == {"version": "1.2.3"}
    assert app.ask("GET", "/health").status_code == 200
    failed = [v for k, v in app.series("http_requests_total").items() if 'status="500"' in k]
    assert sum(failed) == 1


def test_other_faults() -> None:
    """Never healthy and wrong smoke answers do what they say."""
    sick = with_faults(Faults(never_healthy=True)).ask("GET", "/health")
    assert (sick.status_code, sick.json()["status"]) == (503, "unhealthy")
    wrong = with_faults(Faults(smoke=True)).ask("GET", "/api/version").json()
    assert wrong["version"] != "1.2.3"


def test_rate_limit_goes_by_the_nearest_proxys_word() -> None:
    """A visitor is whom the last proxy saw; forging the rest of the header changes nothing."""
    app = App(Settings(version="1.2.3", rate_limit_per_minute=2))
    forged = [
        app.ask("GET", "/api/version", forwarded_for=f"9.9.9.{n}, 10.0.0.1").status_code
        for n in range(3)
    ]
    assert forged == [200, 200, 429]
    other = app.ask("GET", "/api/version", forwarded_for="10.0.0.2")
    assert other.status_code == 200


def test_rate_limit_is_shared_through_its_file(tmp_path: Path) -> None:
    """Two processes with one file count together, and a new minute starts at 0."""
    file = RateLimitFile(tmp_path / "rate-limits.db")
    blue, green = RateLimit(3), RateLimit(3)
    assert [blue.allows("a", 60.0) for _ in range(3)] == [True] * 3
    for limit in (blue, green):
        limit.learn(1, file.add(*limit.take(61.0)))
    assert not blue.allows("a", 62.0)
    assert not green.allows("a", 62.0)
    assert green.allows("b", 62.0)
    assert green.allows("a", 120.0)
    assert file.add(2, {"a": 1}) == {"a": 1}


def test_settings_read_the_environment() -> None:
    """Empty variables, as compose hands them over, mean the default."""
    assert read_settings({"VERSION": "v2.0.0", "FAULT_ERROR_RATE": ""}) == Settings("2.0.0")
    faults = read_settings({"FAULT_ERROR_RATE": "0.2", "FAULT_CRASH_AFTER_SECONDS": "3"}).faults
    assert faults == Faults(error_rate=0.2, crash_after_seconds=3.0)


@pytest.mark.parametrize(
    ("tag", "version"), [("v1.2.3", "1.2.3"), ("1.2.3", "1.2.3"), ("dev", "dev"), ("vega", "vega")]
)
def test_version_is_said_without_its_v(tag: str, version: str) -> None:
    """Only the v before a number is dropped."""
    assert plain_version(tag) == version
