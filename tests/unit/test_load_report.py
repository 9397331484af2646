"""What a report says about given records, and how strictly responses are read."""

import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.load import Failure, FailureSample, Profile, Record, Report, Traffic
from demo.load.records import Log
from demo.load.report import shares, summarise
from demo.load.response import MalformedError, Response, ResponseReader

pytestmark = pytest.mark.unit


def record(
    finished: float,
    version: str | None = "v1",
    *,
    failure: Failure | None = None,
    traffic: str = "get",
    took: float = 0.01,
) -> Record:
    status = 200 if failure is None else None
    start = finished - took
    return Record(traffic, start, start, finished, status, failure, version)


def report(*records: Record) -> Report:
    log = Log()
    for each in records:
        log.append(each)
    return Report(started_at=0.0, seconds=10.0, log=log)


def test_log_gives_back_what_was_put_in() -> None:
    """The columns lose nothing."""
    records = [record(1.0), record(2.0, None, failure=Failure.EOF, traffic="post")]
    assert list(report(*records).log) == records


def test_failures_are_counted_by_kind_and_by_traffic() -> None:
    """Totals and kinds agree with the records."""
    told = report(
        record(1), record(2, None, failure=Failure.EOF), record(3, None, failure=Failure.EOF)
    )
    assert (told.requests, told.failed, told.failures) == (3, 2, {"eof": 2})
    assert told.totals()["get"].failed == 2
    assert told.failures_between(2.5) == {"eof": 1}


def test_traffic_that_never_finished_a_request_is_in_the_totals() -> None:
    """Nothing sent shows as zero requests, not as an absent row."""
    told = Report(started_at=0.0, seconds=1.0, log=Log(), unsent={"get": 7})
    assert told.totals()["get"].unsent == 7


def test_versions_by_first_and_last_answer() -> None:
    """Kinds of traffic can be left out, such as long requests begun on the previous version."""
    told = report(record(1), record(2), record(3, "v2"), record(6, traffic="long", took=5))
    assert told.versions()["v1"].last == 6
    assert told.versions(["get"])["v1"].last == 2
    assert told.versions(["get"])["v2"].first == 3
    assert told.versions()["v1"].last_sent == pytest.approx(1.99)


def test_latency_of_a_window() -> None:
    """Only requests that finished in it count."""
    told = report(record(1, took=0.5), record(2, took=0.1), record(3, took=0.2))
    assert told.latency(2).max == pytest.approx(0.2)
    assert told.latency(2).count == 2
    assert told.latency(50).count == 0


@given(st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_are_ordered_members(latencies: list[float]) -> None:
    """Nearest rank: every percentile is one of the values."""
    found = summarise(latencies)
    assert found.p50 <= found.p90 <= found.p99 <= found.max == max(latencies)
    assert {found.p50, found.p90, found.p99} <= set(latencies)


def test_timeline_buckets() -> None:
    """Requests fall into the stretch in which they finished."""
    told = report(record(0.1), record(0.2, "v2"), record(1.1, None, failure=Failure.RESET))
    first, second = told.timeline(0.5)
    assert (first.start, first.requests, first.versions) == (0.0, 2, {"v1": 1, "v2": 1})
    assert (second.start, second.failed) == (1.0, 1)


def test_shares_of_recent_answers() -> None:
    """Percent per version; failures without one are left out."""
    log = report(record(1), record(2), record(3, "v2"), record(4, None)).log
    assert shares(log, 1) == {"v1": 50.0, "v2": 50.0}
    assert shares(log, 3) == {}


def test_report_is_json() -> None:
    """The whole of it can be written and read."""
    told = report(record(1), record(2, None, failure=Failure.EOF))
    sample = FailureSample(2.0, Failure.EOF, "get", "FIN")
    told = Report(0.0, 10.0, told.log, {"switch": 1.5}, (sample,), {"eof": 1})
    read = json.loads(json.dumps(told.to_dict()))
    assert read["samples"][0]["failure"] == "eof"
    assert read["marks"] == {"switch": 1.5}


@pytest.mark.parametrize(
    "wrong",
    [{"connections": 0}, {"rate": 0}, {"trickle": 3.0}, {"trickle": 30.0, "body": 9}],
)
def test_senseless_traffic_is_refused(wrong: dict[str, float]) -> None:
    """A load that would send nothing must not look like one without failures."""
    with pytest.raises(ValueError, match="odd"):
        Traffic("odd", **wrong)  # type: ignore[arg-type]


def test_traffic_names_are_distinct() -> None:
    """Counts of two kinds must not run together."""
    with pytest.raises(ValueError, match="distinct"):
        Profile((Traffic("get"), Traffic("get")))


REQUEST = h11.Request(method="GET", target="/", headers=[("host", "x")])
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-V: v1\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


def read(*pieces: bytes) -> Response | None:
    reader, answer = ResponseReader(REQUEST), None
    for piece in pieces:
        assert answer is None
        answer = reader.feed(piece)
    return answer


@given(st.sampled_from([SIZED, CHUNKED, EARLY_HINTS + SIZED]), st.data())
def test_response_in_any_pieces(raw: bytes, data: st.DataObject) -> None:
    """However it is cut, the body is the same, and nothing less than all of it is whole."""
    cut = data.draw(st.integers(1, len(raw) - 1))
    whole = read(raw[:cut], raw[cut:])
    assert whole is not None
    assert (whole.status, whole.body) == (200, b"hello")
    assert read(raw[:cut]) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"hello\r\n\r\n",
        SIZED + b"!",
        SIZED + SIZED,
        CHUNKED.replace(b"3\r\n", b"2\r\n"),
    ],
)
def test_doubtful_responses_are_malformed(raw: bytes) -> None:
    """Nothing is accepted whose end could be told in two ways, or not at all."""
    with pytest.raises(MalformedError):
        read(raw)


@pytest.mark.parametrize(
    ("raw", "reusable"),
    [
        (SIZED, True),
        (SIZED.replace(b"X-V: v1", b"Connection: close"), False),
        (SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_whether_the_connection_may_be_used_again(raw: bytes, reusable: bool) -> None:
    """As the server announced it."""
    whole = read(raw)
    assert whole is not None
    assert whole.reusable is reusable


def test_version_from_header_or_json() -> None:
    """A missing version is None, never an error."""
    body = b'{"build": {"version": "v2"}}'
    whole = read(b"HTTP/1.1 200 OK\r\nX-V: v1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert whole is not None
    assert whole.header("x-v") == "v1"
    assert whole.header("other") is None
    assert whole.field("build.version") == "v2"
    assert whole.field("build.date") is None
    plain = read(SIZED)
    assert plain is not None
    assert plain.field("version") is None
