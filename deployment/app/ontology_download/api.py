"""The endpoints under /api."""

import asyncio
import hashlib

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket

from ontology_download.catalog import Catalog, CatalogDown, Json
from ontology_download.gate import Endpoint

LONGEST_WAIT_SECONDS = 30.0


class Api:
    """Ontologies: list, search, download, and check a copy."""

    def __init__(self, catalog: Catalog, version: str) -> None:
        self._catalog = catalog
        self._version = version

    async def version(self, _: Request) -> Response:
        """Say which version answers."""
        return JSONResponse({"version": self._version})

    async def ontologies(self, _: Request) -> Response:
        """List the ontologies."""
        return JSONResponse(await self._catalog.get("/ontologies"))

    async def search(self, request: Request) -> Response:
        """Find terms by label, synonym or identifier."""
        query = request.query_params.get("q", "").strip()
        if not query:
            return JSONResponse({"error": "q is missing: /api/search?q=WORD"}, 400)
        return JSONResponse(await self._catalog.get("/search", q=query))

    async def download(self, request: Request) -> Response:
        """Hand out an ontology as an OBO file."""
        ontology = await self._ontology(request)
        if ontology is None:
            return unknown(request)
        name = f'attachment; filename="{ontology["id"]}.obo"'
        return PlainTextResponse(obo(ontology), headers={"Content-Disposition": name})

    async def verify(self, request: Request) -> Response:
        """Tell whether the body, of any size, is the ontology's current file."""
        digest, size = hashlib.sha256(), 0
        async for chunk in request.stream():
            digest.update(chunk)
            size += len(chunk)
        ontology = await self._ontology(request)
        if ontology is None:
            return unknown(request)
        sha256 = digest.hexdigest()
        current = hashlib.sha256(obo(ontology).encode()).hexdigest()
        return JSONResponse({"bytes": size, "sha256": sha256, "current": sha256 == current})

    async def slow(self, request: Request) -> Response:
        """Answer late, for tests of requests in flight."""
        try:
            asked = float(request.query_params.get("seconds", "1"))
        except ValueError:
            return JSONResponse({"error": "seconds is not a number"}, 400)
        seconds = min(max(asked, 0.0), LONGEST_WAIT_SECONDS)
        await asyncio.sleep(seconds)
        return JSONResponse({"slept": seconds, "version": self._version})

    async def _ontology(self, request: Request) -> Json | None:
        return await self._catalog.get(f"/ontologies/{request.path_params['id']}")


async def echo(socket: WebSocket) -> None:
    """Send every text message back."""
    await socket.accept()
    async for message in socket.iter_text():
        await socket.send_text(message)


def catalog_guarded(endpoint: Endpoint) -> Endpoint:
    """Answer 503, not 500, where the fault is the catalog's."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except CatalogDown as error:
            return JSONResponse({"error": str(error)}, 503)

    return guarded


def unknown(request: Request) -> Response:
    """Answer for an ontology the catalog does not have."""
    return JSONResponse({"error": f"no ontology {request.path_params['id']!r}"}, 404)


def obo(ontology: Json) -> str:
    """Write an ontology in OBO format."""
    head = [
        "format-version: 1.2",
        f"data-version: {ontology['release']}",
        f"ontology: {ontology['id']}",
    ]
    terms = [
        f"\n[Term]\nid: {term['id']}\nname: {term['label']}\nnamespace: {ontology['id']}"
        for term in ontology["terms"]
    ]
    return "\n".join([*head, *terms]) + "\n"
