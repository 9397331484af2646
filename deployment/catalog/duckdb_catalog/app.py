"""The catalog's HTTP endpoints and metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from duckdb_catalog.store import Store

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

T = TypeVar("T")

disable_created_metrics()  # type: ignore[no-untyped-call]


class Endpoints:
    """The endpoints over one store; queries run in threads, so one cannot hold up the others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._duration = Histogram(
            "duckdb_query_duration_seconds",
            "Time of a query in the database.",
            ("query",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        rows = Gauge("duckdb_rows", "Rows in a table.", ("table",), registry=self._registry)
        for table, count in store.counts().items():
            rows.labels(table).set(count)

    async def root(self, _: Request) -> Response:
        """Say that the database answers and how much it holds."""
        counts = await self._ask("counts", self._store.counts)
        return JSONResponse({"status": "ok", **counts})

    async def ontologies(self, _: Request) -> Response:
        """List the ontologies."""
        return JSONResponse({"ontologies": await self._ask("list", self._store.ontologies)})

    async def ontology(self, request: Request) -> Response:
        """Return one ontology with its terms."""
        key = request.path_params["id"]
        found = await self._ask("get", lambda: self._store.ontology(key))
        if found is None:
            return JSONResponse({"error": f"no ontology {key!r}"}, 404)
        return JSONResponse(found)

    async def search(self, request: Request) -> Response:
        """Find terms."""
        words = request.query_params.get("q", "")
        found = await self._ask("search", lambda: self._store.search(words))
        return JSONResponse({"query": words, "terms": found})

    async def metrics(self, _: Request) -> Response:
        """Hand out the metrics."""
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    async def _ask(self, name: str, query: Callable[[], T]) -> T:
        with self._duration.labels(name).time():
            return await run_in_threadpool(query)


def build(store: Store) -> ASGIApp:
    """Build the catalog over an open store, which is closed when the catalog stops."""

    @asynccontextmanager
    async def lifespan(_: Router) -> AsyncIterator[None]:
        yield
        store.close()

    endpoints = Endpoints(store)
    routes = [
        Route("/", endpoints.root),
        Route("/ontologies", endpoints.ontologies),
        Route("/ontologies/{id}", endpoints.ontology),
        Route("/search", endpoints.search),
        Route("/metrics", endpoints.metrics),
    ]
    return Router(routes, lifespan=lifespan)
