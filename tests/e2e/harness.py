"""A host to release on: a compose project of its own, on ports of its own, and the real CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from demo.load import Load, Report

from .command import Ran, Running
from .settings import overlay
from .traffic import MIXED, Profile

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
INHERITED = ("PATH", "LANG", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "TMPDIR")
COLORS = ("blue", "green")
PROJECT = "com.docker.compose.project"


class Host:
    """One stack; every method looks at or acts on it from outside, as a person would."""

    def __init__(
        self,
        project: str,
        folder: Path,
        settings: Mapping[str, Any],
        ports: Mapping[str, int],
        variables: Mapping[str, str],
    ) -> None:
        self.project = project
        self.folder = folder
        self.settings = dict(settings)
        self.ports = ports
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        numbers = {name: str(port) for name, port in ports.items()}
        self.env = {**inherited, **variables, **numbers, "ONDEPLOY_PROJECT": project}
        self.url = f"http://127.0.0.1:{ports['HTTP_PORT']}"
        self.control = f"http://127.0.0.1:{ports['CONTROL_PORT']}"
        self.prometheus = f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}"
        self.seamless = True
        self._configs = 0

    # the command line

    def start(
        self,
        *words: str,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        program: str = "invoke",
    ) -> Running:
        """Start `invoke WORDS` with these settings laid over the host's own."""
        config = self._config(settings or {})
        command = [str(BIN / program), *words, "--config", str(config)]
        return Running(command, {**self.env, **(env or {})}, REPO)

    def run(self, *words: str, **options: Any) -> Ran:
        """Run a command to its end."""
        return self.start(*words, **options).end()

    def deploy(self, version: str, *words: str, **options: Any) -> Ran:
        return self.run("deploy", "--version", version, *words, **options)

    def _config(self, settings: Mapping[str, Any]) -> Path:
        self._configs += 1
        path = self.folder / f"ondeploy-{self._configs}.yml"
        path.write_text(yaml.safe_dump(overlay(self.settings, settings), sort_keys=False))
        return path

    # what a visitor sees

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One request on a fresh connection."""
        plain = {"timeout": 10, "trust_env": False, "verify": False}
        return httpx.get(self.url + path, **{**plain, **options})

    def version(self) -> str:
        """The version that answers a visitor, as a tag."""
        return "v" + str(self.get("/api/version").raise_for_status().json()["version"])

    def color(self) -> str:
        """The color that answers a visitor."""
        return str(self.get("/api/version").headers["X-Ondeploy-Color"])

    def other(self) -> str:
        """The color without traffic, which the next release will take."""
        return COLORS[1 - COLORS.index(self.color())]

    @contextmanager
    def load(self, profile: Profile = MIXED) -> Iterator[Watched]:
        """Load for as long as the block runs; its report is there once the block was left."""
        with Load(profile, self.url) as load:
            watched = Watched(load)
            yield watched
            watched.ended = load.stop()

    # what the machine says

    def status(self) -> dict[str, Any]:
        ran = self.run("status", "--json")
        assert ran.code == 0, ran
        return ran.json

    def served(self) -> int:
        """The generation that nginx serves, as it says itself."""
        answer = httpx.get(f"{self.control}/generation", trust_env=False, verify=False)
        return int(answer.raise_for_status().json()["generation"])

    def intended(self) -> int:
        """The generation that is on disk to be served."""
        return int(self.in_nginx("readlink /ondeploy/current").rpartition("/")[2])

    def in_nginx(self, script: str) -> str:
        return docker("exec", self.container("nginx"), "sh", "-c", script).strip()

    def container(self, service: str) -> str:
        """Id of the platform's container of a service, running or not."""
        return self.ids(f"com.docker.compose.service={service}")[0]

    def wait_healthy(self, *services: str) -> None:
        """Wait until Docker calls these services of the platform healthy."""
        give_up = time.monotonic() + 60
        for service in services:
            while inspect(self.container(service))["State"]["Health"]["Status"] != "healthy":
                assert time.monotonic() < give_up, f"{service} does not get healthy"
                time.sleep(0.2)

    def ids(self, *labels: str, color: str = "") -> list[str]:
        """Containers of this host with these labels."""
        project = f"{self.project}-{color}" if color else self.project
        wanted = (f"{PROJECT}={project}", *labels)
        filters = [word for label in wanted for word in ("--filter", f"label={label}")]
        return docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def running(self) -> dict[str, int]:
        """How many containers of each color exist; all must run. A color without any is left out.

        Containers beside the stack, that a command should have removed, must not be there.
        """
        columns = "\t".join(f'{{{{.Label "{name}"}}}}' for name in (PROJECT, "ondeploy.helper"))
        listed = docker("ps", "--all", "--format", f"{columns}\t{{{{.State}}}}\t{{{{.Names}}}}")
        found: dict[str, int] = {}
        for project, helped, state, name in (line.split("\t") for line in listed.splitlines()):
            assert helped != self.project, f"{name} was left behind"
            color = project.removeprefix(f"{self.project}-")
            if project != color and color in COLORS:
                assert state == "running", f"{name} is {state}"
                found[color] = found.get(color, 0) + 1
        return found

    def age_lease(self) -> None:
        """Let a minute pass for the lease: a dead run's has expired then."""
        self.in_nginx("cd /ondeploy && [ ! -f lease ] || touch -d '1 minute ago' lease")

    def expect(self, version: str, standby: str | None, each: int = 1) -> str:
        """Assert that a version has all traffic and everything is at rest; its color.

        `standby` is the version that stays warm, `each` the containers per color.
        """
        status = self.status()
        active = str(status["active"])
        other = COLORS[1 - COLORS.index(active)]
        assert status["lease"] is None, status
        assert status["colors"][active]["version"] == version, status
        assert status["colors"][active]["weight"] == 100, status
        assert (status["colors"][other] or {"version": None})["version"] == standby, status
        assert self.running() == {active: each} | ({other: each} if standby else {})
        assert self.in_nginx("cd /ondeploy; cat lb-config.txt; ls lease 2>&-; true") == active
        for _ in range(5):
            answer = self.get("/api/version")
            assert (answer.status_code, answer.headers["X-Ondeploy-Color"]) == (200, active)
            assert answer.json()["version"] == version.removeprefix("v")
        assert not self.seamless or self.served() == self.intended()
        return active

    def remove(self) -> None:
        """Everything of this host: containers, volumes, networks."""
        names = [self.project, *[f"{self.project}-{color}" for color in COLORS]]
        labels = [f"{PROJECT}={name}" for name in names]
        labels += [f"ondeploy.helper={self.project}", f"ondeploy-e2e={self.project}"]
        for label in labels:
            here = ("--quiet", "--filter", f"label={label}")
            remove("rm --force --volumes", docker("ps", "--all", *here).split())
        for label in labels:
            here = ("--quiet", "--filter", f"label={label}")
            remove("volume rm --force", docker("volume", "ls", *here).split())
            remove("network rm", docker("network", "ls", *here).split())


class Watched:
    """Load that runs, and later what became of it."""

    def __init__(self, load: Load) -> None:
        self.live = load
        self.ended: Report | None = None

    @property
    def report(self) -> Report:
        assert self.ended, "the load still runs"
        return self.ended

    def expect_no_loss(self, at_least: int = 50) -> None:
        """Not one request failed, and enough were sent for that to mean something."""
        report = self.report
        assert report.failed == 0, (report.failures, report.samples[:5])
        assert report.requests >= at_least

    def failed_colors(self) -> dict[str | None, int]:
        """Failed requests by the color that answered; None where nobody did."""
        found: dict[str | None, int] = {}
        for record in self.report.select():
            if record.failure:
                found[record.version] = found.get(record.version, 0) + 1
        return found


def docker(*words: str, check: bool = True, stdin: str | None = None) -> str:
    """Standard output of one docker command."""
    done = subprocess.run(
        ["docker", *words], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout


def inspect(container: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker("inspect", container))
    return found[0]


def remove(words: str, names: list[str]) -> None:
    if names:
        docker(*words.split(), *names, check=False)
