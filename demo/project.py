"""The demo's own compose project: its variables, its ports, and the removal of all it made."""

import shlex
import socket
from collections.abc import Mapping
from pathlib import Path

from demo import host
from demo.host import Say, SetupError
from demo.images import COMPOSE_FILE
from demo.story import ACTS, ENVIRONMENT
from ondeploy import config

PROJECT = "ondeploy-demo"
PROJECTS = (PROJECT, *(f"{PROJECT}-{color}" for color in ("blue", "green")))
CATALOG_IMAGE = "ondeploy-demo/duckdb-catalog:1.0.0"
STAND_INS = "ondeploy-demo/"
CONFIG = COMPOSE_FILE.parent / "ondeploy.yml"
BAKE_SECONDS = 15
PORTS = {"HTTP_PORT": 8080, "HTTPS_PORT": 8443, "CONTROL_PORT": 8081, "PROMETHEUS_PORT": 9090}
"""Where to begin looking for a free port, below those that outgoing connections take."""
PUBLISHED = {
    "HTTP_PORT": ("nginx", 8080),
    "HTTPS_PORT": ("nginx", 8443),
    "CONTROL_PORT": ("nginx", 8081),
    "PROMETHEUS_PORT": ("prometheus", 9090),
}
NO_FAULTS = (
    "FAULT_ERROR_RATE",
    "FAULT_NEVER_HEALTHY",
    "FAULT_CRASH_AFTER_SECONDS",
    "FAULT_SMOKE",
    "FAULT_SLOW_SECONDS",
    "STARTUP_SECONDS",
)


def variables(images: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """What sets the demo's stack apart from any other on this engine."""
    return {
        "ONDEPLOY_PROJECT": PROJECT,
        **{name: str(port) for name, port in ports.items()},
        **images,
        "CATALOG_IMAGE": CATALOG_IMAGE,
        "BAKE_MINUTES": f"{BAKE_SECONDS / 60:g}",
        "BAKE_DEADLINE_MINUTES": "1",
        # None of the caller's own must reach a release that is meant to be good.
        **dict.fromkeys(NO_FAULTS, ""),
    }


def free_ports() -> dict[str, int]:
    """A free port for each listener, the usual one if it is to be had."""
    found: dict[str, int] = {}
    for name, first in PORTS.items():
        taken = set(found.values())
        candidates = (port for port in range(first, first + 2000) if port not in taken)
        port = next((port for port in candidates if is_free(port)), None)
        if port is None:
            raise SetupError(f"no free port from {first} on")
        found[name] = port
    return found


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def published_ports() -> dict[str, int]:
    """The ports of the demo's stack that runs; SetupError if none does."""
    found: dict[str, int] = {}
    for name, (service, inside) in PUBLISHED.items():
        marks = [f"label=com.docker.compose.project={PROJECT}"]
        marks += [f"label=com.docker.compose.service={service}"]
        container = listed("ps", "--quiet", *filters(marks))
        if not container:
            raise SetupError("the demo's stack does not run: ./inv demo starts it")
        line = host.run(["docker", "port", container[0], f"{inside}/tcp"]).split()
        found[name] = int(line[0].rpartition(":")[2])
    return found


def prepare_builds(environ: Mapping[str, str], say: Say) -> None:
    """Build the catalog, and the layers that all versions of the app share."""
    say("building the catalog's image and what all versions of the app share")
    build_from_compose("duckdb-catalog", "catalog", "output=type=docker", environ)
    build_from_compose("ontology-download", "app", "output=type=cacheonly", environ)


def build_from_compose(service: str, folder: str, option: str, environ: Mapping[str, str]) -> None:
    """Build what the compose file says of a service; bake would look for its folder from here."""
    options = (option, f"context={COMPOSE_FILE.parent / folder}")
    sets = [word for each in options for word in ("--set", f"{service}.{each}")]
    bake = ["docker", "buildx", "bake", "--file", str(COMPOSE_FILE), "--progress=plain"]
    host.run([*bake, *sets, service], env=environ)


def remove(*, stand_ins: bool = False) -> str:
    """Remove all the demo made on the engine; what that was, "" if nothing."""
    volumes = labelled("volume", "ls")
    marks = [f"label=com.docker.compose.project={name}" for name in PROJECTS]
    marks += [f"label=ondeploy.{name}={PROJECT}" for name in ("project", "helper")]
    marks += [f"volume={volume}" for volume in volumes]
    containers = {c for mark in marks for c in listed("ps", "--all", "--quiet", *filters([mark]))}
    networks = labelled("network", "ls")
    images = version_images(stand_ins=stand_ins)
    rid(["rm", "--force", "--volumes"], containers)
    rid(["network", "rm"], networks)
    rid(["volume", "rm", "--force"], volumes)
    rid(["image", "rm", "--force"], images)
    counts = {
        "container": len(containers),
        "network": len(networks),
        "volume": len(volumes),
        "image": len(images),
    }
    return ", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items() if n)


def version_images(*, stand_ins: bool) -> set[str]:
    """The images of the story's versions and of the catalog, as far as they are there."""
    present = set(listed("image", "ls", "--format", "{{.Repository}}:{{.Tag}}"))
    settings = config.load(CONFIG, ENVIRONMENT, {})
    pattern = settings.release.image or ""
    made = {pattern.replace("{version}", act.version) for act in ACTS} | {CATALOG_IMAGE}
    if stand_ins:
        made |= {image for image in present if image.startswith(STAND_INS)}
    return made & present


def labelled(*command: str) -> set[str]:
    return set(
        listed(*command, "--quiet", *filters([f"label=com.docker.compose.project={PROJECT}"]))
    )


def filters(marks: list[str]) -> list[str]:
    return [word for mark in marks for word in ("--filter", mark)]


def listed(*command: str) -> list[str]:
    return host.run(["docker", *command]).split()


def rid(command: list[str], names: set[str]) -> None:
    if names:
        host.run(["docker", *command, *sorted(names)])


def shell_lines(environ: Mapping[str, str], root: Path) -> str:
    """What a shell must be told for ondeploy's own commands to find the demo's stack."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environ.items() if value]
    return "\n".join([f"cd {shlex.quote(str(root))}", *exports])
