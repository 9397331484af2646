"""The lease is kept alive from a thread while a run works."""

import threading
from collections.abc import Mapping

from ondeploy.errors import EngineError
from ondeploy.keeper import Keeper, new_id
from ondeploy.model import LeaseInfo
from tests.fakes import Host

SOON = 0.001


class CountedLease:
    """A lease that notes renewals, and lets a test wait for them instead of sleeping."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.renewals = 0
        self.used_up = threading.Event()

    def renew(self, lease: str) -> bool:
        self.renewals += 1
        answer = self.answers.pop(0)
        if not self.answers:
            self.used_up.set()
            self.answers = [True]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def take(self, info: Mapping[str, str]) -> None: ...
    def release(self, lease: str) -> None: ...
    def read(self) -> LeaseInfo | None: ...
    def clear(self) -> LeaseInfo | None: ...


def renewals(*answers: bool | Exception) -> int:
    """How often a lease that answers so is renewed until its keeper gives up."""
    lease = CountedLease(*answers)
    keeper = Keeper(lease, "L", SOON)
    with keeper:
        assert lease.used_up.wait(5)
        keeper._thread.join(5)
        assert not keeper._thread.is_alive()
    return lease.renewals


def test_it_renews_until_the_run_ends() -> None:
    """And not after: leaving the block ends the thread."""
    lease = CountedLease(True, True, True, True, True)
    with Keeper(lease, "L", SOON):
        assert lease.used_up.wait(5)
    ended = lease.renewals
    assert ended >= 5
    assert not [each for each in threading.enumerate() if each.name == "lease"]


def test_a_lost_lease_is_not_renewed_again() -> None:
    """Whoever has it now must not be disturbed."""
    assert renewals(False) == 1


def test_a_hiccup_of_the_engine_is_forgiven() -> None:
    """Two failures and a success begin anew; three in a row end it."""
    silent = EngineError("silent")
    assert renewals(silent, silent, True, silent, silent, silent) == 6


def test_ids_sort_by_time() -> None:
    """History is in order because names are."""
    host = Host()
    early = new_id(host.world)
    host.clock.pass_time(0.001)
    assert early < new_id(host.world)
