"""The catalog's client, with a small cache before it."""

import asyncio
from time import monotonic
from typing import Any, cast

import httpx

from ontology_download.metrics import Metrics

CACHE_ENTRIES = 1024
QUERY_TIMEOUT_SECONDS = 5.0
PING_TIMEOUT_SECONDS = 1.0

Json = dict[str, Any]


class CatalogDown(Exception):
    """The catalog gave no usable answer."""


class Catalog:
    """Reads ontologies over HTTP.

    An answer is asked for once however many requests wait for it, and one that has grown old is
    still given when the catalog is down. `None` means the catalog knows of no such thing.
    """

    def __init__(self, client: httpx.AsyncClient, metrics: Metrics, cache_seconds: float) -> None:
        self._client = client
        self._metrics = metrics
        self._cache_seconds = cache_seconds
        self._answers: dict[str, tuple[float, Json | None]] = {}
        self._asking: dict[str, asyncio.Task[Json | None]] = {}

    async def answers(self) -> bool:
        """Say whether the catalog answers at this moment; never from the cache."""
        try:
            response = await self._client.get("/", timeout=PING_TIMEOUT_SECONDS)
        except httpx.HTTPError:
            return False
        return response.is_success

    async def get(self, path: str, **query: str) -> Json | None:
        """Answer from the cache or from the catalog."""
        url = str(httpx.URL(path, params=query)) if query else path
        known = self._answers.get(url)
        if known and monotonic() - known[0] < self._cache_seconds:
            self._metrics.cache_hits.inc()
            return known[1]
        self._metrics.cache_misses.inc()
        try:
            return await self._ask_once(url)
        except CatalogDown:
            if known:
                return known[1]
            raise

    async def _ask_once(self, url: str) -> Json | None:
        task = self._asking.get(url)
        if task is None:
            task = self._asking[url] = asyncio.create_task(self._ask(url))
            task.add_done_callback(lambda _: self._asking.pop(url, None))
        # Shielded: a visitor who leaves must not take the answer from the others who wait.
        return await asyncio.shield(task)

    async def _ask(self, url: str) -> Json | None:
        try:
            with self._metrics.query.time():
                response = await self._client.get(url, timeout=QUERY_TIMEOUT_SECONDS)
            answer = None if response.status_code == 404 else response.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise CatalogDown(f"catalog: {url}: {error!r}") from error
        self._keep(url, cast("Json | None", answer))
        return cast("Json | None", answer)

    def _keep(self, url: str, answer: Json | None) -> None:
        self._answers.pop(url, None)
        if len(self._answers) >= CACHE_ENTRIES:
            del self._answers[next(iter(self._answers))]
        self._answers[url] = (monotonic(), answer)
