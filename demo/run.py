"""`./inv demo`: a real stack, real releases under load, and what the visitors saw of them.

The releases are made by ondeploy's own command line, as anyone would make them.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from rich.console import Console

from demo import display, project, story
from demo.display import Display
from demo.engine import ensure_engine
from demo.host import Say, SetupError
from demo.images import ensure_images
from demo.load import Load, Report, Snapshot, steady
from demo.story import ACTS, Act, Played, Summary, last_line, problem_of

ROOT = Path(__file__).parent.parent
INVOKE = (sys.executable, "-m", "invoke")
TICK = 0.2
ACT_SECONDS = 300
"""Longer than any act may take, the cold build of a first release included."""
ENDING_SECONDS = 30
"""How long a command that was told to stop may take to undo what it did."""
STEADY_SECONDS = 2.0
"""Undisturbed traffic between two acts."""
LOAD_SECONDS = 1800.0
LOAD_SCALE = 1.0
COLOR_HEADER = "X-Ondeploy-Color"
PLAIN_WIDTH = 120
INTERRUPTED = 130


class StoryError(Exception):
    """The demo cannot go on; the message says why."""


def run(*, down: bool = False, images: bool = False, shell: bool = False) -> int:
    """The whole of `./inv demo`; its exit code."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    try:
        if shell:
            print(shell_lines())
            return 0
        if down or images:
            return take_down(console, stand_ins=images)
        return play_all(console)
    except SetupError as error:
        # What --shell prints is going to be evaluated.
        stream = sys.stderr if shell else sys.stdout
        print(f"demo: FAILED: {' '.join(str(error).split())}", file=stream)
        return 2
    except KeyboardInterrupt:
        print("demo: FAILED: interrupted during set-up")
        return INTERRUPTED


def take_down(console: Console, *, stand_ins: bool) -> int:
    removed = project.remove(stand_ins=stand_ins)
    console.print(f"removed {removed}" if removed else "there was nothing to remove")
    if stand_ins:
        console.print("Docker's build cache stays; `docker builder prune` empties it")
    return 0


def shell_lines() -> str:
    """For `eval "$(./inv demo --shell)"`: ondeploy's commands then find the demo's stack."""
    ports = project.published_ports()
    return project.shell_lines(project.variables(ensure_images(to_stderr), ports), ROOT)


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def play_all(console: Console) -> int:
    shown = display.choose(console)
    ports, variables = set_up(shown.say)
    url = f"http://127.0.0.1:{ports['HTTP_PORT']}"
    stage = Stage(variables, url, shown)
    with shown:
        reason, code = perform(stage)
    summary = story.summarise(stage.played, stage.report)
    if reason:
        summary = with_reason(summary, reason)
    display.print_summary(console, summary)
    for line in how_to_look(url, ports):
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    # Not through rich, which would wrap it.
    print(last_line(summary), flush=True)
    return code if reason else int(bool(summary.problems))


def set_up(say: Say) -> tuple[dict[str, int], dict[str, str]]:
    """Engine, images, a clean slate and free ports."""
    ensure_engine(say)
    images = ensure_images(say)
    removed = project.remove()
    if removed:
        say(f"an earlier demo was here: removed {removed}")
    ports = project.free_ports()
    variables = project.variables(images, ports)
    project.prepare_builds(variables, say)
    say(
        f"compose project {project.PROJECT}: http on {ports['HTTP_PORT']}, https on "
        f"{ports['HTTPS_PORT']}, Prometheus on {ports['PROMETHEUS_PORT']}"
    )
    say("Grafana is left out: its image cannot be made from Debian's packages")
    say(f"the demo bakes {project.BAKE_SECONDS} s, the default is 5 min")
    return ports, variables


@dataclass
class Stage:
    """Where the story is played, and what came of it so far."""

    variables: Mapping[str, str]
    url: str
    shown: Display
    played: list[Played] = field(default_factory=list)
    load: Load | None = None
    report: Report | None = None

    def tick(self) -> Snapshot | None:
        now = self.load.snapshot() if self.load else None
        self.shown.traffic(now)
        return now


def perform(stage: Stage) -> tuple[str, int]:
    """Play the acts; why that ended early, if it did, with the exit code for it."""
    try:
        play_act(stage, ACTS[0])
        profile = steady(LOAD_SECONDS, scale=LOAD_SCALE, version_header=COLOR_HEADER)
        with Load(profile, stage.url) as stage.load:
            try:
                rest(stage)
                for act in ACTS[1:]:
                    play_act(stage, act)
                    rest(stage)
            finally:
                stage.shown.say("waiting for the requests in flight")
                stage.report = stage.load.stop()
    except StoryError as error:
        return str(error), 1
    except KeyboardInterrupt as interrupt:
        return str(interrupt) or "interrupted", INTERRUPTED
    return "", 0


def rest(stage: Stage) -> None:
    """Let the traffic run undisturbed for a while."""
    end = time.monotonic() + STEADY_SECONDS
    while time.monotonic() < end:
        stage.tick()
        time.sleep(TICK)


def play_act(stage: Stage, act: Act) -> None:
    """Carry out one act; StoryError if it does not end as it must."""
    environ = {**os.environ, **stage.variables, **act.variables}
    plan = planned(act, environ)
    target = str(plan.get("target") or "")
    stage.shown.begin(act, plan.get("steps", ()), target)
    began = time.monotonic()
    started = stage.load.mark(f"{len(stage.played) + 1} {act.title}") if stage.load else None
    code, output = carry_out(act, environ, stage)
    last = stage.played[-1] if stage.played else None
    played = Played(
        act=act,
        seconds=time.monotonic() - began,
        code=code,
        outcome=parsed(output),
        before=last.active if last else "",
        before_version=last.active_version if last else "",
        target=target,
        started=started,
    )
    stage.played.append(played)
    stage.shown.end(played)
    if problem := problem_of(played):
        raise StoryError(problem)


def planned(act: Act, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The steps the act is going to take, from `--dry-run`."""
    command = [*INVOKE, *act.command("--dry-run", "--json")]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    plan = parsed(done.stdout)
    if done.returncode:
        raise StoryError(f"{act.title} --dry-run: {plan.get('reason') or done.stderr.strip()}")
    return plan


def parsed(output: str) -> Mapping[str, Any]:
    try:
        found = json.loads(output)
    except ValueError:
        found = {"reason": f"it printed no JSON: {output.strip()[-300:]}"}
    return dict(found)


def carry_out(act: Act, environ: Mapping[str, str], stage: Stage) -> tuple[int, str]:
    """Run the command, showing what it says as it says it; exit code and standard output."""
    # A session of its own: Ctrl-C comes here only, and is passed on once.
    process = subprocess.Popen(
        [*INVOKE, *act.command("--json")],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    output: list[str] = []
    readers = [
        Thread(target=follow, args=(process.stderr, said.put), daemon=True),
        Thread(target=follow, args=(process.stdout, output.append), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        watch(process, said, stage, ACT_SECONDS)
    except KeyboardInterrupt:
        stop(process, said, stage)
        how = f"it ended with exit code {process.returncode}"
        raise KeyboardInterrupt(f"interrupted during {act.title}; {how}") from None
    if process.poll() is None:
        stop(process, said, stage)
        raise StoryError(f"{act.title}: no end after {ACT_SECONDS} s")
    for reader in readers:
        reader.join(5)
    return process.returncode, "".join(output)


def follow(stream: Any, take: Callable[[str], None]) -> None:
    for line in stream:
        take(line)


def watch(
    process: "subprocess.Popen[str]",
    said: "queue.SimpleQueue[str]",
    stage: Stage,
    seconds: float,
) -> None:
    """Show what a command says and what the load sees, until it ends or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended = process.poll() is not None
        show(said, stage)
        if ended:
            return
        stage.tick()


def show(said: "queue.SimpleQueue[str]", stage: Stage) -> None:
    """Show every line that is there, after waiting a moment for the first."""
    wait = TICK
    while True:
        try:
            line = said.get(timeout=wait) if wait else said.get_nowait()
        except queue.Empty:
            return
        wait = 0
        if line.strip():
            stage.shown.line(line.strip())


def stop(process: "subprocess.Popen[str]", said: "queue.SimpleQueue[str]", stage: Stage) -> None:
    """Have the command undo what it did; kill it only if it cannot."""
    stage.shown.say("stopping: the command undoes what it did")
    process.send_signal(signal.SIGINT)
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watch(process, said, stage, ENDING_SECONDS)
    finally:
        signal.signal(signal.SIGINT, former)
        if process.poll() is None:
            process.kill()
            process.wait()


def with_reason(summary: Summary, reason: str) -> Summary:
    """The summary of a story that ended early."""
    others = tuple(problem for problem in summary.problems if problem != reason)
    return Summary(
        summary.rows,
        summary.requests,
        summary.lost,
        summary.bad_seconds,
        (reason, *others),
        summary.remarks,
    )


def how_to_look(url: str, ports: Mapping[str, int]) -> Sequence[str]:
    return (
        "the stack is left running:",
        f"  app         {url}/api/version",
        f"  one color   curl -H 'X-Ondeploy-Color: blue' {url}/api/version",
        f"  Prometheus  http://127.0.0.1:{ports['PROMETHEUS_PORT']}",
        '  commands    eval "$(./inv demo --shell)"; ./inv status --env demo',
        "  remove it   ./inv demo --down",
    )
