"""Runs the app: `python -m ontology_download`."""

import logging
import os
import signal
import sys
import time

import uvicorn

from ontology_download.app import build
from ontology_download.settings import read_settings

GRACE_SECONDS = 40
# Longer than the 60 s for which nginx keeps an idle connection by default: the side that closes
# first must be nginx, or a request just sent is lost.
KEEP_ALIVE_SECONDS = 75


def main() -> None:
    """Warm up, then serve until SIGTERM; requests in flight are answered first."""
    # As process 1 of a container, a signal without a handler is not delivered at all.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings(os.environ)
    time.sleep(settings.startup_seconds)

    uvicorn.run(
        build(settings),
        host="0.0.0.0",
        port=8000,
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        log_level="info",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


if __name__ == "__main__":
    main()
