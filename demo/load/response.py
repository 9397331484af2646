"""Reads one response with h11, and accepts none whose end is in doubt.

Stricter than the RFC in one point: a body that ends with the connection is
malformed, since its end cannot be told from a cut.
"""

import json
from dataclasses import dataclass

import h11


class MalformedError(Exception):
    """The bytes are not a response whose end can be told."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response; `reusable` says whether the connection may carry another."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    reusable: bool

    def header(self, name: str) -> str | None:
        value = self.headers.get(name.lower().encode())
        return None if value is None else value.decode("latin-1")

    def field(self, path: str) -> str | None:
        """What a JSON body holds at a dotted path; None where there is nothing."""
        try:
            found = json.loads(self.body)
            for key in path.split("."):
                found = found[key]
        except (ValueError, KeyError, TypeError):
            return None
        return str(found)


class ResponseReader:
    """The answer to one request: feed it what arrives until it returns the response.

    `head` is the request line and fields to send first.
    """

    def __init__(self, request: h11.Request) -> None:
        self._parser = h11.Connection(h11.CLIENT)
        self.head = self._parser.send(request)
        self._start: h11.Response | None = None
        self._body = bytearray()

    @property
    def in_body(self) -> bool:
        return self._start is not None

    def feed(self, data: bytes) -> Response | None:
        try:
            self._parser.receive_data(data)
            while True:
                event = self._parser.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return None
                if isinstance(event, h11.Response):
                    self._start = _with_certain_end(event)
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return self._whole()
        except h11.RemoteProtocolError as error:
            raise MalformedError(str(error)) from error

    def _whole(self) -> Response:
        assert self._start is not None
        if rest := self._parser.trailing_data[0]:
            raise MalformedError(f"{len(rest)} bytes after the response")
        headers = dict(self._start.headers)
        reusable = self._parser.their_state is h11.DONE
        return Response(self._start.status_code, headers, bytes(self._body), reusable)


def _with_certain_end(start: h11.Response) -> h11.Response:
    names = {name for name, _ in start.headers}
    if names.isdisjoint({b"content-length", b"transfer-encoding"}) and start.status_code not in (
        204,
        304,
    ):
        raise MalformedError("neither Content-Length nor chunks: its end could not be told")
    return start
