"""When a release counts as up, and what a smoke test minds."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ondeploy import checks
from ondeploy.model import Release, Replica, Weights
from ondeploy.ports import Answer
from ondeploy.settings import Readiness, SmokeTest
from tests.fakes import BLUE, GREEN, App, Host, make_settings

V2 = Release("v2", "", "", "")


def started(app: App, **settings: Any) -> Host:
    """A host where v2 has just been started in green."""
    host = Host(make_settings(**settings), v2=app)
    host.put(GREEN, "v2")
    container = host.stack.running[GREEN]
    host.stack.running[GREEN] = replace(container, since=0)
    return host


def wait(host: Host) -> str:
    """Wait for liveness; the problem, if there is one."""
    return checks.wait_for_color(host.world, GREEN, host.settings.probes.liveness)


def test_a_release_is_up_as_soon_as_it_answers() -> None:
    """The initial delay is no sleep: three seconds of start take three seconds."""
    host = started(App(ready_after=3))
    assert wait(host) == ""
    assert host.clock.seconds == 3


def test_a_release_that_never_answers_is_given_up_at_the_limit() -> None:
    """At the sixty seconds of the guide's liveness probe: no earlier, no later."""
    host = started(App(ready_after=1e9))
    assert wait(host) == "after 60 s: shop-green-web-green-1:8000/health: answered 503"
    assert host.clock.seconds == 60


def test_a_release_that_is_up_at_the_limit_is_in_time() -> None:
    """The last moment counts."""
    host = started(App(ready_after=60))
    assert wait(host) == ""


def test_a_container_that_died_is_given_up_at_once() -> None:
    """Nobody waits a minute for a process that has ended."""
    host = started(App(ready_after=1e9, dies_after=2))
    assert wait(host) == "shop-green-web-green-1 ended with exit code 137"
    assert host.clock.seconds <= 3


def test_a_container_that_keeps_dying_is_given_up() -> None:
    """As many deaths as the probe forgives failures are enough."""
    settings = {"probes": {"liveness": {"failure_threshold": 1}}}
    host = started(App(ready_after=1e9, dies_after=2, restarts=True), **settings)
    assert "died 1 times" in wait(host)
    assert host.clock.seconds <= 3


def test_every_replica_must_answer() -> None:
    """One of two that is not well keeps the traffic away."""
    host = started(App(ready_after=0))
    host.stack.running[GREEN] = replace(host.stack.running[GREEN], replicas=2)
    assert checks.color_problem(host.world, GREEN, Readiness()) == ""
    host.prober.refusing.add("green-2")
    said = checks.color_problem(host.world, GREEN, Readiness())
    assert said == "shop-green-web-green-2:8000/ready: connection refused"


def test_a_color_without_containers_is_not_well() -> None:
    """The message says which service is missing."""
    host = Host()
    said = checks.color_problem(host.world, BLUE, Readiness())
    assert said == "blue has no running container of web"


def test_a_worker_is_not_asked_over_http() -> None:
    """Only the service that takes the traffic has probes; a worker must only run."""
    host = Host()
    worker = Replica("w", "worker", "worker-green", "10.0.0.9", "running", "", 0)
    assert checks.routed_among(host.world, GREEN, [worker]) == []


def test_a_platform_service_that_is_down_is_named() -> None:
    """The first of them, in Docker's word; then nginx itself must answer."""
    host = Host()
    host.router.send(Weights.all_to(BLUE))
    services = ["catalog", "nginx"]
    assert checks.platform_problem(host.world, services) == ""
    host.stack.platform["catalog"] = "unhealthy"
    assert checks.platform_problem(host.world, services) == "the service catalog is unhealthy"
    del host.stack.platform["catalog"]
    assert checks.platform_problem(host.world, services) == "the service catalog is missing"
    host.stack.platform["catalog"] = "running"
    host.router.send(Weights.all_to(BLUE), serving=False)
    assert "router.control_url" in checks.platform_problem(host.world, services)


GOOD = Answer(200, 0.1, '{"version": "2", "ok": true}', {"x-team": "red"})


@pytest.mark.parametrize(
    ("test", "answer", "words"),
    [
        ({}, GOOD, ""),
        ({}, Answer(500, 0.1), "answered 500, expected 200"),
        ({}, Answer(0, 0, problem="connection refused"), "connection refused, expected 200"),
        ({"status": 404}, Answer(404, 0.1), ""),
        ({"max_seconds": 0.05}, GOOD, "took 0.10 s, allowed are 0.05 s"),
        ({"contains": "version"}, GOOD, ""),
        ({"contains": "nope"}, GOOD, "the body does not contain 'nope'"),
        ({"headers": {"X-Team": "red"}}, GOOD, ""),
        ({"headers": {"X-Team": "blue"}}, GOOD, "header X-Team is 'red', expected 'blue'"),
        ({"headers": {"X-None": "1"}}, GOOD, "header X-None is None, expected '1'"),
        ({"headers": {"X-V": "{version}"}}, replace(GOOD, headers={"x-v": "2"}), ""),
        ({"json": {"version": "{version}", "ok": True}}, GOOD, ""),
        ({"json": {"version": "v2"}}, GOOD, ""),
        ({"json": {"version": "3"}}, GOOD, "version is '2', expected '3'"),
        ({"json": {"ok": False}}, GOOD, "ok is True, expected False"),
        ({"json": {"none": 1}}, GOOD, "none is None, expected 1"),
        ({"json": {"a": 1}}, replace(GOOD, body="<html>"), "the body is not JSON"),
        ({"json": {"a": 1}}, replace(GOOD, body="[1]"), "the body is not a JSON object"),
        ({"json": {"name": "release {version}"}}, replace(GOOD, body='{"name": "release 2"}'), ""),
    ],
)
def test_what_a_smoke_test_minds(test: dict[str, Any], answer: Answer, words: str) -> None:
    """Each kind of expectation, met and not met, in one line for the person who reads it."""
    smoke = SmokeTest.model_validate({"path": "/x", **test})
    assert checks.smoke_problem(smoke, answer, "v2") == words


def test_smoke_tests_ask_every_replica_and_then_nginx() -> None:
    """What nginx would serve to a visitor who asks for this color is tested as well."""
    smoke = [{"path": "/api/version", "json": {"version": "{version}"}}]
    host = started(App(ready_after=0), smoke=smoke)
    host.router.send(Weights.all_to(BLUE))
    assert checks.smoke_directly(host.world, GREEN, V2) == ""
    assert checks.smoke_through_nginx(host.world, GREEN, V2) == ""
    host.apps["v2"] = App(ready_after=0, says="1")
    said = checks.smoke_directly(host.world, GREEN, V2)
    assert said == "/api/version of shop-green-web-green-1: version is '1', expected '2'"


def test_nginx_gets_a_moment_to_find_the_containers() -> None:
    """Its resolver asks once a second; after five of them it counts."""
    host = Host(make_settings(), v2=App(ready_after=0))
    host.clock.later(3, lambda: host.put(GREEN, "v2"))
    assert checks.smoke_through_nginx(host.world, GREEN, V2) == ""
    host.stack.running.clear()
    said = checks.smoke_through_nginx(host.world, GREEN, V2)
    assert said == "/health through nginx: answered 502, expected 200"


def test_a_smoke_answer_may_hold_anything() -> None:
    """A version that is a number in JSON is compared as its text."""
    smoke = SmokeTest.model_validate({"path": "/", "json": {"version": "{version}"}})
    body = json.dumps({"version": 2})
    assert checks.smoke_problem(smoke, Answer(200, 0.0, body), "v2") == ""


def test_a_wrong_nginx_is_no_proof() -> None:
    """Another color, or a stranger's server that answers 200 to all, fails the smoke test."""
    host = started(App(ready_after=0))
    host.router.send(Weights.all_to(BLUE))
    host.prober.claims = "blue"
    said = checks.smoke_through_nginx(host.world, GREEN, V2)
    assert said == "/health through nginx: blue answered instead of green"
    stranger = Answer(200, 0.1, "welcome", {"server": "nginx"})
    said = checks.wrong_color(host.world, stranger, GREEN)
    assert said == "nobody of ondeploy's answered instead of green"
    assert checks.wrong_color(host.world, Answer(0, 0.1, problem="refused"), GREEN) == ""


def test_a_color_that_is_not_shown_cannot_be_asked_for() -> None:
    """With `expose_color: false` nginx does not say who answered, and nobody misses it."""
    host = started(App(ready_after=0), router={"expose_color": False})
    host.prober.claims = "blue"
    assert checks.smoke_through_nginx(host.world, GREEN, V2) == ""


def test_smoke_tests_want_every_replica() -> None:
    """One of two that does not run is not passed over."""
    release = {"services": ["web"], "port": 8000, "replicas": 2}
    host = started(App(ready_after=0), release=release)
    assert checks.smoke_directly(host.world, GREEN, V2) == "1 of 2 replicas run"


def test_restarts_count_from_the_proof_on() -> None:
    """As many as were known are forgiven, one more is a crash, and so is a container's absence."""
    host = started(App(ready_after=0, dies_after=0, restarts=True))
    assert checks.container_problem(host.world, GREEN, {"green1": 1}) == ""
    said = checks.container_problem(host.world, GREEN, {"green1": 0})
    assert said == "shop-green-web-green-1 crashed and was restarted"
    said = checks.container_problem(host.world, BLUE, {})
    assert said == "0 of 1 containers of blue are there"


def test_a_migration_that_is_done_is_well() -> None:
    """A service that runs once is no problem of the platform when it ended well."""
    host = Host()
    host.router.send(Weights.all_to(BLUE))
    host.stack.platform["migrate"] = "completed"
    assert checks.platform_problem(host.world, ["migrate"]) == ""
    host.stack.platform["migrate"] = "exited"
    assert checks.platform_problem(host.world, ["migrate"]) == "the service migrate is exited"
