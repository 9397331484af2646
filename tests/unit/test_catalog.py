"""The catalog: a real DuckDB, asked without sockets."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from duckdb_catalog.app import build
from duckdb_catalog.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Provide a catalog at its first start."""
    return Store(tmp_path_factory.mktemp("duckdb") / "catalog.duckdb")


def test_first_start_seeds_and_the_next_keeps(tmp_path: Path) -> None:
    """The data is made at the first start and found again at the next."""
    first = Store(tmp_path / "catalog.duckdb")
    counts = first.counts()
    first.close()
    second = Store(tmp_path / "catalog.duckdb")
    assert second.counts() == counts
    assert counts["ontologies"] > 10
    second.close()


def test_search_is_not_fooled_by_quotes_or_wildcards(store: Store) -> None:
    """What is searched for is data, never part of the query."""
    assert [term["id"] for term in store.search("alzheimer's")] == ["DOID:10652"]
    assert store.search("%") == []
    assert store.search("'; DROP TABLE terms; --") == []


def test_many_threads_read_at_once(store: Store) -> None:
    """Queries at the same time do not mix up their answers."""
    keys = [row["id"] for row in store.ontologies()] * 10
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(store.ontology, keys))
    assert [row["id"] if row else None for row in found] == keys


def test_endpoints(store: Store) -> None:
    """Each endpoint answers, and what is not there is a 404."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(build(store))
        async with httpx.AsyncClient(transport=transport, base_url="http://catalog") as client:
            paths = ("/", "/ontologies", "/ontologies/go", "/ontologies/none", "/search?q=repair")
            return [await client.get(path) for path in (*paths, "/metrics")]

    root, listed, go, none, search, metrics = asyncio.run(ask())
    assert root.json() == {"status": "ok", **store.counts()}
    assert {"go", "hp"} <= {row["id"] for row in listed.json()["ontologies"]}
    assert {"id": "GO:0006281", "label": "DNA repair"} in go.json()["terms"]
    assert none.status_code == 404
    assert search.json()["terms"][0]["label"] == "DNA repair"
    assert 'duckdb_query_duration_seconds_count{query="search"} 1.0' in metrics.text
