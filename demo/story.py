"""Pure: what the demo does, in which order, and what its load report has to say for it to be ok."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.load import Failure, Record, Report

ENVIRONMENT = "demo"
FAULT_RATE = "0.2"
FAULT_MARK = "fault: FAULT_ERROR_RATE"
"""What the reference app says in an error that was asked for."""
COLORS = ("blue", "green")
QUICK = ("keepalive-get", "keepalive-post", "fresh-get")
"""Traffic that is answered at once: it shows when a switch was complete."""


@dataclass(frozen=True)
class Act:
    """One command of the story, and what must be true after it."""

    words: tuple[str, ...]
    """What follows `invoke`, without the environment."""
    why: str
    serves: str
    """The version that answers every visitor afterwards."""
    code: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return " ".join(word for word in self.words if word != "--version")

    @property
    def version(self) -> str:
        """The version that the act puts before visitors, be it only for a while."""
        return self.words[-1] if len(self.words) > 1 else self.serves

    @property
    def is_bad(self) -> bool:
        return "FAULT_ERROR_RATE" in self.variables

    def command(self, *flags: str) -> tuple[str, ...]:
        return (*self.words, "--env", ENVIRONMENT, *flags)


ACTS = (
    Act(("deploy", "--version", "v1.0.0"), "the first release, on an empty host", "v1.0.0"),
    Act(("deploy", "--version", "v2.0.0"), "blue-green, while visitors keep coming", "v2.0.0"),
    Act(("rollback",), "v1.0.0 is still warm: one reload of nginx", "v1.0.0"),
    Act(("rollback", "--to", "v2.0.0"), "v2.0.0 is warm too: the same way back", "v2.0.0"),
    Act(
        ("deploy", "--version", "v3.0.0-bad"),
        "one request in five fails: has to be rolled back by itself",
        "v2.0.0",
        code=5,
        variables={"FAULT_ERROR_RATE": FAULT_RATE},
    ),
    Act(("rollback",), "v1.0.0 had to make room: a cold start from its recorded image", "v1.0.0"),
)


@dataclass(frozen=True)
class Played:
    """An act that was carried out. `started` is on the load's clock; None before there was any."""

    act: Act
    seconds: float
    code: int
    outcome: Mapping[str, Any]
    before: str = ""
    """The active color before it, "" if none was."""
    before_version: str = ""
    target: str = ""
    """The color that the act put its version into."""
    started: float | None = None

    @property
    def active(self) -> str:
        return str(self.outcome.get("active") or "")

    @property
    def active_version(self) -> str:
        return str(self.outcome.get("active_version") or "")


@dataclass(frozen=True)
class Row:
    """One line of the closing table."""

    title: str
    result: str
    seconds: float
    requests: int | None
    lost: int | None
    note: str


@dataclass(frozen=True)
class Summary:
    """What came of it; `problems` is empty if all is as it must be."""

    rows: tuple[Row, ...]
    requests: int
    lost: int
    bad_seconds: float
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def problem_of(played: Played) -> str:
    """Why an act did not end as it must; "" if it did."""
    act, outcome = played.act, played.outcome
    if played.code != act.code:
        reason = outcome.get("reason") or "it gave no reason"
        return f"{act.title}: exit code {played.code} instead of {act.code}: {reason}"
    if played.active_version != act.serves:
        serves = played.active_version or "no version"
        return f"{act.title}: {serves} has the traffic instead of {act.serves}"
    return ""


def summarise(played: Sequence[Played], report: Report | None) -> Summary:
    """Judge a demo by what its visitors saw. Without a report, only the acts are told."""
    spans = [span(played, number) for number in range(len(played))]
    rows: list[Row] = []
    problems = [problem for each in played if (problem := problem_of(each))]
    lost, bad_seconds = 0, 0.0
    for each, (start, end) in zip(played, spans, strict=True):
        seen = list(report.select(start, end)) if report and each.started is not None else None
        lost_here = [record for record in seen or () if is_lost(record, each)]
        lost += len(lost_here)
        if lost_here:
            problems.append(f"{each.act.title}: {count_words(lost_here)} failed")
        if each.act.is_bad and seen is not None and problem_of(each) == "":
            bad_seconds, problem = judge_bad(each, seen)
            problems += [problem] if problem else []
        rows.append(row(each, seen, len(lost_here)))
    if report:
        problems += stray_problems(played, spans, report)
    remarks = unsent_words(report) if report else ()
    requests = report.requests if report else 0
    return Summary(tuple(rows), requests, lost, bad_seconds, tuple(problems), remarks)


def span(played: Sequence[Played], number: int) -> tuple[float, float]:
    """An act's stretch of the load: from its command to the next one, so that none is left out."""
    start = played[number].started
    later = [each.started for each in played[number + 1 :] if each.started is not None]
    return 0.0 if start is None else start, later[0] if later else float("inf")


def is_lost(record: Record, each: Played) -> bool:
    """A failed request, unless it is an error that the bad version was asked to make."""
    return record.failure is not None and not is_injected(record, each)


def is_injected(record: Record, each: Played) -> bool:
    return each.act.is_bad and record.status == 500 and record.version == each.target


def judge_bad(each: Played, seen: Sequence[Record]) -> tuple[float, str]:
    """Seconds from the bad version's first visitor to its last error; or why there are none."""
    # A long request or upload that ends in this act may have begun on the color's last version.
    served = [
        record.sent
        for record in seen
        if record.version == each.target
        and record.traffic in QUICK
        and record.sent >= (each.started or 0.0)
    ]
    errors = [record.finished for record in seen if is_injected(record, each)]
    if not errors or not served:
        return 0.0, f"{each.act.title}: no visitor met an error, so nothing was shown"
    return max(errors) - min(served), ""


def stray_problems(
    played: Sequence[Played], spans: Sequence[tuple[float, float]], report: Report
) -> list[str]:
    """Errors that look asked for and were not; traffic that is not where it should be."""
    problems: list[str] = []
    for each, (start, end) in zip(played, spans, strict=True):
        if each.act.is_bad:
            problems += [
                f"{each.act.title}: an error that was not asked for: {sample.detail}"
                for sample in report.samples
                if start <= sample.time < end
                and sample.failure is Failure.SERVER_ERROR
                and FAULT_MARK not in sample.detail
            ][:1]
    last = [record.version for record in report.select(traffic=QUICK)][-50:]
    home = played[-1].active if played else ""
    if not last or set(last) != {home}:
        problems.append(f"the last answers came from {words_of(last)}, not from {home}")
    return problems


def row(each: Played, seen: Sequence[Record] | None, lost: int) -> Row:
    requests = None if seen is None else len(seen)
    note = note_of(each, seen or ())
    return Row(
        title=each.act.title,
        result=result_of(each),
        seconds=each.seconds,
        requests=requests,
        lost=None if seen is None else lost,
        note=note,
    )


def result_of(each: Played) -> str:
    if problem_of(each):
        return "failed"
    how = "rolled back by itself" if each.act.is_bad else f"{each.act.version} active"
    return f"{how}, {each.active}"


def note_of(each: Played, seen: Sequence[Record]) -> str:
    """The one thing worth knowing of an act, measured where it can be."""
    if problem := problem_of(each):
        return problem
    if each.act.is_bad:
        errors = sum(is_injected(record, each) for record in seen)
        seconds, _ = judge_bad(each, seen)
        return (
            f"{errors} visitors met an error before it was rolled back: "
            f"{seconds:.1f} s from first visitor to last error"
        )
    if not each.before:
        return each.act.why
    left = last_answer(seen, each.before)
    if each.act.words[0] != "rollback" or left is None or each.started is None:
        return f"{each.before_version} stays warm in {each.before}"
    how = "cold" if started_cold(each) else "warm"
    return (
        f"{how}: the last answer of {each.before_version} came "
        f"{left - each.started:.2f} s after the command began"
    )


def started_cold(each: Played) -> bool:
    return any(step.get("name") == "start-standby" for step in each.outcome.get("steps", ()))


def last_answer(seen: Iterable[Record], color: str) -> float | None:
    """When a color last answered a request that is answered at once."""
    answers = [r.finished for r in seen if r.version == color and r.traffic in QUICK]
    return max(answers, default=None)


def unsent_words(report: Report) -> tuple[str, ...]:
    """A word on requests that were due and never sent: the load was lighter than it was meant."""
    unsent = sum(report.unsent.values())
    if not unsent:
        return ()
    return (f"{unsent} more requests were due, and no client was free to send them",)


def count_words(records: Iterable[Record]) -> str:
    kinds = Counter(str(record.failure) for record in records)
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{kinds.total()} request{'s' * (kinds.total() != 1)} ({words})"


def words_of(versions: Iterable[str | None]) -> str:
    return " and ".join(sorted({version or "no color" for version in versions})) or "nowhere"


def last_line(summary: Summary) -> str:
    """The demo's last line; scripts read it."""
    if summary.problems:
        return f"demo: FAILED: {summary.problems[0]}"
    return (
        f"demo: ok, {summary.requests} requests, {summary.lost} failed during switches, "
        f"bad release rolled back in {summary.bad_seconds:.1f} s"
    )


def table_lines(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The closing table: for each act a line of figures and a line of explanation."""
    head = f"{'':<3}{'command':<22}{'result':<29}{'took':>7}{'requests':>10}{'failed':>8}"
    lines = [(head, "")]
    for number, each in enumerate(rows, 1):
        figures = (
            f"{number:<3}{each.title:<22}{each.result:<29}{each.seconds:>5.1f} s"
            f"{figure(each.requests):>10}{figure(each.lost):>8}"
        )
        lines.append((figures, f"   {each.note}"))
    return lines


def figure(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
