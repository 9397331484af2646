"""One shell at the state volume: where nginx's configuration, the lease and the journal live.

Layout, below /ondeploy in the nginx container:

    current -> generations/12      what nginx should serve (nginx.conf, state.json, certs/)
    lb-config.txt                  the active color, one word
    lease                          the deploy lock, see lease.py
    runs/<id>.jsonl                one journal per run, see journal.py
    lock                           flock'd around every compare-and-change
"""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ondeploy.colors import LABEL, STATE_TARGET, volume_labels
from ondeploy.engine import Docker
from ondeploy.errors import EngineError, OndeployError
from ondeploy.ports import Reply, Shell

Reach = Literal["look", "read", "write"]
"""How far to go for a shell: only into a running nginx; also beside a stopped one; also make it."""


PULL_SECONDS = 600.0
BUSY = 75
LOCK = f"""
command -v flock >/dev/null || {{ echo 'the nginx image has no flock'; exit 1; }}
tries=0
until flock -n -x 9; do
  tries=$((tries + 1)); [ "$tries" -lt 200 ] || exit {BUSY}; sleep 0.1
done"""
"""Twenty seconds of trying: busybox's flock cannot wait for a time of its own."""


@dataclass(frozen=True)
class NginxService:
    """The nginx service of the compose files."""

    image: str
    user: str
    volume: str
    """Name of the volume that it mounts as its configuration."""


class StateVolume:
    """A shell that is opened on first use, inside nginx if it runs, else in a container beside it.

    Inside nginx is better: no container to start, and `nginx -t` and signals are at hand.
    """

    def __init__(
        self,
        docker: Docker,
        project: str,
        find_nginx: Callable[[], str],
        nginx: Callable[[], NginxService],
        reach: Reach = "write",
        target: str = STATE_TARGET,
    ) -> None:
        self.docker = docker
        self.project = project
        self.find_nginx = find_nginx
        self.nginx = nginx
        self.reach: Reach = reach
        self.target = target
        self.inside_nginx = False
        self._shell: Shell | None = None
        self._opening = threading.RLock()

    def run(self, script: str, timeout: float | None = None, again: bool = False) -> Reply:
        """Run a script with the volume as its folder; EngineError if no shell can be had.

        `again` says that running it twice does no harm: it is retried once on a new shell when
        the connection was lost, as it is when nginx was recreated or an ssh link dropped.
        """
        framed = f"cd {self.target} || exit 1\n{script}"
        try:
            return self._opened().run(framed, timeout)
        except EngineError:
            self.close()
            if not again:
                raise
        except BaseException:  # a signal: its answer may still come, and be taken for another's
            self.close()
            raise
        return self._opened().run(framed, timeout)

    def locked(self, script: str, timeout: float | None = None) -> Reply:
        """Run a script while no other locked script runs on this volume, from any machine."""
        return self.run(f"(\n{LOCK}\n{script}\n) 9>lock", timeout)

    def change(self, script: str, what: str) -> str:
        """Run a locked script that must succeed; EngineError says what could not be done."""
        reply = self.locked(script)
        if reply.code != 0:
            words = "another run holds the volume" if reply.code == BUSY else reply.text.strip()
            raise EngineError(f"{what}: {words or 'no reason given'}")
        return reply.text

    def within_nginx(self) -> None:
        """Make sure that the shell is the one inside nginx. EngineError if nginx does not run."""
        if not (self._shell and self.inside_nginx):
            self.close()
            self._opened()
        if not self.inside_nginx:
            raise EngineError("nginx does not run", "look at its log: docker compose logs nginx")

    def prepare(self) -> None:
        """Begin to open the shell; whoever needs it first hears of a failure."""
        with contextlib.suppress(OndeployError):
            self._opened()

    def reachable(self) -> bool:
        """A shell can be had with the present reach."""
        try:
            self._opened()
        except EngineError:
            return False
        return True

    def close(self) -> None:
        with self._opening:
            if self._shell:
                self._shell.close()
            self._shell = None

    def _opened(self) -> Shell:
        with self._opening:
            if self._shell is None:
                self._shell = self._open()
            return self._shell

    def _open(self) -> Shell:
        container = self.find_nginx()
        self.inside_nginx = bool(container)
        if container:
            return self.docker.shell(container)
        if self.reach == "look":
            raise EngineError("nginx does not run, so the release state cannot be read")
        nginx = self.nginx()
        if self.reach == "write":
            self._make(nginx)
        elif nginx.volume not in self.docker.run("volume", "ls", "--quiet").split():
            raise EngineError("nothing has been released here yet")
        return self._beside(nginx, nginx.user)

    def _make(self, nginx: NginxService) -> None:
        """Have the volume as Compose would label it, owned by the user that nginx runs as."""
        marks = volume_labels(self.project, nginx.volume)
        self.docker.run("volume", "create", *[f"--label={m}" for m in marks], nginx.volume)
        shell = self._beside(nginx, "0:0")
        try:
            script = f"mkdir -p runs generations && chown -R {shlex.quote(nginx.user)} ."
            reply = shell.run(f"cd {self.target} && {script}", timeout=60)
        finally:
            shell.close()
        if reply.code != 0:
            raise EngineError(f"the state volume could not be prepared: {reply.text.strip()}")

    def _beside(self, nginx: NginxService, user: str) -> Shell:
        """A shell in a container of its own, past the noise of an image being pulled for it."""
        marks = [f"{LABEL}helper={self.project}"]
        shell = self.docker.shell_beside(nginx.image, nginx.volume, self.target, user, marks)
        shell.run("true", timeout=PULL_SECONDS)
        return shell
