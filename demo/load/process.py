"""Runs the load in a process of its own, so that neither side's work delays the other."""

import asyncio
import contextlib
import gc
import multiprocessing
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from demo.load.profile import Profile, address
from demo.load.report import Report, Snapshot
from demo.load.run import Run

_ANSWER = 15.0  # seconds to wait for the other process, which is never busy for one


class Load:
    """Load on `base_url`, from `start` until `stop` or the profile's end.

    `stop` waits for the requests in flight, each bounded by its own timeout, so
    nothing asked is left out of the report. The methods may be called from
    several threads. Marks and all times are on the monotonic clock, which the
    two processes share.
    """

    def __init__(self, profile: Profile, base_url: str) -> None:
        self._profile = profile
        self._address = address(base_url)
        self._lock = threading.Lock()
        self._marks: dict[str, float] = {}
        self._report: Report | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, self._far_end = context.Pipe()
        self._process = context.Process(
            target=serve, args=(self._far_end, profile, *self._address), daemon=True
        )
        self._started = 0.0

    def start(self) -> Self:
        """Returns once the first requests are being sent."""
        self._process.start()
        self._far_end.close()
        self._started = self._receive(_ANSWER)
        return self

    def mark(self, name: str) -> float:
        """Names this moment in the report; returns it in seconds since the start."""
        self._marks[name] = time.monotonic() - self._started
        return self._marks[name]

    def snapshot(self) -> Snapshot:
        """What happened so far; not to be asked after `stop`."""
        with self._lock:
            snapshot: Snapshot = self._ask("snapshot", _ANSWER)
            return snapshot

    def stop(self) -> Report:
        """Ends the load and tells all; later calls return the same report."""
        with self._lock:
            if self._report is None:
                report: Report = self._ask("stop", self._profile.longest_timeout + _ANSWER)
                self._report = replace(report, marks=dict(self._marks))
                self._process.join(_ANSWER)
            return self._report

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, order: str, seconds: float) -> Any:
        """Send an order and take its answer; RuntimeError if the process is dead or silent."""
        with contextlib.suppress(OSError):  # a dead process is told of below, with its exit code
            self._pipe.send(order)
        return self._receive(seconds)

    def _receive(self, seconds: float) -> Any:
        try:
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(_ANSWER)
        code = self._process.exitcode
        raise RuntimeError(f"the load generator did not answer (its exit code: {code})")


def serve(pipe: Connection, profile: Profile, host: str, port: int) -> None:
    """The other process's whole life; Ctrl-C is for the caller, who then says stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    asyncio.run(_serve(pipe, profile, host, port))


async def _serve(pipe: Connection, profile: Profile, host: str, port: int) -> None:
    run, asked = Run(profile, host, port), asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer() -> None:
        try:
            order = pipe.recv()
        except EOFError:  # the caller is gone
            order = "stop"
        if order == "snapshot":
            pipe.send(run.snapshot())
        else:
            loop.remove_reader(pipe.fileno())
            run.stop()
            asked.set()

    loop.add_reader(pipe.fileno(), answer)
    started_at = time.time() - (loop.time() - run.started)
    pipe.send(run.started)
    await run.go()
    await asked.wait()
    with suppress(BrokenPipeError):
        pipe.send(_report(run, started_at))


def _report(run: Run, started_at: float) -> Report:
    return Report(
        started_at=started_at,
        seconds=run.ended,
        log=run.log,
        samples=run.samples,
        idle_closes=dict(run.idle_closes),
        unsent=run.unsent,
    )
