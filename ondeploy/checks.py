"""What counts as healthy: one line that says the problem, or "" when there is none.

A line instead of an exception, since most of these are asked again until they hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ondeploy.model import Color, Release, Replica
from ondeploy.ports import Answer
from ondeploy.settings import Probe, SmokeTest
from ondeploy.world import World

ROUTE_SECONDS = 5.0
"""Longest wait until nginx's resolver (valid=1s) has found the new containers."""
STARTING = "is starting"
DIED = ("exited", "dead", "removing")


def platform_problem(world: World, services: Sequence[str]) -> str:
    """Which of these services is not up; a service without a healthcheck only has to run."""
    _, platform = world.stack.observe()
    for name in services:
        state = platform.get(name, "missing")
        if state not in ("healthy", "running", "completed"):
            return f"the service {name} is {state}"
    router = world.router.observe()
    url = world.settings.router.control_url
    return (
        "" if router and router.serving else f"nginx does not answer on router.control_url, {url}"
    )


def settled_platform_problem(world: World, services: Sequence[str], limit: float) -> str:
    """The same, but a service that is still starting has `limit` seconds to become healthy."""
    problem = platform_problem(world, services)
    if not problem.endswith(STARTING):
        return problem
    return world.prober.until(lambda: platform_problem(world, services), limit)


def failed_check(world: World) -> str:
    """The first of the configured checks that fails."""
    for check in world.settings.checks:
        reply = world.stack.exec(check.service, check.command, timeout=10)
        if reply.code != 0:
            last = reply.text.strip().splitlines()[-1:] or ["no output"]
            return f"check {check.name!r} in {check.service} failed: {last[0]}"
    return ""


def liveness(world: World) -> Probe:
    return world.settings.probes.liveness


def startup_probes(world: World) -> list[Probe]:
    """Liveness first: it says whether the process is up at all; then readiness."""
    probes = world.settings.probes
    return [probes.liveness, *([probes.readiness] if probes.readiness else [])]


def wait_for_color(world: World, color: Color, probe: Probe) -> str:
    """Ask every replica until it passes; the last problem after the probe's limit.

    A container that died is given up at once unless Docker restarts it; one that keeps
    restarting is given up after as many deaths as the probe forgives failures.
    """

    seen = Sighting(world, color)

    def problem() -> str:
        replicas = seen.replicas()
        fatal = next((f for r in replicas if (f := fatal_state(r, probe))), "")
        if fatal:
            raise GivenUp(fatal)
        return replicas_problem(world, color, replicas, probe)

    try:
        words = world.prober.until(problem, probe.limit_seconds)
    except GivenUp as given_up:
        return str(given_up)
    return f"after {probe.limit_seconds:g} s: {words}" if words else ""


class Sighting:
    """A color's containers, looked up twice a second: asking them is cheap, looking is not."""

    EVERY = 0.5

    def __init__(self, world: World, color: Color) -> None:
        self.world = world
        self.color = color
        self.found: tuple[Replica, ...] = ()
        self.looked = -self.EVERY

    def replicas(self) -> tuple[Replica, ...]:
        now = self.world.clock.monotonic()
        if not self.found or now - self.looked >= self.EVERY:
            self.found, self.looked = self.world.stack.replicas(self.color), now
        return self.found


class GivenUp(Exception):
    """Waiting longer cannot help."""


def fatal_state(replica: Replica, probe: Probe) -> str:
    if replica.state in DIED:
        return f"{replica.name} ended with exit code {replica.exit_code}"
    if replica.restarts >= probe.failure_threshold:
        return f"{replica.name} died {replica.restarts} times, exit code {replica.exit_code}"
    return ""


def color_problem(world: World, color: Color, probe: Probe) -> str:
    """The first routed replica that does not pass a probe, asked once."""
    return replicas_problem(world, color, world.stack.replicas(color), probe)


def replicas_problem(world: World, color: Color, replicas: Sequence[Replica], probe: Probe) -> str:
    routed = routed_among(world, color, replicas)
    if not routed:
        return f"{color} has no running container of {world.settings.routed}"
    for replica in routed:
        answer = ask(world, replica, probe.path, probe.timeout_seconds)
        if answer.status != 200:
            asked = f":{world.settings.release.port}{probe.path}"
            return f"{replica.name}{asked}: {wording('', answer)}"
    return ""


def container_problem(world: World, color: Color, restarts: Mapping[str, int]) -> str:
    """A container that is missing, does not run, or was restarted since the release was proven."""
    replicas = world.stack.replicas(color)
    wanted = len(world.settings.release.services) * world.settings.release.replicas
    if len(replicas) < wanted:
        return f"{len(replicas)} of {wanted} containers of {color} are there"
    for replica in replicas:
        if not replica.running:
            return f"{replica.name} is {replica.state}, exit code {replica.exit_code}"
        if replica.restarts > restarts.get(replica.id, 0):
            return f"{replica.name} crashed and was restarted"
    return ""


def smoke_directly(world: World, color: Color, release: Release) -> str:
    """The smoke tests against every routed replica."""
    routed = routed_among(world, color, world.stack.replicas(color))
    if len(routed) < world.settings.release.replicas:
        return f"{len(routed)} of {world.settings.release.replicas} replicas run"
    for replica in routed:
        for test in world.settings.smoke:
            answer = ask(world, replica, test.path, test.max_seconds)
            problem = smoke_problem(test, answer, release.version)
            if problem:
                return f"{test.path} of {replica.name}: {problem}"
    return ""


def smoke_through_nginx(world: World, color: Color, release: Release) -> str:
    """The same through nginx; it may need a second to find the new containers."""
    tests = world.settings.smoke or (SmokeTest.model_validate({"path": liveness(world).path}),)
    router = world.settings.router
    preview = {router.preview_header: str(color)}
    for test in tests:

        def problem(test: SmokeTest = test) -> str:
            answer = world.prober.get(router.url + test.path, test.max_seconds, preview)
            return wrong_color(world, answer, color) or smoke_problem(test, answer, release.version)

        words = world.prober.until(problem, ROUTE_SECONDS)
        if words:
            return f"{test.path} through nginx: {words}"
    return ""


def wrong_color(world: World, answer: Answer, color: Color) -> str:
    """Someone else answered: another virtual host, or a template without the preview header."""
    if not world.settings.router.expose_color or not answer.status:
        return ""
    found = (answer.headers or {}).get("x-ondeploy-color", "nobody of ondeploy's")
    return "" if found == color else f"{found} answered instead of {color}"


def smoke_problem(test: SmokeTest, answer: Answer, version: str) -> str:
    """Pure: what is wrong with an answer to a smoke test."""
    if answer.status != test.status:
        return wording("", answer) + f", expected {test.status}"
    if answer.seconds > test.max_seconds:
        return f"took {answer.seconds:.2f} s, allowed are {test.max_seconds:g} s"
    if test.contains is not None and test.contains not in answer.body:
        return f"the body does not contain {test.contains!r}"
    for name, value in test.headers.items():
        found = (answer.headers or {}).get(name.lower())
        if found != filled(value, version):
            return f"header {name} is {found!r}, expected {filled(value, version)!r}"
    return json_problem(test, answer.body, version)


def json_problem(test: SmokeTest, body: str, version: str) -> str:
    if not test.json_:
        return ""
    try:
        members = json.loads(body)
    except ValueError:
        return "the body is not JSON"
    if not isinstance(members, dict):
        return "the body is not a JSON object"
    for name, value in test.json_.items():
        wanted = filled(value, version) if isinstance(value, str) else value
        found = members.get(name)
        same = found == wanted or (name == "version" and bare(found) == bare(wanted))
        if not same:
            return f"{name} is {found!r}, expected {wanted!r}"
    return ""


def filled(text: str, version: str) -> str:
    return text.replace("{version}", bare(version))


def bare(version: object) -> str:
    """A version without its leading v: the tag is v1.2.3, the app says 1.2.3."""
    return str(version).removeprefix("v")


def routed_among(world: World, color: Color, replicas: Sequence[Replica]) -> list[Replica]:
    """The running containers of the service that takes the traffic."""
    name = f"{world.settings.routed}-{color}"
    return [r for r in replicas if r.service == name and r.running and r.address]


def ask(world: World, replica: Replica, path: str, timeout: float) -> Answer:
    """One request to a container itself, past nginx."""
    url = f"http://{replica.address}:{world.settings.release.port}{path}"
    return world.prober.get(url, timeout)


def wording(path: str, answer: Answer) -> str:
    said = f"answered {answer.status}" if answer.status else answer.problem
    return f"{path} {said}".strip()
