"""Puts the app together."""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp

from ontology_download.api import Api, catalog_guarded, echo
from ontology_download.catalog import Catalog
from ontology_download.gate import Gate
from ontology_download.metrics import Metrics
from ontology_download.observe import Observed
from ontology_download.ratelimit import RateLimit, RateLimitFile
from ontology_download.settings import Settings

log = logging.getLogger("ontology_download")


class Operations:
    """The endpoints for those who run the app."""

    def __init__(self, settings: Settings, catalog: Catalog, metrics: Metrics) -> None:
        self._settings = settings
        self._catalog = catalog
        self._metrics = metrics

    async def health(self, _: Request) -> Response:
        """Say that the process lives."""
        healthy = not self._settings.faults.never_healthy
        body = {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "version": self._settings.version,
        }
        return JSONResponse(body, 200 if healthy else 503)

    async def ready(self, _: Request) -> Response:
        """Say whether requests can be answered, which takes a catalog."""
        ready = await self._catalog.answers()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Hand out the metrics."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")


def build(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> ASGIApp:
    """Build the app; `transport` lets a test answer for the catalog."""
    metrics = Metrics(settings.version)
    client = httpx.AsyncClient(base_url=settings.catalog_url, transport=transport)
    catalog = Catalog(client, metrics, settings.cache_seconds)
    limit = RateLimit(settings.rate_limit_per_minute)

    @asynccontextmanager
    async def lifespan(_: Router) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(keep_counts(limit, settings))]
        if settings.faults.crash_after_seconds is not None:
            tasks.append(asyncio.create_task(crash(catalog, settings.faults.crash_after_seconds)))
        async with client:
            yield
        for task in tasks:
            task.cancel()

    operations = Operations(settings, catalog, metrics)
    routes = [
        *api_routes(settings, catalog, limit),
        Route("/health", operations.health),
        Route("/ready", operations.ready),
        Route("/metrics", operations.metrics),
        WebSocketRoute("/ws", echo),
    ]
    return Observed(Router(routes, lifespan=lifespan), metrics)


def api_routes(settings: Settings, catalog: Catalog, limit: RateLimit) -> list[Route]:
    """List the API's routes.

    The version is spared the faults: a release that answers 20 % errors has to pass its smoke
    tests, or the watch after the switch would never meet it.
    """
    gate = Gate(limit, settings.faults)
    api = Api(catalog, "0.0.0-wrong" if settings.faults.smoke else settings.version)
    served = {
        "/api/ontologies": api.ontologies,
        "/api/search": api.search,
        "/api/ontologies/{id}/download": api.download,
        "/api/slow": api.slow,
    }
    verify = gate.limited(gate.faulty(catalog_guarded(api.verify)))
    return [
        Route("/api/version", gate.limited(api.version)),
        *(
            Route(path, gate.limited(gate.faulty(catalog_guarded(endpoint))))
            for path, endpoint in served.items()
        ),
        Route("/api/ontologies/{id}/verify", verify, methods=["POST"]),
    ]


async def keep_counts(limit: RateLimit, settings: Settings) -> None:
    """Write the rate limit's counts to its file every second.

    A file that cannot be written is said once and costs the memory of earlier requests only:
    visitors are served all the same.
    """
    file, writable = RateLimitFile(settings.data_dir / "rate-limits.db"), True
    while True:
        window, counts = limit.take(time.time())
        try:
            limit.learn(window, await asyncio.to_thread(file.add, window, counts))
            writable = True
        except sqlite3.Error as error:
            if writable:
                log.error("rate limits are not kept: %s: %s", settings.data_dir, error)
            writable = False
        await asyncio.sleep(1)


async def crash(catalog: Catalog, seconds: float) -> None:
    """End the process a while after it became ready, as a real crash would: without a word."""
    while not await catalog.answers():
        await asyncio.sleep(0.05)
    await asyncio.sleep(seconds)
    os._exit(1)
