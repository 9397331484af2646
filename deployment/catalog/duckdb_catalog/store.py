"""The catalog's data, in a DuckDB file."""

from pathlib import Path
from typing import Any

import duckdb

SEED = Path(__file__).parent / "seed"
SEARCH_ROWS = 50

Row = dict[str, Any]


class Store:
    """Answers questions about ontologies.

    Safe to call from several threads: every query runs on a cursor of its own, which DuckDB
    gives its own transaction on the one connection the file allows.
    """

    def __init__(self, path: Path) -> None:
        self._connection = duckdb.connect(
            str(path),
            config={"threads": "2", "memory_limit": "256MB", "autoinstall_known_extensions": False},
        )
        self._seed()

    def counts(self) -> Row:
        """Count what there is."""
        return self._rows(
            "SELECT (SELECT count(*) FROM ontologies) AS ontologies,"
            " (SELECT count(*) FROM terms) AS terms"
        )[0]

    def ontologies(self) -> list[Row]:
        """List the ontologies with the number of their terms."""
        return self._rows(
            "SELECT o.*, count(t.id) AS terms FROM ontologies o"
            " LEFT JOIN terms t ON t.ontology = o.id GROUP BY ALL ORDER BY o.id"
        )

    def ontology(self, key: str) -> Row | None:
        """Return one ontology with its terms."""
        found = self._rows("SELECT * FROM ontologies WHERE id = ?", key)
        if not found:
            return None
        terms = self._rows("SELECT id, label FROM terms WHERE ontology = ? ORDER BY id", key)
        return {**found[0], "terms": terms}

    def search(self, words: str) -> list[Row]:
        """Find terms by a part of their label or identifier, the closest first."""
        return self._rows(
            "SELECT id, label, ontology FROM terms"
            " WHERE contains(lower(label), lower($1)) OR contains(lower(id), lower($1))"
            " ORDER BY length(label), id LIMIT $2",
            words,
            SEARCH_ROWS,
        )

    def close(self) -> None:
        """Write everything to the file and let go of it."""
        self._connection.close()

    def _rows(self, query: str, *values: object) -> list[Row]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, list(values))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _seed(self) -> None:
        """Fill a new file; in one transaction, so that a crash leaves no half-filled one."""
        with self._connection.cursor() as cursor:
            cursor.begin()
            for table in ("ontologies", "terms"):
                cursor.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} AS"
                    " SELECT * FROM read_csv(?, header = true, all_varchar = true)",
                    [str(SEED / f"{table}.csv")],
                )
            cursor.commit()
