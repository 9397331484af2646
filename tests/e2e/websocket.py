"""A websocket client of one screen: opens, sends a text, reads one (RFC 6455)."""

from __future__ import annotations

import base64
import os
import socket
from typing import Self


class Websocket:
    """An open websocket to 127.0.0.1; short text messages only."""

    def __init__(self, port: int, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        status, *lines = head.decode().splitlines()
        assert " 101 " in status, head
        self.headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)

    def echo(self, text: str) -> str:
        """Send a text message and read the one that comes back."""
        payload, mask = text.encode(), os.urandom(4)
        assert len(payload) < 126
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)
        kind, size = self._read(2)
        assert (kind, size < 126) == (0x81, True), (kind, size)
        return self._read(size).decode()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the connection was closed"
            data += piece
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
