"""The engine, the images and the hosts of the stories; everything made here is removed again."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.engine import ensure_engine
from demo.images import ensure_images

from .harness import Host
from .images import Images
from .settings import SESSION, reference

PORTS = ("HTTP_PORT", "HTTPS_PORT", "CONTROL_PORT", "PROMETHEUS_PORT")
GOOD = ("v1.0.0", "v2.0.0", "v3.0.0")
MakeHost = Callable[..., Host]


@pytest.fixture(scope="session")
def variables() -> dict[str, str]:
    """An engine that answers, and the images of the platform; without one the tests fail.

    Only ONDEPLOY_E2E=skip leaves them out, and never in CI.
    """
    if os.environ.get("ONDEPLOY_E2E") == "skip" and os.environ.get("CI") != "true":
        pytest.skip("left out by ONDEPLOY_E2E=skip")
    with Path(tempfile.gettempdir(), "ondeploy-e2e.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several runs side by side, one sets up
        ensure_engine(print)
        return ensure_images(print)


@pytest.fixture(scope="session")
def images(variables: Mapping[str, str]) -> Iterator[Images]:
    """The app in its good versions; a story adds the bad one that it needs."""
    made = Images(variables)
    try:
        for version in GOOD:
            made.app(version)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def make_host(
    images: Images, variables: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeHost]:
    """Makes hosts; `settings` gets the host's folder. They are removed when the session ends."""
    with ExitStack() as stack:

        def make(
            name: str,
            settings: Callable[[Path], Mapping[str, Any]] = reference,
            extra: Mapping[str, str] | None = None,
        ) -> Host:
            folder = tmp_path_factory.mktemp(name)
            project = f"e2e-{name}-{SESSION}"
            env = {**variables, **(extra or {})}
            host = Host(project, folder, settings(folder), free_ports(), env)
            stack.callback(host.remove)
            return host

        yield make


@pytest.fixture(scope="session")
def shared(make_host: MakeHost) -> Host:
    """The host that most stories share, one after another."""
    return make_host("main")


@pytest.fixture
def host(shared: Host) -> Host:
    """The shared host, at rest with a good version active; made anew where a story spoilt it."""
    if not at_rest(shared):
        shared.remove()
        assert (ran := shared.deploy(GOOD[0])).code == 0, ran
    return shared


@pytest.fixture
def active(host: Host) -> str:
    """The version that has the traffic when the story begins."""
    return host.version()


@pytest.fixture
def coming(active: str) -> str:
    """A good version to release next."""
    return next(version for version in GOOD if version != active)


def at_rest(host: Host) -> bool:
    """Whether a story may begin: a good version active, no run unfinished, nobody at work."""
    try:
        version = host.version()
        last = host.in_nginx(
            "cd /ondeploy; [ ! -f lease ] && tail -n 1 runs/$(ls runs | tail -n 1)"
        )
    except (httpx.HTTPError, AssertionError, IndexError):
        return False
    return version in GOOD and '"event": "end"' in last


def free_ports() -> dict[str, int]:
    """Ports that nobody listens on now, told apart by being held all at once."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        return {name: s.getsockname()[1] for name, s in zip(PORTS, sockets, strict=True)}
