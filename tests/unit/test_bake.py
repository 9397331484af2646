"""The watch after the switch, on a clock that only moves when someone sleeps."""

import signal
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from ondeploy.analysis import Counts, Reading
from ondeploy.bake import bake
from ondeploy.errors import AnalysisFailed, EngineError, Interrupted, ReleaseUnhealthy
from ondeploy.model import Weights
from ondeploy.ports import NoData
from tests.fakes import GREEN, App, Host, make_settings


def baking(app: App | None = None, settings: Mapping[str, Any] | None = None, **bake: Any) -> Host:
    """A host where v2 was just given all traffic, in green."""
    options = {"minutes": 5, "deadline_minutes": 10, **bake}
    host = Host(make_settings(bake=options, **(settings or {})), v2=app or App())
    host.put(GREEN, "v2")
    container = host.stack.running[GREEN]
    host.stack.running[GREEN] = type(container)(container.release, host.clock.seconds, 1)
    host.clock.pass_time(2)
    host.router.send(Weights.all_to(GREEN))
    return host


def watch(host: Host) -> str:
    """Bake v2; what the verdict rests on."""
    return bake(host.world, GREEN, "v2", Reading(), {})


def test_a_good_release_passes_at_the_end_of_its_time() -> None:
    """Not before: five minutes are five minutes."""
    host = baking()
    words = watch(host)
    assert host.clock.seconds - 2 == pytest.approx(300, abs=1)
    assert "0 of 3000 requests failed" in words


@pytest.mark.parametrize("visitors", [1.0, 10.0, 500.0])
def test_twenty_percent_errors_are_caught_within_sixty_requests_or_a_look(visitors: float) -> None:
    """A bad release goes after a few dozen requests, whatever the traffic."""
    host = baking(App(error_share=0.2))
    host.visitors_per_second = visitors
    with pytest.raises(AnalysisFailed, match=r"the error rate condemns v2: .*\(20\.00 %"):
        watch(host)
    assert (host.clock.seconds - 2) * visitors <= max(60, visitors)


def test_errors_that_begin_late_are_caught_as_well() -> None:
    """Minutes of good answers buy a release no credit."""
    host = baking()
    host.clock.later(200, lambda: host.apps.update(v2=App(error_share=0.2)))
    with pytest.raises(AnalysisFailed):
        watch(host)
    assert host.clock.seconds < 202 + 14


def test_one_error_in_three_requests_does_not_roll_back() -> None:
    """A single error is an event, not a rate: the release is held, not condemned, then passes."""
    host = baking()
    host.visitors_per_second = 0
    readings = [Counts(3, 1)] * 100

    def read() -> Mapping[str, Counts]:
        return {"green": readings.pop() if len(readings) > 1 else Counts(300, 1)}

    host.metrics.answer = read
    assert "1 of 300 requests failed" in watch(host)


def test_below_the_limit_is_no_ground_to_roll_back() -> None:
    """Two percent errors pass a limit of five."""
    assert "(2.00 %, limit 5 %" in watch(baking(App(error_share=0.02)))


def test_without_prometheus_nothing_passes() -> None:
    """Held, said so on the way, and rolled back at the deadline: never taken for success."""
    host = baking()
    host.metrics.answer = lambda: NoData("Prometheus does not answer: refused")
    with pytest.raises(AnalysisFailed) as caught:
        watch(host)
    assert "still inconclusive 10 min after the bake's end" in caught.value.message
    assert "Prometheus does not answer" in caught.value.message
    assert caught.value.hint
    assert host.clock.seconds - 2 == pytest.approx(900, abs=2)
    assert any("held: inconclusive" in line for line in host.said)


def test_data_that_come_back_let_it_pass() -> None:
    """A Prometheus that was away for some minutes costs time only."""
    host = baking()
    host.metrics.answer = lambda: NoData("away")
    host.clock.later(400, lambda: setattr(host.metrics, "answer", None))
    watch(host)
    assert host.clock.seconds - 2 == pytest.approx(400, abs=2)


def test_a_last_reading_without_data_does_not_pass() -> None:
    """Good numbers from before are no verdict while the current ones are missing."""
    host = baking(deadline_minutes=1)
    host.clock.later(290, lambda: setattr(host.metrics, "answer", lambda: NoData("gone")))
    with pytest.raises(AnalysisFailed, match="gone"):
        watch(host)


def test_too_few_requests_are_inconclusive() -> None:
    """The report says how many more are needed; at the deadline it is rolled back."""
    host = baking()
    host.visitors_per_second = 0.05
    with pytest.raises(AnalysisFailed, match="more requests are needed"):
        watch(host)
    assert any("held: inconclusive" in line for line in host.said)


def test_requests_from_before_the_shift_do_not_count() -> None:
    """Smoke tests fail on purpose sometimes; only what visitors met is judged."""
    host = baking()
    host.counted[GREEN] = Counts(50, 50)
    before = Reading({"green:8000": Counts(50, 50)})
    assert "0 of 3000" in bake(host.world, GREEN, "v2", before, {})


def test_a_container_that_died_ends_it_at_once() -> None:
    """No statistics are needed for a release that is gone."""
    host = baking(App(dies_after=33))
    with pytest.raises(ReleaseUnhealthy, match="is exited, exit code 137"):
        watch(host)
    assert host.clock.seconds < 36


def test_a_container_that_was_restarted_ends_it() -> None:
    """A crash is a crash, also if Docker mended it in between looks."""
    host = baking(App(dies_after=33, restarts=True))
    with pytest.raises(ReleaseUnhealthy, match="crashed and was restarted"):
        watch(host)


def test_a_crash_from_before_the_proof_is_forgiven() -> None:
    """A container that had to start twice and was then proven ready is not counted as crashed."""
    host = baking(App(dies_after=0, restarts=True))
    assert bake(host.world, GREEN, "v2", Reading(), {"green1": 1})


def test_a_replica_that_is_no_longer_scraped_is_missing_data() -> None:
    """Good numbers of the others do not speak for it."""
    host = baking(deadline_minutes=1)
    both = {"a": Counts(500, 0), "b": Counts(500, 0)}
    host.metrics.answer = lambda: both
    host.clock.later(100, partial(both.__delitem__, "b"))
    with pytest.raises(AnalysisFailed, match="b is no longer scraped"):
        watch(host)


def test_a_crash_after_the_proof_is_not_forgiven() -> None:
    """One restart was known when it was proven, the second one is new."""
    host = baking(App(dies_after=33, restarts=True))
    with pytest.raises(ReleaseUnhealthy, match="green-1 crashed and was restarted"):
        bake(host.world, GREEN, "v2", Reading(), {"green1": 0, "blue1": 7})


def test_a_replica_that_is_missing_ends_it() -> None:
    """One of two containers does not make a release, however well it answers."""
    release = {"services": ["web"], "port": 8000, "replicas": 2}
    host = baking(settings={"release": release})
    with pytest.raises(ReleaseUnhealthy, match="1 of 2 containers of green are there"):
        watch(host)


def test_a_replica_that_never_had_a_visitor_may_go_unscraped() -> None:
    """Only what answered requests in this bake has to go on being counted."""
    host = baking()
    idle = {"a": Counts(0, 0), "b": Counts(9, 0)}
    before = Reading(dict(idle))
    host.metrics.answer = lambda: {
        "a": Counts(host.clock.seconds * 10, 0),
        **({"b": Counts(9, 0)} if host.clock.seconds < 100 else {}),
    }
    assert "requests failed" in bake(host.world, GREEN, "v2", before, {})


def silence(host: Host) -> None:
    """nginx stops answering, though its volume still says what it served."""
    host.router.send(Weights.all_to(GREEN), serving=False)


def test_a_short_silence_of_nginx_is_outlasted() -> None:
    """A reload or a restart of nginx costs the release nothing; it is held meanwhile."""
    host = baking()
    host.clock.later(294, lambda: silence(host))
    host.clock.later(306, lambda: host.router.send(Weights.all_to(GREEN)))
    watch(host)
    assert host.clock.seconds - 2 == pytest.approx(305, abs=2)
    assert any("held: inconclusive: nginx does not answer" in line for line in host.said)


@pytest.mark.parametrize("gone", [True, False], ids=["unknown", "silent"])
def test_a_long_silence_of_nginx_ends_it(gone: bool) -> None:
    """Without nginx there is no visitor to judge by: after fifteen seconds the run fails."""
    host = baking()
    act = partial(setattr, host.router, "state", None) if gone else partial(silence, host)
    host.clock.later(50, act)
    with pytest.raises(EngineError, match="nginx does not answer"):
        watch(host)
    assert 52 + 15 <= host.clock.seconds < 52 + 20


def test_traffic_that_someone_else_moved_away_ends_it() -> None:
    """A release that visitors no longer reach is not proven by them."""
    host = baking()
    host.clock.later(50, lambda: host.router.send(Weights(100, 0)))
    with pytest.raises(ReleaseUnhealthy, match="someone else moved the traffic away from green"):
        watch(host)
    assert host.clock.seconds < 55


def test_containers_that_vanished_end_it() -> None:
    """Someone removed them: the release is unavailable."""
    host = baking()
    host.clock.later(10, host.stack.running.clear)
    with pytest.raises(ReleaseUnhealthy, match="0 of 1 containers of green are there"):
        watch(host)


def test_liveness_that_fails_three_times_ends_it() -> None:
    """The guide's threshold: three in a row, asked at every look once one has failed."""
    host = baking(App(sick_after=100))
    with pytest.raises(ReleaseUnhealthy, match=r"3 times in a row: .*/health: answered 503"):
        watch(host)
    assert host.clock.seconds < 100 + 10 + 4


def test_two_failures_in_a_row_are_forgiven() -> None:
    """A hiccup below the threshold rolls nothing back."""
    host = baking()
    host.clock.later(100, lambda: host.apps.update(v2=App(sick_after=0)))
    host.clock.later(101.5, lambda: host.apps.update(v2=App()))  # asked at 102 and 103 s
    watch(host)


def test_liveness_is_asked_at_its_own_period() -> None:
    """A healthy release is not asked at every look."""
    host = baking(settings={"probes": {"liveness": {"period_seconds": 30}}})
    host.clock.later(0.5, lambda: host.apps.update(v2=App(sick_after=0)))
    host.clock.later(25, lambda: host.apps.update(v2=App()))
    watch(host)


def test_a_short_silence_of_the_engine_is_outlasted() -> None:
    """An engine that restarts is not the release's fault."""
    host = baking()
    host.clock.later(50, lambda: host.broken.update({"stack.replicas": EngineError("silent")}))
    host.clock.later(60, host.broken.clear)
    watch(host)


def test_a_long_silence_of_the_engine_ends_it() -> None:
    """Nobody can watch blindly for minutes."""
    host = baking()
    host.clock.later(50, lambda: host.broken.update({"stack.replicas": EngineError("silent")}))
    with pytest.raises(EngineError, match="silent"):
        watch(host)
    assert host.clock.seconds < 52 + 20


def test_without_metrics_probes_and_containers_are_watched() -> None:
    """`prometheus: null` passes at the end, on probes alone, and says so."""
    host = baking(settings={"prometheus": None})
    assert watch(host) == "probes and containers; no metrics are configured"
    sick = baking(App(sick_after=20), settings={"prometheus": None})
    with pytest.raises(ReleaseUnhealthy):
        watch(sick)


def test_a_signal_stops_the_watch() -> None:
    """Asked to stop before it began, it does not begin."""
    host = baking()
    host.signals.received = signal.SIGTERM
    with pytest.raises(Interrupted, match="SIGTERM"):
        watch(host)
