"""A request to stop is obeyed at a place that can take it, and never in an undo."""

import signal

import pytest

from ondeploy.clock import SystemClock
from ondeploy.errors import Interrupted
from ondeploy.signals import STOPPING, Signals


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_cuts_a_wait_short(number: signal.Signals) -> None:
    """Ctrl-C, a cancelled job and a closed terminal end a wait at once, with exit code 130."""
    signals = Signals()
    with signals.listening(), pytest.raises(Interrupted) as caught, signals.interruptible():
        signal.raise_signal(number)
    assert caught.value.code == 130
    assert number.name in caught.value.message


def test_a_signal_during_a_change_is_raised_after_it() -> None:
    """What is being changed is changed whole; the next check stops the run."""
    signals = Signals()
    with signals.listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            signals.check()
        with pytest.raises(Interrupted), signals.interruptible():
            pytest.fail("a wait began although a stop was asked for")


def test_an_undo_finishes_in_peace() -> None:
    """Once the undo began, signals are noted and nothing more."""
    signals = Signals()
    with signals.listening():
        signals.shut()
        with signals.interruptible():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        signals.check()
    assert signals.received is signal.SIGINT


def test_the_former_handlers_come_back() -> None:
    """After a command the program that called it has its own handlers again."""
    before = signal.getsignal(signal.SIGINT)
    with Signals().listening():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_the_clock_does_not_sleep_once_a_stop_was_asked_for() -> None:
    """A stopped run does not begin another wait."""
    signals = Signals()
    signals.received = signal.SIGTERM
    with pytest.raises(Interrupted):
        SystemClock(signals).sleep(1000)
