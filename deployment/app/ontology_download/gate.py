"""What every request under /api passes first: the rate limit, then the faults."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ontology_download.ratelimit import WINDOW_SECONDS, RateLimit
from ontology_download.settings import Faults

Endpoint = Callable[[Request], Awaitable[Response]]


class Gate:
    """Wraps endpoints of the API."""

    def __init__(self, limit: RateLimit, faults: Faults) -> None:
        self._limit = limit
        self._faults = faults

    def limited(self, endpoint: Endpoint) -> Endpoint:
        """Answer 429 to a visitor over the limit."""

        async def gated(request: Request) -> Response:
            now = time.time()
            if not self._limit.allows(visitor(request), now):
                wait = WINDOW_SECONDS - int(now) % WINDOW_SECONDS
                headers = {"Retry-After": str(wait)}
                return JSONResponse({"error": "too many requests"}, 429, headers)
            return await endpoint(request)

        return gated

    def faulty(self, endpoint: Endpoint) -> Endpoint:
        """Let the release's faults, if it has any, befall an endpoint."""
        faults = self._faults
        if not faults.error_rate and not faults.slow_seconds:
            return endpoint

        async def broken(request: Request) -> Response:
            await asyncio.sleep(faults.slow_seconds)
            if random.random() < faults.error_rate:
                return JSONResponse({"error": "fault: FAULT_ERROR_RATE"}, 500)
            return await endpoint(request)

        return broken


def visitor(request: Request) -> str:
    """Name who asks: the address the nearest proxy saw, which the visitor cannot forge."""
    forwarded = request.headers.get("x-forwarded-for", "")
    nearest = forwarded.rpartition(",")[2].strip()
    return nearest or (request.client.host if request.client else "unknown")
