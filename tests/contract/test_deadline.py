"""The wrapper that gives python-on-whales' calls a deadline, as a process."""

import io
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from ondeploy import deadline
from ondeploy.stack import tar_of, written

pytestmark = pytest.mark.contract


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command under a deadline."""
    command = [sys.executable, "-IS", deadline.__file__, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_transparent() -> None:
    """Output, exit code and the variables that were asked for."""
    done = run("5", "VERSION=v 2=3", "--", "sh", "-c", 'echo "$VERSION"; echo e >&2; exit 7')
    assert (done.returncode, done.stdout, done.stderr) == (7, "v 2=3\n", "e\n")


def test_a_command_that_hangs_is_ended_with_all_its_children() -> None:
    """Exit code 124, as coreutils' timeout has it, and nothing left behind."""
    done = run("0.3", "--", "sh", "-c", "sleep 60 & echo $!; wait")
    assert done.returncode == 124
    assert "no answer within 0.3 s" in done.stderr
    give_up = time.monotonic() + 5
    while Path(f"/proc/{done.stdout.strip()}").exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_ending_the_wrapper_ends_the_command() -> None:
    """A run that is terminated leaves no compose at work."""
    command = [
        sys.executable,
        "-IS",
        deadline.__file__,
        "60",
        "--",
        "sh",
        "-c",
        "echo on; sleep 60",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) != 0
    assert process.stdout.read() == ""


def test_a_compose_file_of_ours_is_private_and_gone_afterwards() -> None:
    """It holds the user's environment: nobody else reads it, and it does not stay."""
    with written({"services": {"web": {"environment": {"A": "$$x"}}}}) as file:
        assert file.stat().st_mode & 0o777 == 0o600
        assert "$$x" in file.read_text()
    assert not file.exists()


def test_what_goes_into_a_volume_is_readable_there(tmp_path: Path) -> None:
    """Owned by root and readable by the service's user, whoever's checkout it came from."""
    (tmp_path / "rules").mkdir(mode=0o700)
    (tmp_path / "rules" / "a.yml").write_text("x")
    (tmp_path / "rules" / "a.yml").chmod(0o600)
    with tarfile.open(fileobj=io.BytesIO(tar_of(tmp_path))) as archive:
        entries = {entry.name: entry for entry in archive.getmembers()}
    assert entries["./rules/a.yml"].mode == 0o644
    assert entries["./rules"].mode == 0o755
    assert {entry.uid for entry in entries.values()} == {0}
