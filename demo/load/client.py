"""One client: sends requests one after another, over kept connections or fresh ones.

What is a lost request, and what is not:
- A server may close an idle connection. A client that sees the close BEFORE it
  sends opens another connection; nothing was lost, since nothing was asked.
  Seeing means asking the kernel (MSG_PEEK) right before the first byte goes
  out, so that a close is not missed because this process was busy. Such closes
  are counted apart (`idle_closes`), by FIN and RST.
- Once the first byte was handed to the kernel there is no second attempt: a
  request without a whole response is a failure, also on a kept connection and
  also for GET. A close that crosses the request on its way is therefore lost.

Sockets are used directly, not asyncio's streams: those notice a close only when
the loop next polls, and turn some resets into an end of file.
"""

import asyncio
import errno
import socket
from collections import Counter
from dataclasses import dataclass

import h11

from demo.load.profile import Profile, Traffic
from demo.load.records import Failure
from demo.load.response import MalformedError, Response, ResponseReader

_PIECES = 40  # of a trickled body
_OUT_OF = {errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended."""

    sent: float
    finished: float
    status: int | None
    failure: Failure | None
    detail: str
    version: str | None


class BrokenError(Exception):
    """The request failed in the way named."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


class Client:
    """Sends one kind of traffic, one request at a time."""

    def __init__(
        self, host: str, port: int, traffic: Traffic, profile: Profile, idle_closes: Counter[str]
    ) -> None:
        self._address = (host, port)
        self._traffic = traffic
        self._profile = profile
        self._request = _request(host, port, traffic)
        self._body = b"x" * traffic.body
        self._idle_closes = idle_closes
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._served = 0

    async def exchange(self) -> Outcome:
        """Sends the request once, and says how that ended."""
        sent = self._loop.time()
        try:
            async with asyncio.timeout(self._traffic.timeout):
                response = await self._exchange()
            failure, detail = self._judge(response)
            self._keep_or_close(response)
            return self._outcome(sent, response, failure, detail)
        except BrokenError as error:
            failure, detail = error.failure, str(error)
        except MalformedError as error:
            failure, detail = Failure.MALFORMED, str(error)
        except OSError as error:
            failure, detail = _kind(error), str(error) or f"after {self._traffic.timeout} s"
        where = f"{detail}; {self._served} answered before on this connection"
        self.close()
        return self._outcome(sent, None, failure, where)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._served = None, 0

    async def _exchange(self) -> Response:
        if self._socket is None or not self._still_open(self._socket):
            self._socket = await self._connect()
        reader = ResponseReader(self._request)
        if self._traffic.trickle:
            await self._trickle(self._socket, reader)
        else:
            await self._loop.sock_sendall(self._socket, reader.head + self._body)
        return await self._receive(self._socket, reader)

    async def _connect(self) -> socket.socket:
        self.close()
        fresh = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            fresh.setblocking(False)
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(fresh, self._address)
        except BaseException:
            fresh.close()
            raise
        return fresh

    def _still_open(self, kept: socket.socket) -> bool:
        try:
            waiting = _peek(kept)
        except ConnectionResetError:
            self._idle_closes["reset"] += 1
            return False
        if waiting:
            raise BrokenError(Failure.MALFORMED, f"{waiting!r} came before the request was sent")
        if waiting is not None:
            self._idle_closes["eof"] += 1
        return waiting is None

    async def _trickle(self, connection: socket.socket, reader: ResponseReader) -> None:
        """Sends the body in pieces; any word from the server before the last one is a failure."""
        await self._loop.sock_sendall(connection, reader.head)
        size = -(-len(self._body) // _PIECES)
        pieces = [self._body[at : at + size] for at in range(0, len(self._body), size)]
        for piece in pieces:
            await asyncio.sleep(self._traffic.trickle / len(pieces))
            if (early := _peek(connection)) == b"":
                raise BrokenError(Failure.EOF, "FIN while the body was being sent")
            if early is not None:
                await self._answered_early(connection, reader)
            await self._loop.sock_sendall(connection, piece)

    async def _answered_early(self, connection: socket.socket, reader: ResponseReader) -> None:
        status = (await self._receive(connection, reader)).status
        kind = Failure.SERVER_ERROR if status >= 500 else Failure.STATUS
        raise BrokenError(kind, f"answered {status} while the body was being sent")

    async def _receive(self, connection: socket.socket, reader: ResponseReader) -> Response:
        size = 0
        while True:
            data = await self._loop.sock_recv(connection, 65_536)
            if not data:
                kind = Failure.SHORT if reader.in_body else Failure.EOF
                raise BrokenError(kind, f"FIN after {size} bytes of the response")
            size += len(data)
            if (response := reader.feed(data)) is not None:
                return response

    def _judge(self, response: Response) -> tuple[Failure | None, str]:
        status = response.status
        if status == self._traffic.expect:
            return None, ""
        kind = Failure.SERVER_ERROR if status >= 500 else Failure.STATUS
        return kind, f"{status}: {response.body[:120].decode('latin-1')}"

    def _keep_or_close(self, response: Response) -> None:
        self._served += 1
        if not (self._traffic.keepalive and response.reusable):
            self.close()

    def _outcome(
        self, sent: float, response: Response | None, failure: Failure | None, detail: str
    ) -> Outcome:
        status = version = None
        if response is not None:
            status, version = response.status, self._version(response)
        return Outcome(sent, self._loop.time(), status, failure, detail, version)

    def _version(self, response: Response) -> str | None:
        if self._profile.version_header:
            return response.header(self._profile.version_header)
        return response.field(self._profile.version_json) if self._profile.version_json else None


def _peek(connection: socket.socket) -> bytes | None:
    """What waits to be read: b"" is a FIN, None is nothing yet."""
    try:
        return connection.recv(16, socket.MSG_PEEK)
    except BlockingIOError:
        return None


def _kind(error: OSError) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED
    if error.errno in _OUT_OF:
        return Failure.CLIENT
    return Failure.RESET


def _request(host: str, port: int, traffic: Traffic) -> h11.Request:
    fields = {"host": f"{host}:{port}", "user-agent": "ondeploy-load"}
    if traffic.method == "POST":
        fields |= {"content-type": "text/plain", "content-length": str(traffic.body)}
    if not traffic.keepalive:
        fields["connection"] = "close"
    fields |= {name.lower(): value for name, value in traffic.headers}
    return h11.Request(method=traffic.method, target=traffic.path, headers=list(fields.items()))
