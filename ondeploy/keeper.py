"""Keeps a lease alive from a thread of its own while a run works, waits or bakes."""

from __future__ import annotations

import threading
from types import TracebackType

from ondeploy.errors import OndeployError
from ondeploy.ports import Lease


class Keeper:
    """Renews on entering its block and every `interval` seconds until it is left.

    It stops quietly when the lease is gone or the engine silent: the run itself learns of that at
    its next journal entry, which checks the lease before anything is changed.
    """

    def __init__(self, lease: Lease, lease_id: str, interval: float) -> None:
        self.lease = lease
        self.lease_id = lease_id
        self.interval = interval
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._leaving.set()
        self._thread.join()

    def _renew(self) -> None:
        failures = 0
        while failures < 3 and not self._leaving.wait(self.interval):
            try:
                failures = 0 if self.lease.renew(self.lease_id) else 3
            except OndeployError:
                failures += 1
