"""What the demo does to the machine it runs on: runs commands, installs Debian packages."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Say = Callable[[str], None]


class SetupError(Exception):
    """The machine lacks something the demo cannot bring; the message says what to do."""


def run(
    command: Sequence[str], *, timeout: float = 900, env: Mapping[str, str] | None = None
) -> str:
    """Run a command and return what it printed; a failure says the command and its last lines."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError(f"{command[0]}: not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{' '.join(command)}: no end after {timeout:.0f} s") from error
    if done.returncode:
        raise SetupError(f"{' '.join(command)}: {last_lines(done.stderr or done.stdout)}")
    return done.stdout


def works(command: Sequence[str], *, timeout: float = 20) -> bool:
    """Say whether a command succeeds in time."""
    try:
        run(command, timeout=timeout)
    except SetupError:
        return False
    return True


def last_lines(text: str, count: int = 8) -> str:
    """Return the end of a long output, where the reason of a failure stands."""
    return "\n".join(text.strip().splitlines()[-count:])


def can_install() -> bool:
    """Say whether this is Debian, or made from it, and we may install packages."""
    return is_debian(read_os_release()) and os.geteuid() == 0


def read_os_release() -> str:
    """Read which system this is; empty where that is not Linux."""
    path = Path("/etc/os-release")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def is_debian(os_release: str) -> bool:
    """Decide from os-release whether Debian's packages fit."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return "debian" in names or "ubuntu" in names


def apt_install(packages: Sequence[str], say: Say) -> None:
    """Install Debian packages."""
    say(f"installing with apt-get: {', '.join(packages)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "install", "--yes", "--no-install-recommends", *packages], env=quiet)


def apt_update(say: Say) -> None:
    """Refresh apt's lists; a fresh machine has none, or old ones.

    A list of somebody else that fails is no reason to stop: installing tells what is lacking.
    """
    say("refreshing apt's package lists")
    if not works(["apt-get", "update"], timeout=300):
        say("not all of apt's package lists could be refreshed")


def apt_has(package: str) -> bool:
    """Say whether apt can install a package."""
    policy = run(["apt-cache", "policy", package], env={"LC_ALL": "C"})
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def ensure_mmdebstrap(say: Say) -> None:
    """Have mmdebstrap, which unpacks Debian releases other than the one that runs."""
    if shutil.which("mmdebstrap"):
        return
    if not can_install():
        raise SetupError(
            "mmdebstrap is missing: install it (Debian and Ubuntu have it), or run as root"
        )
    if not apt_has("mmdebstrap"):
        apt_update(say)
    apt_install(["mmdebstrap", "debian-archive-keyring"], say)
