"""The Docker command line with a deadline on every call, and shells that stay open in a container.

Compose goes through python-on-whales (stack.py); everything else is one `docker` process, which
answers in 10-50 ms and speaks to local, ssh:// and context engines alike.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

from ondeploy.errors import EngineError
from ondeploy.ports import Reply

NO_PLUGIN = ("unknown flag: --file", "is not a docker command", "unknown shorthand flag")
LAST_LINES = 10
UNREACHABLE = (
    "Cannot connect to the Docker daemon",
    "error during connect",
    "Is the docker daemon",
)


class Docker:
    """One engine, as the `docker` client reaches it (DOCKER_HOST and contexts included)."""

    def __init__(
        self, timeout: float, environ: Mapping[str, str], client: Sequence[str] = ("docker",)
    ) -> None:
        self.timeout = timeout
        self.environ = environ
        self.client = tuple(client)

    def run(
        self,
        *args: str,
        timeout: float | None = None,
        stdin: bytes | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Standard output of one docker command; EngineError if it fails or takes too long.

        `variables` are set for this command on top of the environment that ondeploy was given.
        """
        reply = self.attempt(*args, timeout=timeout, stdin=stdin, variables=variables)
        if reply.code != 0:
            raise refused(args, reply.text)
        return reply.text

    def attempt(
        self,
        *args: str,
        timeout: float | None = None,
        stdin: bytes | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Reply:
        """Like `run`, but a non-zero exit is an answer: its text is standard error."""
        done = self._finished(args, timeout or self.timeout, stdin or b"", variables)
        words = done.stdout if done.returncode == 0 else done.stderr
        return Reply(done.returncode, words.decode(errors="replace"))

    def logs(self, container: str, *options: str) -> str:
        """What a container wrote to both of its streams."""
        done = self._finished(["logs", *options, container], self.timeout)
        return (done.stdout + done.stderr).decode(errors="replace").strip()

    def shell(self, container: str) -> PipeShell:
        """A shell in a running container, open until it is closed."""
        return PipeShell([*self.client, "exec", "-i", container, "sh"], self.timeout)

    def shell_beside(
        self, image: str, volume: str, target: str, user: str, labels: Sequence[str] = ()
    ) -> PipeShell:
        """A shell in a container of its own that sees one volume; gone when it is closed."""
        marks = [word for label in labels for word in ("--label", label)]
        where = ["--network=none", "-v", f"{volume}:{target}", "--user", user, *marks]
        program = ["run", "--rm", "-i", *where, "--entrypoint=sh", image]
        return PipeShell([*self.client, *program], self.timeout)

    def _finished(
        self,
        args: Sequence[str],
        limit: float,
        stdin: bytes = b"",
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [*self.client, *args],
                input=stdin,
                env={**self.environ, **(variables or {})},
                capture_output=True,
                timeout=limit,
                check=False,
                start_new_session=True,  # Ctrl-C is ours to handle, not docker's
            )
        except FileNotFoundError:
            raise no_client() from None
        except subprocess.TimeoutExpired:
            raise EngineError(f"docker {args[0]} did not answer within {limit:g} s") from None


class PipeShell:
    """A `sh` at the far end of one docker process: a command costs a millisecond, not an exec.

    The process starts at once, but nothing waits for it until the first command. Safe to share
    between threads: one command at a time.
    """

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self.timeout = timeout
        self._turn = threading.Lock()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise no_client() from None

    def run(self, script: str, timeout: float | None = None) -> Reply:
        """Exit code and output (both streams) of a script; EngineError if the shell is lost."""
        mark = f"--{secrets.token_hex(8)}--"
        # </dev/null: the script must not eat the next command from our pipe.
        framed = f"(\n{script}\n) </dev/null 2>&1\nprintf '\\n%s %d\\n' {mark} $?\n"
        with self._turn:
            try:
                self._send(framed.encode())
                output = self._read_until(f"\n{mark} ".encode(), timeout or self.timeout)
            except EngineError:
                self._abandon()
                raise
        text, _, code = output.decode(errors="replace").rpartition(f"\n{mark} ")
        return Reply(int(code), text)

    def close(self) -> None:
        """End the shell; a container of its own goes with it."""
        with self._turn:
            if self._process.stdin and not self._process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._abandon()

    def _send(self, script: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(script)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._lost(b"") from None

    def _read_until(self, mark: bytes, limit: float) -> bytes:
        """Output up to and including the line that starts with the mark."""
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        deadline = time.monotonic() + limit
        output = bytearray()
        while not (mark in output and output.endswith(b"\n")):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([stream], [], [], max(left, 0))
            if not ready:
                raise EngineError(f"the engine did not answer within {limit:g} s")
            chunk = os.read(stream, 65_536)
            if not chunk:
                raise self._lost(bytes(output))
            output += chunk
        return bytes(output)

    def _lost(self, output: bytes) -> EngineError:
        words = " ".join(output.decode(errors="replace").split())
        if any(sign in words for sign in UNREACHABLE):
            return unreachable(words)
        return EngineError(
            f"the connection into the container ended{': ' + words if words else ''}"
        )

    def _abandon(self) -> None:
        self._process.kill()
        self._process.wait()


def refused(args: Sequence[str], words: str) -> EngineError:
    # The end says why; a whole build log would drown it, and may hold what a RUN step printed.
    words = "\n".join(words.strip().splitlines()[-LAST_LINES:]) or "no reason given"
    if any(sign in words for sign in UNREACHABLE):
        return unreachable(words)
    if args[0] in ("compose", "buildx") and any(sign in words for sign in NO_PLUGIN):
        return EngineError(
            f"the docker client has no {args[0]} plugin", f"install docker {args[0]}"
        )
    return EngineError(f"docker {args[0]}: {words}")


def unreachable(words: str) -> EngineError:
    return EngineError(
        f"no Docker engine answers: {words}", "start it, or set DOCKER_HOST; then try again"
    )


def no_client() -> EngineError:
    return EngineError("the docker client is not installed", "install Docker and Compose v2")
