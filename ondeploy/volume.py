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
from typing import Literal

from ondeploy.colors import LABEL, STATE_TARGET, volume_labels
from ondeploy.engine import Docker
from ondeploy.errors import EngineError, OndeployError
from ondeploy.ports import Reply, Shell

Reach = Literal["look", "read", "write"]
"""How far to go for a shell: only into a running nginx; also beside a stopped one; also make it."""


class StateVolume:
    """A shell that is opened on first use, inside nginx if it runs, else in a container beside it.

    Inside nginx is better: no container to start, and `nginx -t` and signals are at hand.
    """

    def __init__(
        self,
        docker: Docker,
        volume: str,
        project: str,
        find_nginx: Callable[[], str],
        nginx_image_and_user: Callable[[], tuple[str, str]],
        reach: Reach = "write",
        target: str = STATE_TARGET,
    ) -> None:
        self.docker = docker
        self.volume = volume
        self.project = project
        self.find_nginx = find_nginx
        self.nginx_image_and_user = nginx_image_and_user
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
        return self._opened().run(framed, timeout)

    def locked(self, script: str, timeout: float | None = None) -> Reply:
        """Run a script while no other locked script runs on this volume, from any machine."""
        return self.run(f"(\nflock -x -w 20 9 || exit 75\n{script}\n) 9>lock", timeout)

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
        if not self._exists():
            if self.reach == "read":
                raise EngineError("nothing has been released here yet")
            self._make()
        image, user = self.nginx_image_and_user()
        marks = [f"{LABEL}helper={self.project}"]
        return self.docker.shell_beside(image, self.volume, self.target, user, marks)

    def _exists(self) -> bool:
        return self.volume in self.docker.run("volume", "ls", "--quiet").split()

    def _make(self) -> None:
        """Create the volume as Compose would label it, owned by the user that nginx runs as."""
        marks = volume_labels(self.project, self.volume)
        self.docker.run("volume", "create", *[f"--label={m}" for m in marks], self.volume)
        image, user = self.nginx_image_and_user()
        shell = self.docker.shell_beside(image, self.volume, self.target, "0:0")
        try:
            script = f"mkdir -p runs generations && chown -R {shlex.quote(user)} ."
            reply = shell.run(f"cd {self.target} && {script}", timeout=300)
        finally:
            shell.close()
        if reply.code != 0:
            raise EngineError(f"the state volume could not be prepared: {reply.text.strip()}")
