"""Asking until something holds: soon at first, less often later, and never past the limit."""

import pytest

from ondeploy.probes import HttpProber
from tests.fakes import FakeClock


def asked_until(ready_at: float, limit: float) -> tuple[str, FakeClock, int]:
    """Ask for something that holds from a moment on; what was found, the clock, how often."""
    clock, asked = FakeClock(), [0]

    def problem() -> str:
        asked[0] += 1
        return "" if clock.seconds >= ready_at else f"not ready at {clock.seconds:.2f}"

    return HttpProber(clock).until(problem, limit), clock, asked[0]


def test_what_holds_already_waits_for_nobody() -> None:
    """One question, no sleep."""
    words, clock, asked = asked_until(0, 60)
    assert (words, clock.slept, asked) == ("", [], 1)


@pytest.mark.parametrize("ready_at", [0.05, 1.0, 7.0, 40.0])
def test_it_is_noticed_soon(ready_at: float) -> None:
    """Within two percent of the wait, or 10 ms, or half a second: waiting costs next to nothing."""
    words, clock, _ = asked_until(ready_at, 60)
    assert words == ""
    assert clock.seconds - ready_at <= max(0.02 * ready_at, 0.01) + 0.001


def test_a_slow_start_is_not_asked_thousands_of_times() -> None:
    """A minute of waiting is a few hundred questions."""
    _, _, asked = asked_until(60, 120)
    assert asked < 400


@pytest.mark.parametrize("limit", [1.0, 20.0, 60.0])
def test_the_limit_is_kept(limit: float) -> None:
    """The last problem is the answer, at most half a second after the limit."""
    words, clock, _ = asked_until(1e9, limit)
    assert words.startswith("not ready at")
    assert limit <= clock.seconds <= limit + 0.5


def test_an_error_while_asking_ends_the_waiting() -> None:
    """Whatever the question raises comes through, with no retry."""

    def problem() -> str:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        HttpProber(FakeClock()).until(problem, 60)
