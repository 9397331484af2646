"""The outermost layer: counts and times every request, and answers 500 to what was not caught."""

import logging
from time import perf_counter

from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from ontology_download.metrics import Metrics

UNMATCHED = "unmatched"
CLIENT_WENT_AWAY = "499"
METHODS = ("GET", "HEAD", "POST")

log = logging.getLogger("ontology_download")


class Observed:
    """An ASGI app that counts the requests of a router under the path of the route they took."""

    def __init__(self, router: Router, metrics: Metrics) -> None:
        self._router = router
        self._metrics = metrics
        self._paths: dict[object, str] = {
            route.endpoint: route.path for route in router.routes if isinstance(route, Route)
        }
        self._counters: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        for route in router.routes:
            if isinstance(route, Route):
                for method in (route.methods or set()) - {"HEAD"}:
                    metrics.declare(method, route.path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        started = perf_counter()
        status = await self._answer(scope, receive, send)
        handler = self._paths.get(scope.get("endpoint"), UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else "other"
        requests, duration = self._series(method, handler, status)
        requests.inc()
        duration.observe(perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> str:
        status = ""

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._router(scope, receive, watched)
        except ClientDisconnect:
            return CLIENT_WENT_AWAY
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if status:
                raise
            await JSONResponse({"error": "internal error"}, 500)(scope, receive, watched)
        return status

    def _series(self, method: str, handler: str, status: str) -> tuple[Counter, Histogram]:
        """Look the children up once: `labels()` costs more than the counting itself."""
        key = (method, handler, status)
        if key not in self._counters:
            metrics = self._metrics
            self._counters[key] = (
                metrics.requests.labels(*key),
                metrics.duration.labels(method, handler),
            )
        return self._counters[key]
