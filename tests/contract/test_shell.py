"""The shell that stays open, with a real `sh` at the far end."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ondeploy.engine import Docker, PipeShell
from ondeploy.errors import EngineError

pytestmark = pytest.mark.contract


@pytest.fixture
def shell() -> Iterator[PipeShell]:
    """A local shell with a deadline of five seconds."""
    opened = PipeShell(["sh"], 5)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("echo one; echo two", 0, "one\ntwo\n"),
        ("printf x", 0, "x"),
        ("true", 0, ""),
        ("exit 74", 74, ""),
        ("false", 1, ""),
        ("echo bad >&2; exit 3", 3, "bad\n"),
        ("printf '\\n\\nlast'", 0, "\n\nlast"),
        ("cat; echo not stuck", 0, "not stuck\n"),
        ("echo 'a\nb'", 0, "a\nb\n"),
        ("cat <<'X'\n$HOME `id`\nX", 0, "$HOME `id`\n"),
        ("kill -9 $(sh -c 'echo $PPID'); sleep 9", 137, None),
    ],
)
def test_code_and_output_of_a_script(
    shell: PipeShell, script: str, code: int, text: str | None
) -> None:
    """Both streams and the exit code come back as they are, and the shell lives on."""
    reply = shell.run(script)
    assert reply.code == code
    if text is not None:
        assert reply.text == text
    assert shell.run("echo still here").text == "still here\n"


def test_one_script_leaves_nothing_to_the_next(shell: PipeShell) -> None:
    """Folders, variables and options of a script end with it."""
    shell.run("cd /; x=1; set -e; false")
    assert shell.run('echo "${x:-unset}"').text == "unset\n"


def test_odd_bytes_are_no_problem(shell: PipeShell) -> None:
    """Output that is not UTF-8, has NULs or looks like our own mark is only output."""
    reply = shell.run(r"printf '\377\000--0123456789abcdef-- 0\n'; exit 5")
    assert reply.code == 5
    assert "--0123456789abcdef-- 0" in reply.text


def test_much_output_comes_whole(shell: PipeShell) -> None:
    """A megabyte is no reason to stall."""
    assert len(shell.run("head -c 1000000 /dev/zero | tr '\\0' x").text) == 1_000_000


def test_a_long_script_goes_in_whole(shell: PipeShell) -> None:
    """A configuration with certificates is larger than any pipe's buffer."""
    text = "y" * 300_000
    assert shell.run(f"printf '%s' {text} | wc -c").text.strip() == "300000"


def test_no_answer_in_time_is_an_error_and_the_end(shell: PipeShell) -> None:
    """After the deadline the shell is gone: a late answer must not be taken for the next one."""
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"did not answer within 0\.3 s"):
        shell.run("sleep 60", timeout=0.3)
    assert time.monotonic() - started < 3
    with pytest.raises(EngineError, match="ended"):
        shell.run("echo late")


def test_a_shell_that_ended_is_an_error_with_its_words() -> None:
    """What the far end said last is in the message."""
    opened = PipeShell(["sh", "-c", "echo 'no such container' >&2; exit 1"], 5)
    with pytest.raises(EngineError, match=r"the connection into the container ended(: no such)?"):
        opened.run("echo x")
    opened.close()


def test_an_engine_that_is_not_there_is_told_apart() -> None:
    """The docker client's own complaint becomes: start it, or set DOCKER_HOST."""
    words = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    opened = PipeShell(["sh", "-c", f"echo '{words}'; sleep 0.2; exit 1"], 5)
    with pytest.raises(EngineError, match="no Docker engine answers") as caught:
        opened.run("echo x")
    assert "DOCKER_HOST" in caught.value.hint
    opened.close()


def test_a_client_that_is_not_installed_is_told() -> None:
    """Without `docker` the message says what to install."""
    with pytest.raises(EngineError, match="the docker client is not installed"):
        PipeShell(["/nowhere/docker"], 5)
    with pytest.raises(EngineError, match="the docker client is not installed"):
        Docker(5, {}, ["/nowhere/docker"]).run("ps")


def test_threads_take_turns(shell: PipeShell) -> None:
    """The lease's keeper and the run share one shell; nobody gets another's answer."""
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: shell.run(f"sleep 0.00{n % 9}; echo {n}"), range(60)))
    assert [reply.text for reply in replies] == [f"{n}\n" for n in range(60)]


def test_closing_ends_the_process() -> None:
    """A container of its own must not stay behind; closing twice is fine."""
    opened = PipeShell(["sh", "-c", "sh; sleep 0"], 5)
    opened.run("true")
    opened.close()
    opened.close()
    with pytest.raises(EngineError):
        opened.run("true")


def test_ctrl_c_does_not_reach_the_shell() -> None:
    """The terminal's signal is ondeploy's to handle: what is under way at the engine goes on."""
    script = (
        "import os, signal\n"
        "from ondeploy.engine import PipeShell\n"
        "shell = PipeShell(['sh'], 5)\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.killpg(os.getpgid(0), signal.SIGINT)\n"
        "print(shell.run('echo alive').text, end='')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["sh", "-c", "echo out; echo err >&2"], 0, "out\n"),
        (["sh", "-c", "echo e >&2; exit 4"], 4, "e\n"),
    ],
)
def test_one_docker_command(words: list[str], code: int, text: str) -> None:
    """Standard output of what works, standard error of what does not."""
    docker = Docker(5, {"PATH": "/usr/bin:/bin"}, words[:1])
    reply = docker.attempt(*words[1:])
    assert (reply.code, reply.text) == (code, text)


def test_a_docker_command_has_a_deadline_and_its_variables() -> None:
    """No call hangs; `variables` are set for this one command."""
    docker = Docker(0.3, {"PATH": "/usr/bin:/bin"}, ["sh"])
    assert docker.run("-c", "echo $VERSION", variables={"VERSION": "v2"}) == "v2\n"
    with pytest.raises(EngineError, match=r"docker -c did not answer within 0\.3 s"):
        docker.run("-c", "sleep 9")
    assert docker.run("-c", "cat", stdin=b"tar") == "tar"
