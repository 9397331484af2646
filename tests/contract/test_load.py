"""The load generator against servers that break in one known way each."""

import asyncio
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from demo.load import Failure, Load, Profile, Traffic
from demo.load.client import Client, Outcome

pytestmark = pytest.mark.contract

Handler = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Version: v1\r\n\r\nok"


@contextmanager
def server(*handlers: Handler) -> Iterator[int]:
    """Gives the n-th connection to the n-th handler, the last one to all that follow."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        for number in range(1_000_000):
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            handler = handlers[min(number, len(handlers) - 1)]
            threading.Thread(target=_handle, args=(handler, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with closing(listener):
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _handle(handler: Handler, connection: socket.socket) -> None:
    with closing(connection), suppress(ConnectionError):  # the client may be gone
        handler(connection)


def answering(*answers: bytes) -> Handler:
    """Sends one answer per request, then a FIN."""

    def handle(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(65_536)
            connection.sendall(answer)

    return handle


def forever(connection: socket.socket) -> None:
    while connection.recv(65_536):
        connection.sendall(OK)


def resetting(answer: bytes) -> Handler:
    """Sends the answer, then an RST."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)
        time.sleep(0.05)
        reset(connection)

    return handle


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closing_on_the_second(connection: socket.socket) -> None:
    """A FIN that crosses the request: all of it is read, none of it answered."""
    connection.recv(65_536)
    connection.sendall(OK)
    connection.recv(65_536)


def stalling(connection: socket.socket) -> None:
    connection.recv(65_536)
    time.sleep(2)


def send(
    port: int, traffic: Traffic, times: int = 1, version_header: str = "X-Version"
) -> tuple[list[Outcome], Counter[str]]:
    """The outcomes of requests one after another.

    Between them the loop is blocked, so that only the kernel knows what came in.
    """

    async def scenario() -> list[Outcome]:
        profile = Profile((traffic,), version_header=version_header)
        client = Client("127.0.0.1", port, traffic, profile, closes)
        outcomes = []
        for _ in range(times):
            outcomes.append(await client.exchange())
            time.sleep(0.15)
        client.close()
        return outcomes

    closes: Counter[str] = Counter()
    return asyncio.run(scenario()), closes


GET = Traffic("get", timeout=0.5)
BROKEN: dict[str, tuple[Handler, Failure]] = {
    "FIN before the response": (answering(b""), Failure.EOF),
    "FIN within the head": (answering(OK[:20]), Failure.EOF),
    "FIN within the body": (answering(OK[:-1]), Failure.SHORT),
    "FIN within a chunk": (
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        Failure.SHORT,
    ),
    "RST before the response": (resetting(b""), Failure.RESET),
    "RST within the head": (resetting(OK[:20]), Failure.RESET),
    "RST within the body": (resetting(OK[:-1]), Failure.RESET),
    "stall before the response": (stalling, Failure.TIMEOUT),
    "body without an end": (answering(b"HTTP/1.1 200 OK\r\n\r\nok"), Failure.MALFORMED),
    "not HTTP": (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), Failure.MALFORMED),
    "bytes after the response": (answering(OK + b"x"), Failure.MALFORMED),
    "502": (answering(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"), Failure.SERVER_ERROR),
    "404": (answering(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), Failure.STATUS),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_way_to_break_is_told_apart(name: str) -> None:
    """A broken answer is one failure of its own kind, and is not tried again."""
    handler, failure = BROKEN[name]
    with server(handler, forever) as port:
        outcomes, _ = send(port, GET)
    assert [outcome.failure for outcome in outcomes] == [failure], outcomes


def test_refused() -> None:
    """Nobody listens."""
    with server(forever) as port:
        pass
    outcomes, _ = send(port, GET)
    assert outcomes[0].failure is Failure.REFUSED


def test_connection_is_kept_between_requests() -> None:
    """Three requests use one connection: the second handler would break them."""
    with server(forever, answering(b"")) as port:
        outcomes, closes = send(port, GET, times=3)
    assert [(o.failure, o.status, o.version) for o in outcomes] == [(None, 200, "v1")] * 3
    assert not closes


def test_idle_close_seen_before_sending_is_no_failure() -> None:
    """A FIN on an idle connection leads to a new connection, without a lost request."""
    with server(answering(OK), forever) as port:
        outcomes, closes = send(port, GET, times=3)
    assert [outcome.failure for outcome in outcomes] == [None] * 3
    assert closes == {"eof": 1}


def test_idle_reset_seen_before_sending_is_no_failure() -> None:
    """The same for an RST, counted apart."""
    with server(resetting(OK), forever) as port:
        outcomes, closes = send(port, GET, times=2)
    assert [outcome.failure for outcome in outcomes] == [None] * 2
    assert closes == {"reset": 1}


def test_close_that_crosses_the_request_is_a_failure() -> None:
    """Once sent, a request on a kept connection is lost when the server closes."""
    with server(closing_on_the_second, forever) as port:
        outcomes, closes = send(port, GET, times=3)
    assert [outcome.failure for outcome in outcomes] == [None, Failure.EOF, None]
    assert "1 answered before" in outcomes[1].detail
    assert not closes


def test_unasked_bytes_on_an_idle_connection_are_malformed() -> None:
    """They cannot be the answer to a request that was not sent yet."""

    def chatty(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK)
        time.sleep(0.05)
        connection.sendall(OK)
        time.sleep(1)

    with server(chatty, forever) as port:
        outcomes, _ = send(port, GET, times=2)
    assert [outcome.failure for outcome in outcomes] == [None, Failure.MALFORMED]


def test_announced_close_is_obeyed() -> None:
    """After `Connection: close` the next request goes on a new connection."""
    last = OK.replace(b"X-Version", b"Connection: close\r\nX-Version")
    with server(answering(last, b""), forever) as port:
        outcomes, closes = send(port, GET, times=2)
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert not closes


def test_fresh_connection_per_request() -> None:
    """Without keepalive every request has its own connection and says so."""
    heads: list[bytes] = []

    def once(connection: socket.socket) -> None:
        heads.append(connection.recv(65_536))
        connection.sendall(OK)

    with server(once) as port:
        outcomes, closes = send(port, Traffic("fresh", keepalive=False), times=3)
    assert [outcome.failure for outcome in outcomes] == [None] * 3
    assert len(heads) == 3
    assert all(b"connection: close" in head for head in heads)
    assert not closes


UPLOAD = Traffic("upload", method="POST", body=400, trickle=0.4, timeout=2)


def test_slow_upload_is_sent_whole_and_slowly() -> None:
    """Every byte arrives, over about the time asked for."""
    received = bytearray()

    def whole(connection: socket.socket) -> None:
        while len(received.partition(b"\r\n\r\n")[2]) < UPLOAD.body:
            received.extend(connection.recv(65_536))
        connection.sendall(OK)

    with server(whole) as port:
        start = time.monotonic()
        outcomes, _ = send(port, UPLOAD)
        took = outcomes[0].finished - start
    assert outcomes[0].failure is None, outcomes
    assert received.endswith(b"x" * UPLOAD.body)
    assert 0.35 < took < 1


@pytest.mark.parametrize(
    ("handler", "failure"),
    [
        (answering(b""), Failure.EOF),
        (resetting(b""), Failure.RESET),
        (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), Failure.MALFORMED),
        (
            answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
            Failure.SERVER_ERROR,
        ),
        (answering(OK), Failure.STATUS),
    ],
)
def test_upload_broken_off_by_the_server(handler: Handler, failure: Failure) -> None:
    """Whatever the server says before the body is complete, the upload failed."""
    with server(handler) as port:
        outcomes, _ = send(port, UPLOAD)
    assert outcomes[0].failure is failure, outcomes


def test_load_counts_every_request_of_every_kind() -> None:
    """A closed and an open loop at once, in another process, with marks and versions."""
    traffic = (
        Traffic("closed", connections=2, think=0.01),
        Traffic("open", connections=4, rate=100),
        Traffic("fresh", rate=20, keepalive=False),
    )
    profile = Profile(traffic, seconds=30, version_header="X-Version")
    with server(forever) as port, Load(profile, f"http://127.0.0.1:{port}") as load:
        time.sleep(0.5)
        mark = load.mark("half")
        time.sleep(0.5)
        live = load.snapshot()
        report = load.stop()
    assert live.running
    assert live.shares == {"v1": 100.0}
    assert 0 < live.requests <= report.requests
    assert report.failed == 0
    assert report.marks == {"half": mark}
    assert 90 <= report.totals()["open"].requests <= 115
    assert report.versions()["v1"].count == report.requests


def test_load_ends_by_itself_and_says_so() -> None:
    """The bound on time holds without anybody saying stop."""
    profile = Profile((Traffic("get", rate=50),), seconds=0.3)
    with server(forever) as port, Load(profile, f"http://127.0.0.1:{port}") as load:
        time.sleep(0.8)
        assert not load.snapshot().running
        report = load.stop()
    assert report.seconds == pytest.approx(0.3, abs=0.15)
    assert 10 <= report.requests <= 16


def test_load_ends_after_the_asked_count() -> None:
    """The bound on count holds, give or take the requests in flight."""
    profile = Profile((Traffic("get", connections=2),), max_requests=100)
    with server(forever) as port, Load(profile, f"http://127.0.0.1:{port}") as load:
        time.sleep(0.5)
        report = load.stop()
    assert 100 <= report.requests <= 101


def test_stop_waits_for_requests_in_flight() -> None:
    """A request that was sent is in the report, however it ends."""

    def slow(connection: socket.socket) -> None:
        connection.recv(65_536)
        time.sleep(1)
        connection.sendall(OK)

    profile = Profile((Traffic("slow"),))
    with server(slow) as port, Load(profile, f"http://127.0.0.1:{port}") as load:
        time.sleep(0.2)
        report = load.stop()
    assert [record.failure for record in report.log] == [None]


def test_open_loop_latency_counts_from_the_scheduled_time() -> None:
    """A stall is felt by all that was due during it, and what was never sent is told."""

    def stalls_once(connection: socket.socket) -> None:
        connection.recv(65_536)
        time.sleep(0.5)
        connection.sendall(OK)
        forever(connection)

    profile = Profile((Traffic("get", rate=100, connections=1),))
    with server(stalls_once) as port, Load(profile, f"http://127.0.0.1:{port}") as load:
        time.sleep(0.3)
        unanswered = load.snapshot().requests
        time.sleep(0.7)
        report = load.stop()
    late = [record for record in report.log if record.latency > 0.1]
    assert unanswered == 0
    assert 30 <= len(late) <= 50

    with server(stalling) as port, Load(profile, f"http://127.0.0.1:{port}") as load:
        time.sleep(0.8)
        report = load.stop()
    assert report.totals()["get"].unsent > 50


@pytest.mark.parametrize(
    "url", ["http://example.com", "http://localhost:1", "https://127.0.0.1", "http://0.0.0.0"]
)
def test_other_hosts_are_refused(url: str) -> None:
    """Load goes to this machine only."""
    with pytest.raises(ValueError, match=r"127\.0\.0\.1"):
        Load(Profile((Traffic("get"),)), url)


def test_a_dead_generator_is_told() -> None:
    """A killed load process is an error, never an empty report."""
    with server(forever) as port:
        load = Load(Profile((Traffic("get", think=0.1),)), f"http://127.0.0.1:{port}").start()
        load._process.kill()
        with pytest.raises(RuntimeError, match="did not answer"):
            load.stop()
