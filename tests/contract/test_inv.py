"""The ./inv wrapper, with an installer of the test's own in place of uv."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]

# Makes the least that ./inv looks for, keeps a log, and fails on request.
UV = f"""#!/bin/sh
if [ "$1" = venv ]; then
    mkdir -p .venv/bin
    ln -s {sys.executable} .venv/bin/python
    exit
fi
echo install >>"$LOG"
grep -q broken pyproject.toml && exit 1
sleep 0.3
printf '#!/bin/sh\\necho "$PWD: $*"\\n' >.venv/bin/invoke
chmod +x .venv/bin/invoke
"""


class Checkout:
    """A copy of ./inv beside a pyproject.toml, and what was installed there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.root.mkdir()
        self.log = folder / "log"
        self.log.touch()
        self.path = folder / "bin"
        self.path.mkdir()
        (self.path / "uv").write_text(UV)
        (self.path / "uv").chmod(0o755)
        shutil.copy(ROOT / "inv", self.root)
        self.describe("first")

    def describe(self, text: str) -> None:
        (self.root / "pyproject.toml").write_text(text)

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        path = f"{self.path}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "LOG": str(self.log), **variables}
        return subprocess.Popen(
            [self.root / "inv", *arguments],
            cwd="/",
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    @property
    def installs(self) -> int:
        return len(self.log.read_text().splitlines())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_installs_once_and_then_is_quiet(checkout: Checkout) -> None:
    """Called from anywhere, it runs Invoke in the checkout with the arguments given."""
    code, out, err = checkout.run("deploy", "--version", "v1.2.3")
    assert (code, out) == (0, f"{checkout.root}: deploy --version v1.2.3\n"), err
    assert "setting up" in err
    assert checkout.run("status") == (0, f"{checkout.root}: status\n", "")
    assert checkout.installs == 1


def test_installs_again_when_pyproject_changes(checkout: Checkout) -> None:
    """A change of the text, not of its time."""
    checkout.run()
    (checkout.root / "pyproject.toml").touch()
    checkout.run()
    assert checkout.installs == 1
    checkout.describe("second")
    checkout.run()
    assert checkout.installs == 2


def test_failed_install_is_not_taken_for_a_good_one(checkout: Checkout) -> None:
    """Also not when the text that worked before comes back: what is installed is unknown."""
    checkout.run()
    checkout.describe("broken")
    code, out, err = checkout.run("status")
    assert (code, out) == (2, "")
    assert "could not install" in err
    checkout.describe("first")
    assert checkout.run("status")[0] == 0
    assert checkout.installs == 3


def test_two_at_once_install_once(checkout: Checkout) -> None:
    """The second waits for the first, then finds nothing to do."""
    processes = [checkout.start("list") for _ in range(3)]
    for process in processes:
        process.communicate(timeout=30)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert checkout.installs == 1


def test_a_moved_checkout_is_set_up_afresh(checkout: Checkout) -> None:
    """Scripts in an environment name the place where it was made."""
    checkout.run()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    assert checkout.run("status")[1] == f"{checkout.root}: status\n"
    assert checkout.installs == 2


def test_an_interpreter_that_will_not_do(checkout: Checkout) -> None:
    """One line, exit code 2, nothing made."""
    code, _, err = checkout.run(INV_PYTHON="python0.0")
    assert code == 2
    assert err == "inv: needs Python 3.11 or newer: install it, or name it in INV_PYTHON\n"
    assert not (checkout.root / ".venv").exists()
