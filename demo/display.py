"""Shows the demo as it goes: a board that is drawn anew on a terminal, plain lines elsewhere."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from demo.load import Snapshot
from demo.story import ACTS, COLORS, Act, Played, Summary, problem_of, result_of, table_lines

WIDEST = 100
BAR = 24
STEP_LINES = 5
PLAIN_EVERY = 5.0
"""Seconds between lines on the traffic where nothing is drawn anew."""
DONE = re.compile(r"^([a-z-]+): done in ([\d.]+) s(?: \((.*)\))?$")
STYLES = {"blue": "bright_blue", "green": "bright_green"}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

StepWords = Mapping[str, str]
"""A step of a plan, as `--dry-run --json` has it: name and detail."""
Steps = Sequence[StepWords]


class Display(Protocol):
    """What the run tells whoever watches."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def say(self, line: str) -> None:
        """A line that stays."""

    def begin(self, act: Act, steps: Steps, target: str) -> None:
        """An act begins, with the steps of its plan."""

    def line(self, text: str) -> None:
        """The command said something."""

    def traffic(self, now: Snapshot | None) -> None:
        """Time has passed; what the load sees, once there is any."""

    def end(self, played: Played) -> None:
        """The act ended."""


@dataclass
class Scene:
    """What is known at this moment; the same for both displays."""

    act: Act | None = None
    steps: Steps = ()
    target: str = ""
    done: list[str] = field(default_factory=list)
    words: str = ""
    """The last thing the command said that was not the end of a step."""
    held: dict[str, str] = field(default_factory=dict)
    """Color -> the version in it."""
    played: list[Played] = field(default_factory=list)
    now: Snapshot | None = None
    """What the load saw last."""
    before_bad: int | None = None
    """Failed requests when the bad version's act began."""
    of_bad: int = 0
    """Failed requests during that act."""

    def begin(self, act: Act, steps: Steps, target: str) -> None:
        self.act, self.steps, self.target = act, steps, target
        self.done, self.words = [], ""
        if act.is_bad and self.now:
            self.before_bad = self.now.failed

    def traffic(self, now: Snapshot | None) -> None:
        self.now = now
        if now and self.act and self.act.is_bad and self.before_bad is not None:
            self.of_bad = now.failed - self.before_bad

    @property
    def counts(self) -> str:
        """The load so far. Which errors were really asked for is told apart at the end."""
        if self.now is None:
            return "no visitors before there is a first release"
        words = (
            f"{self.now.rps:,.0f} requests/s, {self.now.requests:,} so far, "
            f"{self.now.failed - self.of_bad:,} failed"
        )
        return words + (f", and {self.of_bad:,} while the bad version was out" * bool(self.of_bad))

    def line(self, text: str) -> str:
        """Take in a line of the command; the name of the step that it ends, or ""."""
        ended = DONE.match(text)
        if not ended:
            self.words = text
            return ""
        self.done.append(ended[1])
        self.words = ""
        if ended[1] == "start-standby" and self.act:
            self.held[self.target] = self.act.version
        return ended[1]

    def end(self, played: Played) -> None:
        self.played.append(played)
        if played.outcome.get("result") == "rolled-back":
            self.held.pop(self.target, None)
        self.act, self.steps, self.words = None, (), ""

    @property
    def current(self) -> StepWords | None:
        """The step under way: the first of the plan that is not done."""
        return next((step for step in self.steps if step["name"] not in self.done), None)

    @property
    def given_up(self) -> bool:
        """The command undoes what it did: its last word was neither a step's end nor a bake's."""
        current = self.current
        return bool(self.words and current and not self.words.startswith(f"{current['name']} "))

    @property
    def active(self) -> str:
        """The color with most of the traffic, as its visitors see it; before any, as planned."""
        shares = self.now.shares if self.now else {}
        if shares:
            return max(shares, key=lambda color: shares[color])
        first = self.played[0].active if self.played else ""
        return self.target if "shift" in self.done else first

    def role(self, color: str) -> str:
        """The glossary's word for a color."""
        under_way = self.act is not None and self.steps_started(color)
        if color not in self.held:
            return "empty"
        if color == self.active:
            baking = under_way and self.current is not None and self.current["name"] == "bake"
            return "active, baking" if baking and not self.given_up else "active"
        if under_way:
            return "leaving" if self.given_up else "standby"
        return "standby, warm"

    def steps_started(self, color: str) -> bool:
        """The act under way has put its own version into the color, or found it there."""
        names = [step["name"] for step in self.steps]
        return color == self.target and (
            "start-standby" in self.done or "start-standby" not in names
        )


def choose(console: Console) -> Display:
    """The board on a terminal, lines anywhere else."""
    return Board(console) if console.is_terminal else Lines(console)


class Lines:
    """Plain lines, with the time since the start before each."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._scene = Scene()
        self._started = time.monotonic()
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def say(self, line: str) -> None:
        self._print(line)

    def begin(self, act: Act, steps: Steps, target: str) -> None:
        self._scene.begin(act, steps, target)
        number = len(self._scene.played) + 1
        self._print(f"{number}/{len(ACTS)} invoke {' '.join(act.command())}: {act.why}")

    def line(self, text: str) -> None:
        self._scene.line(text)
        self._print(f"    {text}")

    def traffic(self, now: Snapshot | None) -> None:
        self._scene.traffic(now)
        if now is None or now.seconds - self._told < PLAIN_EVERY:
            return
        self._told = now.seconds
        shares = ", ".join(f"{color} {now.shares.get(color, 0):.0f} %" for color in COLORS)
        self._print(f"    traffic: {shares}; {self._scene.counts}")

    def end(self, played: Played) -> None:
        self._scene.end(played)
        self._print(f"    {result_of(played)}, after {played.seconds:.1f} s")

    def _print(self, line: str) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(f"{seconds:6.1f} s  {line}", markup=False, soft_wrap=True)


class Board:
    """Drawn anew in place: the acts, the steps of the one under way, and the traffic."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._scene = Scene()
        self._started = time.monotonic()
        self._act_started = 0.0
        self._step_started = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawing:
            self._live.stop()

    def say(self, line: str) -> None:
        self._console.print(f"  {line}", style="dim", markup=False)

    def begin(self, act: Act, steps: Steps, target: str) -> None:
        self._scene.begin(act, steps, target)
        self._act_started = self._step_started = time.monotonic()
        if not self._drawing:
            self._started = self._act_started
            self._console.print()
            self._live.start()
            self._drawing = True
        self._draw()

    def line(self, text: str) -> None:
        given_up = self._scene.given_up
        if self._scene.line(text) or self._scene.given_up != given_up:
            self._step_started = time.monotonic()
        self._draw()

    def traffic(self, now: Snapshot | None) -> None:
        self._scene.traffic(now)
        if self._drawing:
            self._draw()

    def end(self, played: Played) -> None:
        self._scene.end(played)
        self._draw()

    def _draw(self) -> None:
        parts = [
            self._header(),
            Text(),
            self._acts(),
            Text(),
            *self._steps(),
            Text(),
            *self._traffic(),
        ]
        self._live.update(Group(*parts), refresh=True)

    @property
    def _width(self) -> int:
        return min(self._console.width, WIDEST)

    def _header(self) -> RenderableType:
        seconds = int(time.monotonic() - self._started)
        line = Table.grid(expand=False, padding=0)
        line.add_column(width=self._width - 8)
        line.add_column(width=6, justify="right")
        title = Text("  ondeploy demo", style="bold")
        line.add_row(title, Text(f"{seconds // 60}:{seconds % 60:02}", style="dim"))
        return line

    def _acts(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=3, justify="right")
        grid.add_column(width=20, no_wrap=True)
        grid.add_column(width=6, justify="right")
        grid.add_column(width=self._width - 34, no_wrap=True, overflow="ellipsis")
        played = self._scene.played
        for number, act in enumerate(ACTS):
            if number < len(played):
                grid.add_row(*self._ended(played[number]))
            elif number == len(played) and self._scene.act:
                seconds = time.monotonic() - self._act_started
                spin = SPINNER[int(seconds * 8) % len(SPINNER)]
                title = Text(act.title, style="bold")
                took = Text(f"{seconds:.1f} s", style="bold")
                grid.add_row(Text(spin, style="bold cyan"), title, took, act.why)
            else:
                grid.add_row(*(Text(word, style="dim") for word in ("·", act.title, "", act.why)))
        return grid

    @staticmethod
    def _ended(played: Played) -> tuple[Text, Text, Text, Text]:
        fine = problem_of(played) == ""
        mark = Text("✓", style="green") if fine else Text("✗", style="bold red")
        result = Text(result_of(played) if fine else problem_of(played))
        for color in COLORS:
            result.highlight_words([color], STYLES[color])
        return mark, Text(played.act.title), Text(f"{played.seconds:.1f} s"), result

    def _steps(self) -> list[RenderableType]:
        """The command, the way of its plan, and what is being done on it: always as many lines."""
        scene = self._scene
        lines: list[Text] = []
        if scene.act:
            command = f"$ invoke {' '.join(scene.act.command())}"
            lines = [Text(command, style="bold"), *self._way(), *self._under_way()]
        else:
            lines = [Text("steady traffic until the next command", style="dim")]
        lines += [Text()] * (STEP_LINES - len(lines))
        for line in lines:
            line.truncate(self._width - 4, overflow="ellipsis")
        return [Padding(Group(*lines), (0, 0, 0, 2))]

    def _way(self) -> list[Text]:
        scene, way = self._scene, Text()
        for number, step in enumerate(scene.steps):
            style = "green" if step["name"] in scene.done else "dim"
            if step is scene.current:
                style = "bold red" if scene.given_up else "bold cyan"
            way.append(" → " if number else "", style="dim").append(step["name"], style=style)
        lines = list(way.wrap(self._console, self._width - 4))
        return lines + [Text()] * (2 - len(lines))

    def _under_way(self) -> list[Text]:
        scene = self._scene
        seconds = f"{time.monotonic() - self._step_started:.0f} s"
        if scene.given_up:
            undoing = Text(f"{seconds}  undoing every step, the last one first")
            return [Text(scene.words, style="red"), undoing]
        if scene.current is None:
            return [Text("looking once more where the traffic is")]
        name, detail = scene.current["name"], scene.current["detail"]
        line = Text(f"{name}  ", style="cyan").append(f"{seconds}  ", style="dim")
        return [
            line.append(detail, style="default"),
            Text(scene.words.partition(" ")[2], style="dim"),
        ]

    def _traffic(self) -> list[RenderableType]:
        now = self._scene.now
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=7, justify="right")
        for width in (11, BAR, 6, 16):
            grid.add_column(width=width, no_wrap=True)
        for color in COLORS:
            share = now.shares.get(color, 0.0) if now else 0.0
            role = self._scene.role(color)
            filled = round(share * BAR / 100)
            bar = Text("━" * filled, style=STYLES[color])
            bar.append("━" * (BAR - filled), style="bright_black")
            version = self._scene.held.get(color, "-")
            strong = "" if color == self._scene.active else "dim"
            grid.add_row(
                Text(color, style=STYLES[color]),
                Text(version, style=strong),
                bar,
                Text(f"{share:.0f} %", style=strong),
                Text(role, style=strong),
            )
        return [grid, Text(f"\n  {self._scene.counts}", style="" if now else "dim")]


def print_summary(console: Console, summary: Summary) -> None:
    """The closing table, below whatever was shown before."""
    console.print()
    for figures, note in table_lines(summary.rows):
        console.print(figures, style="bold" if not note else "", markup=False)
        if note:
            console.print(note, style="dim", markup=False)
    for remark in summary.remarks:
        console.print(f"\n{remark}", style="yellow", markup=False)
    for problem in summary.problems[1:]:
        console.print(f"\nalso: {problem}", style="red", markup=False)
    console.print()
