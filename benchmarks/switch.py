"""A release and a rollback, side by side with what a user has today: `./inv bench`.

Every contender releases the same two images of the reference app (2 s from process start to ready)
under the same open-loop load, in turns within one run on one machine, so that noise hits all alike.
Lost = every request without a complete, right answer. Full = from the command's start to the last
request that the version aimed at did not answer. Ratios and differences count; absolute times are
this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.rivals import GuideScript, Recreate, Reference, Rival, sh, wait_healthy
from demo.engine import ensure_engine
from demo.images import ensure_images
from demo.load import Load, Profile, Report, Traffic

ROOT = Path(__file__).resolve().parent.parent
INVOKE = str(Path(sys.executable).parent / "invoke")
STARTUP_SECONDS = "2"
STEADY = 3.0
"""Seconds of load before and after each command."""
PORTS = {
    "HTTP_PORT": "18191",
    "HTTPS_PORT": "18192",
    "CONTROL_PORT": "18193",
    "PROMETHEUS_PORT": "18194",
}


@dataclass(frozen=True)
class Sample:
    """One command under load; seconds, requests and ratios."""

    contender: str
    command: str
    lost: int
    requests: int
    seconds: float
    full: float
    p99_ratio: float
    start_to_ready: float | None = None


class Ondeploy:
    """`invoke deploy` and `invoke rollback`, as a user runs them."""

    name = "ondeploy"
    warm = True

    def __init__(self, variables: Mapping[str, str], images: Mapping[str, str]) -> None:
        self.images = images
        self.url = f"http://127.0.0.1:{PORTS['HTTP_PORT']}"
        short = {"BAKE_MINUTES": "0.001", "BAKE_DEADLINE_MINUTES": "1"}
        self.environ = {**os.environ, **variables, **PORTS, **short, "ONDEPLOY_PROJECT": "bench"}

    def start(self) -> None:
        """v1 takes the traffic, as after any number of releases."""
        status = json.loads(self.invoke("status", "--json"))
        color = status["colors"].get(status["active"] or "")
        if not color or color["version"] != "v1":
            self.release("v1", load=False)

    def deploy(self) -> None:
        self.release("v2", load=True)

    def release(self, version: str, *, load: bool) -> None:
        # A first release, or one without load to judge, has nothing to bake on.
        self.invoke("deploy", "--version", version, "--image", self.images[version])
        assert load or version == "v1"

    def rollback(self) -> None:
        self.invoke("rollback")

    def stop(self) -> None:
        """It stays up between rounds."""

    def down(self) -> None:
        for color in ("blue", "green"):
            subprocess.run(["docker", "compose", "-p", f"bench-{color}", "down"], check=False)
        file = str(ROOT / "deployment" / "docker-compose.prod.yml")
        sh("docker", "compose", "-p", "bench", "-f", file, "down", "--volumes", "--timeout=2")

    def invoke(self, *words: str) -> str:
        done = subprocess.run(
            [INVOKE, *words, "--env", "demo"],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]}: {done.stdout}{done.stderr}")
        return done.stdout


def measure(contender: Rival | Ondeploy, command: str, aim: str) -> Sample:
    """Run one command under load; `aim` is the version that it brings."""
    with Load(profile(), contender.url) as load:
        time.sleep(STEADY)
        begun = load.mark("begin")
        ready = contender.deploy() if command == "deploy" else contender.rollback()
        ended = load.mark("end")
        time.sleep(STEADY)
        report = load.stop()
    return sample(report, contender.name, command, aim, begun, ended, ready)


def profile() -> Profile:
    """200 requests/s kept alive, 100 on fresh connections, a few that take 0.8 s."""
    return Profile(
        (
            Traffic("keepalive", "/api/version", connections=32, rate=200),
            Traffic("fresh", "/api/version", connections=32, rate=100, keepalive=False),
            Traffic("long", "/api/slow?seconds=0.8", connections=16, rate=6),
        ),
        seconds=120,
        version_json="version",
    )


def sample(
    report: Report,
    name: str,
    command: str,
    aim: str,
    begun: float,
    ended: float,
    ready: float | None,
) -> Sample:
    quick = ("keepalive", "fresh")
    other = [r for r in report.select(begun, traffic=quick) if r.version != aim.removeprefix("v")]
    last = max((record.finished for record in other), default=begun)
    steady = report.latency(1.0, begun, quick).p99
    during = report.latency(begun, max(ended, last), quick).p99
    return Sample(
        contender=name,
        command=command,
        lost=report.failed,
        requests=report.requests,
        seconds=round(ended - begun, 3),
        full=round(last - begun, 3),
        p99_ratio=round(during / steady, 2),
        start_to_ready=ready,
    )


def run(rounds: int) -> list[Sample]:
    ensure_engine(print)
    variables = ensure_images(print)
    images = {**build_images(variables), "nginx": variables["NGINX_IMAGE"]}
    ours = Ondeploy(variables, images)
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        rivals = [
            kind(Path(folder) / kind.name, images) for kind in (Recreate, GuideScript, Reference)
        ]
        try:
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", flush=True)
                for contender in (*rivals, ours):
                    samples += one_turn(contender)
        finally:
            for rival in rivals:
                rival.stop()
            ours.down()
    return samples


def one_turn(contender: Rival | Ondeploy) -> list[Sample]:
    contender.start()
    wait_healthy(contender.url.removeprefix("http://"))
    found = [measure(contender, "deploy", "v2")]
    if contender.warm:
        found.append(measure(contender, "rollback", "v1"))
    contender.stop()
    for entry in found:
        print(f"  {entry}", flush=True)
    return found


def build_images(variables: Mapping[str, str]) -> dict[str, str]:
    """The reference app twice, with nothing but the version between them."""
    images = {}
    for version in ("v1", "v2"):
        images[version] = f"ondeploy-bench/app:{version}"
        arguments = {
            "VERSION": version,
            "STARTUP_SECONDS": STARTUP_SECONDS,
            "PYTHON_IMAGE": variables["PYTHON_IMAGE"],
        }
        words = [word for pair in arguments.items() for word in ("--build-arg", "=".join(pair))]
        bundle = variables.get("CA_BUNDLE", "/dev/null")
        secret = f"--secret=id=ca_bundle,src={bundle}"
        context = str(ROOT / "deployment" / "app")
        sh("docker", "buildx", "build", "--load", secret, *words, "--tag", images[version], context)
    return images


def table(samples: list[Sample]) -> str:
    """Median [least-most] of every contender and command."""
    lines = [
        "contender  command   lost            command, s          full, s             p99 ratio"
    ]
    for name, command in dict.fromkeys((s.contender, s.command) for s in samples):
        mine = [s for s in samples if (s.contender, s.command) == (name, command)]
        cells = [
            spread([getattr(s, key) for s in mine])
            for key in ("lost", "seconds", "full", "p99_ratio")
        ]
        lines.append(
            f"{name:<10} {command:<9} {cells[0]:<15} {cells[1]:<19} {cells[2]:<19} {cells[3]}"
        )
    ready = [s.start_to_ready for s in samples if s.start_to_ready is not None]
    ours = [s.full for s in samples if (s.contender, s.command) == ("ondeploy", "deploy")]
    back = [s.full for s in samples if (s.contender, s.command) == ("ondeploy", "rollback")]
    if ready and ours and back:
        lines += [
            "",
            f"the app's own start-to-ready, as the bare reference sees it: {median(ready):.2f} s",
            "ondeploy, full on the new version: start-to-ready "
            f"+ {median(ours) - median(ready):.2f} s (target + 0.6, Kamal + 3.0)",
            f"ondeploy, warm rollback: {median(back):.2f} s (target 0.6, Kamal 4.84)",
        ]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{median(values):g} [{min(values):g}-{max(values):g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write every sample here")
    options = parser.parse_args()
    samples = run(options.rounds)
    print("\n" + table(samples))
    if options.json:
        options.json.write_text(json.dumps([asdict(s) for s in samples], indent=2))


if __name__ == "__main__":
    main()
