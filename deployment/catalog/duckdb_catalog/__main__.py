"""Runs the catalog: `python -m duckdb_catalog`."""

import os
import signal
import sys
from pathlib import Path

import uvicorn

from duckdb_catalog.app import build
from duckdb_catalog.store import Store


def main() -> None:
    """Serve until SIGTERM; queries that run are answered first."""
    # As process 1 of a container, a signal without a handler is not delivered at all.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    store = Store(Path(os.environ.get("DATA_DIR") or "/var/lib/duckdb") / "catalog.duckdb")
    uvicorn.run(
        build(store),
        host="0.0.0.0",
        port=8432,
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        log_level="info",
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
