"""HTTP checks: httpx asks once, tenacity asks again; nothing here knows what an answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ondeploy.ports import Answer, Clock

if TYPE_CHECKING:
    import httpx

WAIT_SHARE = 0.02
SHORTEST_WAIT, LONGEST_WAIT = 0.01, 0.5
"""A wait is 2 % of the time waited so far, within these bounds (seconds): asking costs a release
at most 2 % of its own start, and a slow one is not asked thousands of times."""
BODY_LIMIT = 1_000_000


class HttpProber:
    """Asks on a fresh connection each time, never through a proxy, never following redirects."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def get(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> Answer:
        """One GET. A request that cannot be made is an answer too: status 0 and the problem."""
        import httpx  # noqa: PLC0415 - 50 ms that `invoke --list` need not pay

        started = self.clock.monotonic()
        body = bytearray()
        try:
            with self._client.stream("GET", url, timeout=timeout, headers=headers) as reply:
                for chunk in reply.iter_bytes():
                    body += chunk
                    if len(body) > BODY_LIMIT or self.clock.monotonic() - started > timeout:
                        break
        except httpx.HTTPError as error:
            words = str(error) or type(error).__name__
            return Answer(0, self.clock.monotonic() - started, problem=words)
        seconds = self.clock.monotonic() - started
        if seconds > timeout:  # httpx's own limit is for each read: a drip never reaches it
            return Answer(0, seconds, problem=f"no whole answer within {timeout:g} s")
        return Answer(reply.status_code, seconds, body.decode(errors="replace"), reply.headers)

    def until(self, problem: Callable[[], str], limit: float) -> str:
        """Ask until there is no problem, ever less often; the last problem after `limit` s."""
        import tenacity  # noqa: PLC0415

        started = self.clock.monotonic()

        def elapsed() -> float:
            return self.clock.monotonic() - started

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(bool),
            wait=lambda _: min(max(WAIT_SHARE * elapsed(), SHORTEST_WAIT), LONGEST_WAIT),
            stop=lambda _: elapsed() >= limit,
            sleep=self.clock.sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else "",
        )
        return str(retrying(problem))

    def prepare(self) -> None:
        """Load what the first request needs, while something else is being waited for."""
        import tenacity  # noqa: F401, PLC0415

        _ = self._client

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415

        # verify=False: what is asked is loopback or a container's address, by number, not a name
        # that a certificate could be for; the visitors' TLS is tested with the configuration.
        fresh = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(limits=fresh, verify=False, trust_env=False)
