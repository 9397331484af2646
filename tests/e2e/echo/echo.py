"""A small app for the stories: says back what it was asked, and which replica of which version."""

import json
import os
import signal
import socket
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "dev").removeprefix("v")
COUNTER = 'http_requests_total{{version="{version}",status="200"}} {count}\n'
counted: Counter[str] = Counter()


class Echo(BaseHTTPRequestHandler):
    """Answers every path with 200."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size, left = 0, int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            size, left = size + len(piece), left - len(piece)
        if self.path == "/metrics":
            body = COUNTER.format(version=VERSION, count=counted["200"])
        else:
            counted["200"] += self.path not in ("/health", "/ready")
            body = json.dumps(
                {
                    "version": VERSION,
                    "replica": socket.gethostname(),
                    "path": self.path,
                    "bytes": size,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                }
            )
        self.send_response(200)
        self.send_header(
            "Content-Type", "text/plain" if self.path == "/metrics" else "application/json"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Keep silent."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if sys.argv[1:] == ["worker"]:
        threading.Event().wait()
    Server(("", 8000), Echo).serve_forever()
