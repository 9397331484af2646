"""The containers of a stack: found by label, inspected once, turned into our records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ondeploy.colors import LABEL, project_name
from ondeploy.engine import Docker
from ondeploy.errors import EngineError
from ondeploy.model import Color, Release, Replica, Slot
from ondeploy.settings import Settings

COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"
LOOKS = 3
"""A container may go away between listing and inspecting: then both are done again."""
MARKS = (LABEL + "project", LABEL + "color", COMPOSE_PROJECT)
"""The labels by which containers are found; never by name."""


class Containers:
    """Every container that belongs to one environment."""

    def __init__(self, settings: Settings, docker: Docker) -> None:
        self.settings = settings
        self.docker = docker

    def observe(self) -> tuple[Mapping[Color, Slot], Mapping[str, str]]:
        """The colors that have containers, and the state of every service of the user's project."""
        project = self.settings.project
        containers = self._inspect(
            lambda marks: project in (marks[LABEL + "project"], marks[COMPOSE_PROJECT])
        )
        colored = [c for c in containers if label(c, LABEL + "color")]
        slots = {
            color: slot_of(color, mine, self.settings)
            for color in Color
            if (mine := [c for c in colored if label(c, LABEL + "color") == color])
        }
        platform = {label(c, COMPOSE_SERVICE): one_word(c) for c in containers if c not in colored}
        return slots, platform

    def replicas(self, color: Color) -> tuple[Replica, ...]:
        """The containers of a color, inspected now."""
        wanted = (self.settings.project, str(color))
        mine = self._inspect(
            lambda marks: (marks[LABEL + "project"], marks[LABEL + "color"]) == wanted
        )
        return slot_of(color, mine, self.settings).replicas if mine else ()

    def container_of(self, service: str) -> str:
        """Id of the running container of a platform service; "" if there is none."""
        marks = (
            f"{COMPOSE_PROJECT}={self.settings.project}",
            f"{COMPOSE_SERVICE}={service}",
            "com.docker.compose.oneoff=False",
        )
        filters = [word for mark in marks for word in ("--filter", f"label={mark}")]
        found = self.docker.run("ps", "--quiet", "--no-trunc", *filters).split()
        return found[0] if found else ""

    def remove(self, color: Color, grace: int | None = None) -> None:
        """Stop and remove every container of a color; each has its own grace to finish, or this."""
        # Also those that Compose was about to rename when it was killed: found by its own label.
        project = project_name(self.settings, color)
        wanted = (self.settings.project, str(color))
        ids = self._ids(
            lambda marks: (
                marks[COMPOSE_PROJECT] == project
                or (marks[LABEL + "project"], marks[LABEL + "color"]) == wanted
            )
        )
        if ids:
            limit = self.settings.build_timeout_seconds  # a grace may be long
            self.docker.attempt("stop", *self._grace(grace), *ids, timeout=limit)
            self.docker.run("rm", "--force", "--volumes", *ids)

    def log_tail(self, color: Color, lines: int) -> str:
        """The last lines that a color's containers wrote."""
        tails = [self.docker.logs(r.id, f"--tail={lines}") for r in self.replicas(color)]
        return "\n".join(tail for tail in tails if tail)

    def _grace(self, seconds: int | None) -> list[str]:
        seconds = seconds or self.settings.stop_seconds
        return [f"--time={seconds}"] if seconds else []

    def _ids(self, wanted: Callable[[Mapping[str, str]], bool]) -> list[str]:
        """The containers whose labels are wanted, running or not: one call for all of them."""
        columns = "\t".join(["{{.ID}}", *(f'{{{{.Label "{name}"}}}}' for name in MARKS)])
        listed = self.docker.run("ps", "--all", "--no-trunc", "--format", columns)
        rows = [line.split("\t") for line in listed.splitlines()]
        return [row[0] for row in rows if wanted(dict(zip(MARKS, row[1:], strict=True)))]

    def _inspect(self, wanted: Callable[[Mapping[str, str]], bool]) -> list[dict[str, Any]]:
        """Every container whose labels are wanted, inspected in one call."""
        for _ in range(LOOKS):
            ids = self._ids(wanted)
            if not ids:
                return []
            reply = self.docker.attempt("inspect", "--type=container", *ids)
            if reply.code == 0:
                return [dict(entry) for entry in json.loads(reply.text)]
        raise EngineError(f"containers come and go too fast to be inspected: {reply.text.strip()}")


def slot_of(color: Color, containers: Sequence[Mapping[str, Any]], settings: Settings) -> Slot:
    """Our record of a color, from its inspected containers; the routed service speaks for it."""
    routed = f"{settings.routed}-{color}"
    main = [c for c in containers if label(c, COMPOSE_SERVICE) == routed]
    first = (main or containers)[0]
    release = Release(
        version=label(first, LABEL + "version"),
        image=label(first, LABEL + "image"),
        digest=first["Image"],
        config_hash=label(first, LABEL + "config-hash"),
    )
    replicas = sorted((replica_of(c) for c in containers), key=lambda replica: replica.name)
    return Slot(color, release, tuple(replicas), routed=bool(main))


def replica_of(container: Mapping[str, Any]) -> Replica:
    state = container["State"]
    networks = container["NetworkSettings"]["Networks"].values()
    return Replica(
        id=container["Id"],
        name=container["Name"].lstrip("/"),
        service=label(container, COMPOSE_SERVICE),
        address=next((n["IPAddress"] for n in networks if n["IPAddress"]), ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        restarts=container["RestartCount"],
        exit_code=state["ExitCode"],
    )


def one_word(container: Mapping[str, Any]) -> str:
    """healthy, unhealthy, starting, or Docker's state where there is no healthcheck.

    A container that ended well and was never to be restarted, as a migration, is `completed`.
    """
    replica = replica_of(container)
    if replica.running:
        return replica.health or replica.state
    once = container["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    done = once and replica.state == "exited" and replica.exit_code == 0
    return "completed" if done else replica.state


def label(container: Mapping[str, Any], name: str) -> str:
    return str((container["Config"]["Labels"] or {}).get(name, ""))
