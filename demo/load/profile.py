"""What load to send: kinds of traffic, their pace, and where the version is read."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Traffic:
    """One kind of request, sent by `connections` clients of its own.

    Without `rate` each client sends its next request `think` seconds after the
    previous answer (closed loop). With `rate` the clients share one timetable of
    that many requests a second (open loop): when all are busy a request is sent
    late, and its latency still counts from the time it was due.
    """

    name: str
    path: str = "/"
    method: Literal["GET", "POST"] = "GET"
    connections: int = 1
    rate: float | None = None
    think: float = 0.0
    keepalive: bool = True
    body: int = 0
    trickle: float = 0.0  # seconds over which the body is sent
    expect: int = 200
    timeout: float = 10.0
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.connections < 1 or (self.rate is not None and self.rate <= 0):
            raise ValueError(f"{self.name}: connections and rate must be positive")
        if self.trickle and (not self.body or self.trickle >= self.timeout):
            raise ValueError(f"{self.name}: a trickled upload needs a body and a longer timeout")


@dataclass(frozen=True)
class Profile:
    """All traffic sent at once, and the bounds that end it.

    The answering version is read from a response header or, given a dotted path
    such as `build.version`, from a JSON body; with neither it is not recorded.
    """

    traffic: tuple[Traffic, ...]
    seconds: float = 600.0
    max_requests: int = 2_000_000
    version_header: str | None = None
    version_json: str | None = None

    def __post_init__(self) -> None:
        names = [traffic.name for traffic in self.traffic]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"traffic needs distinct names, got {names}")

    @property
    def longest_timeout(self) -> float:
        return max(traffic.timeout for traffic in self.traffic)


def steady(
    seconds: float,
    *,
    scale: float = 1.0,
    version_header: str | None = None,
    get: str = "/api/ontologies",
    post: str = "/api/ontologies/go/verify",
    slow: str = "/api/slow?seconds=6",
) -> Profile:
    """A steady open-loop mixture: each way in which a release can lose a request."""
    traffic = (
        Traffic("keepalive-get", get, connections=16, rate=200 * scale),
        Traffic("keepalive-post", post, "POST", connections=16, rate=100 * scale, body=512),
        Traffic("fresh-get", get, connections=8, rate=50 * scale, keepalive=False),
        Traffic("long", slow, connections=4, timeout=20),
        Traffic("upload", post, "POST", connections=4, body=4096, trickle=6, timeout=20),
    )
    return Profile(traffic, seconds=seconds, version_header=version_header)


def address(base_url: str) -> tuple[str, int]:
    """The host and port of `base_url`; anything but plain HTTP to 127.0.0.1 is refused."""
    url = urlsplit(base_url)
    if url.scheme != "http" or url.hostname != "127.0.0.1" or url.path not in ("", "/"):
        raise ValueError(f"load is sent to http://127.0.0.1:PORT only, not to {base_url}")
    return url.hostname, url.port or 80
