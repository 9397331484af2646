"""Sends load from the command line and prints what became of it.

    python -m demo.load http://127.0.0.1:8080/api/version --seconds 10

Exit code 1 when any request failed.
"""

import argparse
import json
import sys
import time
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from demo.load.process import Load
from demo.load.profile import Profile, Traffic, steady
from demo.load.report import Report


def main() -> int:
    options = _parse()
    url = urlsplit(options.url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    console = Console(stderr=True)
    with Load(_profile(options, path), f"{url.scheme}://{url.netloc}") as load:
        try:
            _follow(load, console)
        except KeyboardInterrupt:
            console.print("stopping: waiting for the requests in flight")
        report = load.stop()
    if options.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        Console().print(_table(report), *_lines(report), sep="\n")
    return 1 if report.failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.load", description=__doc__)
    parser.add_argument("url", help="http://127.0.0.1:PORT/PATH")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rate", type=float, help="requests/s; default: as fast as answered")
    parser.add_argument("--post", type=int, metavar="BYTES", help="POST that many bytes")
    parser.add_argument("--fresh", action="store_true", help="a connection per request")
    parser.add_argument("--steady", action="store_true", help="the mixture of the demo")
    parser.add_argument("--version-header", default="X-Ondeploy-Version")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _profile(options: argparse.Namespace, path: str) -> Profile:
    if options.steady:
        return steady(options.seconds, version_header=options.version_header)
    traffic = Traffic(
        "load",
        path,
        "GET" if options.post is None else "POST",
        connections=options.connections,
        rate=options.rate,
        keepalive=not options.fresh,
        body=options.post or 0,
    )
    return Profile((traffic,), options.seconds, version_header=options.version_header)


def _follow(load: Load, console: Console) -> None:
    live = console.is_terminal
    while (now := load.snapshot()).running:
        time.sleep(0.25)
        if live:
            shares = "  ".join(f"{name} {share:.0f} %" for name, share in now.shares.items())
            line = f"{now.seconds:6.1f} s  {now.requests:>9,} requests  {now.failed:,} failed"
            console.print(f"{line}  {now.rps:7,.0f}/s  {shares}", end="\r", highlight=False)
    if live:
        console.print()


def _table(report: Report) -> Table:
    table = Table("traffic", *("requests", "failed", "unsent", "rps", "p50 ms", "p99 ms", "max ms"))
    for name, totals in report.totals().items():
        latency = report.latency(traffic=[name])
        milliseconds = [f"{1000 * t:.1f}" for t in (latency.p50, latency.p99, latency.max)]
        rps = f"{totals.requests / report.seconds:,.0f}"
        counts = [f"{n:,}" for n in (totals.requests, totals.failed, totals.unsent)]
        table.add_row(name, *counts, rps, *milliseconds)
    return table


def _lines(report: Report) -> list[str]:
    lines = [f"failed as {kind}: {count:,}" for kind, count in report.failures.items()]
    lines += [f"  {s.time:.3f} s {s.traffic}: {s.failure}: {s.detail}" for s in report.samples[:10]]
    lines += [
        f"version {name}: {seen.count:,} answers from {seen.first:.3f} s to {seen.last:.3f} s"
        for name, seen in report.versions().items()
    ]
    closes = ", ".join(f"{count:,} by {kind}" for kind, count in report.idle_closes.items())
    return [*lines, f"idle connections closed by the server: {closes or 'none'}"]


if __name__ == "__main__":
    sys.exit(main())
