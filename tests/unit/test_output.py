"""What is printed, and that printing never decides how a run ends."""

import errno
import io
import json
import os
import sys
from dataclasses import replace
from functools import partial

import pytest

from ondeploy import commands, output
from ondeploy.errors import LeaseHeld
from ondeploy.model import Request, Weights
from tests.fakes import BLUE, EPOCH, Host, make_settings

EVE = {"id": "X", "who": "eve", "command": "deploy", "version": "v2"}


class Broken(io.StringIO):
    """A stream without a file behind it, on which every write fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error
        self.tried = 0

    def write(self, text: str) -> int:
        self.tried += 1
        raise self.error


FAILURES = [
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.ENOSPC, "No space left on device"),
]


@pytest.mark.parametrize("error", FAILURES, ids=["pipe", "disk"])
def test_a_stream_that_fails_is_passed_over(error: OSError) -> None:
    """`| head`, a closed terminal or a full disk is no reason to end a release."""
    stream = Broken(error)
    output.write(stream, "one")
    output.write(stream, "two")
    assert stream.tried >= 2


def test_a_pipe_that_nobody_reads_stays_quiet_to_the_end() -> None:
    """Nor does Python complain at its exit, which would change the exit code."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    output.write(stream, "one")
    output.write(stream, "two")
    stream.flush()
    stream.close()


def test_a_full_disk_stays_quiet_to_the_end() -> None:
    """What could not be written is not tried again when the stream is closed."""
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123 - a device
        output.write(stream, "one")
        output.write(stream, "two")


def test_broken_streams_cost_no_files() -> None:
    """Minutes of progress that nobody reads do not use up the process's files."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        output.write(Broken(FAILURES[0]), "bake: 10/300 s")
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208


def test_a_release_goes_on_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its terminal closed in the bake: v2 is released all the same."""
    monkeypatch.setattr(sys, "stderr", Broken(FAILURES[0]))
    monkeypatch.setattr(sys, "stdout", Broken(FAILURES[1]))
    host = Host(make_settings(bake={"minutes": 1, "deadline_minutes": 1}))
    host.put(BLUE, "v1")
    host.router.send(Weights.all_to(BLUE))
    ended = commands.deploy(replace(host.world, say=output.say), Request("deploy", "v2"))
    assert output.show_outcome(ended, as_json=True) == 0
    assert (ended.result, ended.active_version) == ("succeeded", "v2")


def hold(host: Host) -> None:
    """Have eve hold the lease."""
    host.lease.take({**EVE, "acquired": EPOCH.isoformat()})


def renew(host: Host) -> None:
    """Show that eve's run lives."""
    host.lease.renew("X")


def test_unlock_tells_whose_lease_went(capsys: pytest.CaptureFixture[str]) -> None:
    """As a sentence or as JSON; null where nobody held one."""
    host = Host()
    hold(host)
    assert output.show_unlock(host.world, as_json=False, force=True) == 0
    assert capsys.readouterr().out == "removed the lease of eve («deploy»)\n"
    assert output.show_unlock(host.world, as_json=False, force=False) == 0
    assert capsys.readouterr().out == "no lease is held\n"
    assert output.show_unlock(host.world, as_json=True, force=False) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": None}


def test_a_refused_unlock_prints_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    """The error is the task's to print; stdout stays empty."""
    host = Host()
    hold(host)
    host.clock.later(6, partial(renew, host))
    with pytest.raises(LeaseHeld):
        output.show_unlock(host.world, as_json=True, force=False)
    assert capsys.readouterr().out == ""


def test_prune_counts_what_went(capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the numbers, then the outcome; as JSON the outcome alone."""
    host = Host()
    host.put(BLUE, "v1")
    host.router.send(Weights.all_to(BLUE))
    assert output.show_prune(host.world, as_json=False) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "removed 0 images, 3 nginx configurations and 2 journals"
    assert rest[0].startswith("prune v1: succeeded")
    assert output.show_prune(host.world, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["command"] == "prune"
