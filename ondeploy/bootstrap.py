"""The only place that builds adapters."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Thread

from ondeploy import config
from ondeploy.clock import SystemClock
from ondeploy.colors import image_of
from ondeploy.compose_rules import state_volume
from ondeploy.engine import Docker
from ondeploy.journal import VolumeJournal
from ondeploy.lease import VolumeLease
from ondeploy.ports import Say
from ondeploy.probes import HttpProber
from ondeploy.prometheus import PrometheusMetrics
from ondeploy.router import NginxRouter
from ondeploy.settings import Settings
from ondeploy.signals import Signals
from ondeploy.stack import ComposeStack
from ondeploy.volume import NginxService, Reach, StateVolume
from ondeploy.world import World

NO_VERSION = "none"
"""Stands for the version where only nginx's part of the compose files is read."""


def build(
    path: Path, env: str, environ: Mapping[str, str], say: Say, reach: Reach = "write"
) -> World:
    """The world of one environment, from its configuration file; ConfigError if that is wrong."""
    settings = config.load(path, env, environ)
    signals = Signals()
    clock = SystemClock(signals)
    docker = Docker(settings.timeout_seconds, environ)
    stack = ComposeStack(settings, docker)
    prober = HttpProber(clock)
    volume = StateVolume(
        docker=docker,
        project=settings.project,
        find_nginx=partial(stack.containers.container_of, settings.router.service),
        nginx=partial(nginx_service, stack, settings),
        reach=reach,
    )
    # A rollback has no time to lose: the shell opens while Python still imports.
    for ahead in (volume.prepare, prober.prepare):
        Thread(target=ahead, daemon=True).start()
    return World(
        settings=settings,
        stack=stack,
        router=NginxRouter(settings, volume, prober, clock),
        prober=prober,
        metrics=PrometheusMetrics(settings, prober),
        journal=VolumeJournal(volume),
        lease=VolumeLease(volume, settings.lease.seconds),
        clock=clock,
        signals=signals,
        say=say,
        who=who(environ),
    )


def nginx_service(stack: ComposeStack, settings: Settings) -> NginxService:
    """The nginx service, as the compose files and its image have it.

    Raises ConfigError where nginx does not mount the state volume.
    """
    model = stack.resolve(NO_VERSION)
    image = image_of(model, settings.router.service)
    service = model["services"][settings.router.service]
    user = service.get("user") or stack.image_user(image) or "0:0"
    return NginxService(image, str(user), state_volume(model, settings))


def who(environ: Mapping[str, str]) -> str:
    """The GitHub actor of a job, else the user and host."""
    actor = environ.get("GITHUB_ACTOR")
    return f"{actor} (GitHub run {environ.get('GITHUB_RUN_ID', '?')})" if actor else local_user()


def local_user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
