"""One record per request, kept in columns: a million of them is about 40 MB."""

from __future__ import annotations  # array[...] cannot be evaluated before Python 3.12

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Failure(StrEnum):
    """How a request failed; each failed request is exactly one of these."""

    REFUSED = "refused"  # nobody listened
    RESET = "reset"  # RST while connecting, sending or receiving
    EOF = "eof"  # FIN before the response's head was complete
    SHORT = "short"  # FIN within the body
    MALFORMED = "malformed"  # not a response whose end can be told
    TIMEOUT = "timeout"
    SERVER_ERROR = "5xx"
    STATUS = "status"  # any other status than the expected one
    CLIENT = "client"  # this machine could not send: no port or descriptor left


@dataclass(frozen=True)
class Record:
    """One request; times are seconds since the load started.

    `scheduled` is when it was due, `sent` when a client began it (connecting included).
    """

    traffic: str
    scheduled: float
    sent: float
    finished: float
    status: int | None
    failure: Failure | None
    version: str | None

    @property
    def latency(self) -> float:
        return self.finished - self.scheduled


_FAILURES = tuple(Failure)


@dataclass
class Log:
    """Records in the order in which they finished."""

    traffic: array[int] = field(default_factory=lambda: array("b"))
    scheduled: array[float] = field(default_factory=lambda: array("d"))
    sent: array[float] = field(default_factory=lambda: array("d"))
    finished: array[float] = field(default_factory=lambda: array("d"))
    status: array[int] = field(default_factory=lambda: array("h"))
    failure: array[int] = field(default_factory=lambda: array("b"))
    version: array[int] = field(default_factory=lambda: array("h"))
    names: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    failed: int = 0

    def __len__(self) -> int:
        return len(self.finished)

    def append(self, record: Record) -> None:
        self.traffic.append(_index(self.names, record.traffic))
        self.scheduled.append(record.scheduled)
        self.sent.append(record.sent)
        self.finished.append(record.finished)
        self.status.append(record.status or 0)
        self.failure.append(-1 if record.failure is None else _FAILURES.index(record.failure))
        self.version.append(-1 if record.version is None else _index(self.versions, record.version))
        self.failed += record.failure is not None

    def __getitem__(self, row: int) -> Record:
        failure, version = self.failure[row], self.version[row]
        return Record(
            traffic=self.names[self.traffic[row]],
            scheduled=self.scheduled[row],
            sent=self.sent[row],
            finished=self.finished[row],
            status=self.status[row] or None,
            failure=None if failure < 0 else _FAILURES[failure],
            version=None if version < 0 else self.versions[version],
        )

    def __iter__(self) -> Iterator[Record]:
        return (self[row] for row in range(len(self)))


def _index(names: list[str], name: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        names.append(name)
        return len(names) - 1
