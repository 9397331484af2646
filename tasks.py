"""This repository's Invoke collection: ondeploy's own tasks, the demo, and the checks.

Everything heavy is imported inside, so that `./inv --list` costs what Invoke costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ondeploy import tasks as ondeploy_tasks

ROOT = Path(__file__).parent
BIN = Path(sys.executable).parent
SHELL_SCRIPTS = ("inv", ".ci/run", "deployment/*.sh")
SUITES = ("unit", "contract", "e2e")


@task(
    auto_shortflags=False,
    help={
        "down": "remove all that the demo made, but for the images its services are built from",
        "images": "remove those too",
        "shell": 'print what a shell must know to use the demo: eval "$(./inv demo --shell)"',
    },
)
def demo(_: Context, down: bool = False, images: bool = False, shell: bool = False) -> None:
    """Release, roll back and break a real app under load, and show what its visitors saw."""
    from demo import run  # noqa: PLC0415

    raise Exit(code=run.run(down=down, images=images, shell=shell))


@task
def check(_: Context) -> None:
    """Check formatting, types, shell scripts and workflows; every check runs."""
    raise Exit(code=run_checks())


@task(auto_shortflags=False, help={"unit": "only the unit tests, without checks and engine"})
def test(_: Context, unit: bool = False) -> None:  # noqa: PT028 - a task, no test
    """Run all checks and tests, unit to end-to-end; sets up an engine where there is none."""
    if not unit:
        if run_checks():
            raise Exit(code=1)
        prepare_engine()
    suites = [f"tests/{suite}" for suite in (("unit",) if unit else SUITES)]
    os.chdir(ROOT)
    sys.stdout.flush()
    # In place of this process: signals and the exit code are pytest's own.
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *filter(os.path.isdir, suites)])


@task(help={"rounds": "how often each contender takes its turn"})
def bench(_: Context, rounds: int = 5) -> None:
    """Measure a release and a rollback side by side with what a user has today."""
    os.chdir(ROOT)
    words = [sys.executable, "-m", "benchmarks.switch", "--rounds", str(rounds)]
    raise Exit(code=subprocess.run(words, check=False).returncode)


namespace = Collection(*ondeploy_tasks.namespace.tasks.values(), demo, check, test, bench)


def prepare_engine() -> None:
    """A missing engine is a failure: end-to-end tests are never skipped."""
    from demo.engine import ensure_engine  # noqa: PLC0415
    from demo.host import SetupError  # noqa: PLC0415
    from demo.images import ensure_images  # noqa: PLC0415

    try:
        ensure_engine(say)
        ensure_images(say)
    except SetupError as error:
        print(f"test: FAILED: {' '.join(str(error).split())}", file=sys.stderr)
        raise Exit(code=2) from None


def run_checks() -> int:
    """Run every check, print each with its result, and say how many failed."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    checks = commands()
    failed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, done in zip(checks, pool.map(run_quietly, checks.values()), strict=True):
            print(f"check {name:<15}{'failed' if done.returncode else 'ok'}", flush=True)
            if done.returncode:
                failed.append(name)
                print("\n".join(f"    {line}" for line in output(done)), flush=True)
    if failed:
        print(f"checks failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def commands() -> dict[str, list[str]]:
    scripts = [str(path) for pattern in SHELL_SCRIPTS for path in sorted(ROOT.glob(pattern))]
    workflows = [str(path) for path in sorted(ROOT.glob(".github/workflows/*.yml"))]
    return {
        "ruff check": [tool("ruff"), "check", "--quiet", "--output-format=concise", "."],
        "ruff format": [tool("ruff"), "format", "--check", "--diff", "--quiet", "."],
        "mypy": [tool("mypy"), "--no-error-summary"],
        "shellcheck": [tool("shellcheck"), *scripts],
        # Told where shellcheck is: it would look on PATH, and leave `run:` unchecked without it.
        "actionlint": [tool("actionlint"), f"-shellcheck={tool('shellcheck')}", *workflows],
        "zizmor": [tool("zizmor"), "--offline", "--quiet", "--no-progress", ".github"],
    }


def tool(name: str) -> str:
    return str(BIN / name)


def run_quietly(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")


def output(done: subprocess.CompletedProcess[str]) -> list[str]:
    return (done.stdout + done.stderr).strip().splitlines()


def say(line: str) -> None:
    print(line, flush=True)
