"""Holding the lease for a run: taken before anything else, renewed from a thread, given back."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from ondeploy.errors import LeaseHeld, OndeployError
from ondeploy.model import Request
from ondeploy.ports import Lease
from ondeploy.world import World


@contextmanager
def leased(world: World, request: Request, *, wait: bool = False) -> Iterator[str]:
    """Hold the lease for a run, renewed while it lives; its id is the run's id."""
    lease = new_id(world)
    info = {
        "id": lease,
        "who": world.who,
        "command": request.command,
        "version": request.version,
        "acquired": world.clock.now().isoformat(timespec="seconds"),
    }
    take(world, info, wait=wait)
    with Keeper(world.lease, lease, world.settings.lease.seconds / 5):
        try:
            yield lease
        finally:
            give_back(world, lease)


def new_id(world: World) -> str:
    """An id that sorts by time."""
    return f"{world.clock.now():%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(3)}"


def take(world: World, info: dict[str, str], *, wait: bool) -> None:
    """Take the lease; with `wait`, outlast a dead holder's, but not one that shows life."""
    try:
        world.lease.take(info)
    except LeaseHeld:
        held = world.lease.read()
        if not wait or held is None:
            raise
        world.say(f"waiting for the lease of {held.who} («{held.command}») to expire")
        while (now := world.lease.read()) and now == held:
            world.clock.sleep(0.5)
        world.lease.take(info)


def give_back(world: World, lease: str) -> None:
    try:
        world.lease.release(lease)
    except OndeployError as error:
        world.say(f"the lease could not be given back and will expire by itself: {error.message}")


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
