"""nginx: a configuration is tested whole, installed atomically, and believed only when served.

One folder per generation on the state volume; `current` is a symlink to one of them. A reload that
nginx does not apply (a busy port, a changed limit key: both pass `nginx -t`) is noticed because the
generation that nginx serves does not change; then the symlink goes back to what is live.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ondeploy.colors import STATE_TARGET
from ondeploy.errors import EngineError, LeaseLost, RouterRefused
from ondeploy.model import Color, RouterState, Weights
from ondeploy.ports import Clock, Prober
from ondeploy.render import PID_FILE, Sources, read_sources, render, state
from ondeploy.settings import Settings
from ondeploy.volume import StateVolume

SEAMLESS_SINCE = (1, 27, 4)
CONFIRM_HITS = 5
CONFIRM_GAP = 0.05
CONFIRM_SECONDS = 10.0
"""Old workers answer fresh connections for ~0.1 s after a reload (measured): five hits in a row,
50 ms apart, mean that they are done."""

MOVED, LOST = 76, 74

LOOK = """
nginx -v 2>&1 | sed -n 's/.*nginx\\/\\([0-9.]*\\).*/version \\1/p'
echo "current $(readlink current 2>/dev/null)"
ls generations 2>/dev/null | sort -n | tail -n 1 | sed 's/^/highest /'
[ -f current/certs/cert.pem ] && echo certs yes
exit 0
"""

STAGE = """
rm -rf generations/{n} && mkdir -p generations/{n}/certs flags || exit 1
chmod 700 generations/{n}/certs
{certs}
printf '%s' {config} > generations/{n}/nginx.conf || exit 1
printf '%s\\n' {state} > generations/{n}/state.json
"""

ACTIVATE = """
read -r id ttl < lease 2>/dev/null; [ "$id" = {lease} ] || exit {lost}
[ "$(readlink current)" = {expected} ] || exit {moved}
ln -sfn generations/{n} .current && mv -T .current current || exit 1
{flags}
printf '%s\\n' {active} > .lb-config && mv .lb-config lb-config.txt
{reload}
"""

RESTORE = """
ln -sfn {expected} .current && mv -T .current current
{reload}
"""

DRAINING = """
for p in /proc/[0-9]*/cmdline; do
  tr '\\0' ' ' < "$p" 2>/dev/null; echo
done | grep -c '[s]hutting down'
exit 0
"""

RELOAD = f'kill -HUP "$(cat {PID_FILE})"'


@dataclass(frozen=True)
class Disk:
    """What the state volume and the nginx binary say."""

    version: tuple[int, ...]
    current: str
    """The target of the symlink, as generations/12; "" before the first."""
    highest: int
    tls: bool

    @property
    def intended(self) -> int:
        return int(self.current.rpartition("/")[2] or 0)

    @property
    def seamless(self) -> bool:
        return self.version >= SEAMLESS_SINCE


class NginxRouter:
    """The nginx of one stack."""

    def __init__(
        self, settings: Settings, volume: StateVolume, prober: Prober, clock: Clock
    ) -> None:
        self.settings = settings
        self.volume = volume
        self.prober = prober
        self.clock = clock

    @cached_property
    def sources(self) -> Sources:
        return read_sources(self.settings)

    def observe(self) -> RouterState | None:
        """What nginx serves now; while it is down, what its volume says that it would serve.

        None before anything was ever configured, or where the volume cannot be looked at.
        """
        answer = self._served()
        if answer is None:
            return self._observe_disk()
        self.volume.within_nginx()
        disk = self._look()
        generation, weights = answer
        return RouterState(True, generation, disk.intended, weights, disk.version, disk.seamless)

    def _observe_disk(self) -> RouterState | None:
        if not self.volume.reachable():
            return None
        disk = self._look()
        text = self.volume.run("cat current/state.json 2>/dev/null", again=True).text
        if not disk.current or not text:
            return None
        generation, weights = served(json.loads(text))
        return RouterState(False, generation, disk.intended, weights, disk.version, disk.seamless)

    def current(self) -> str:
        """The configuration that should be live, as text; "" before the first."""
        reply = self.volume.run("cat current/nginx.conf 2>/dev/null", again=True)
        return reply.text if reply.code == 0 else ""

    def diff(self, weights: Weights, versions: Mapping[Color, str]) -> str:
        """Unified diff from the live configuration to the one that these weights need."""
        disk = self._look()
        text = self._render(disk, disk.highest + 1, weights, versions)
        lines = difflib.unified_diff(
            self.current().splitlines(), text.splitlines(), "live", "planned", lineterm="", n=1
        )
        return "\n".join(lines)

    def seed(self) -> None:
        """Put a first configuration in place, without any release, for nginx to start on.

        Nothing happens where there is one. It is written for a seamless nginx only if the image
        has one, which is asked of the image itself.
        """
        disk = self._look()
        if not disk.current:
            self._write(disk, disk.highest + 1, Weights.all_to(None), {})
            self.volume.locked(
                RESTORE.format(expected=f"generations/{disk.highest + 1}", reload="")
            )

    def stage(self, weights: Weights, versions: Mapping[Color, str]) -> int:
        """Write and test a candidate away from the live one; its generation.

        Raises RouterRefused with nginx's words, ConfigError if the template is wrong.
        """
        self.volume.within_nginx()
        disk = self._look()
        generation = disk.highest + 1
        self._write(disk, generation, weights, versions)
        folder = f"{STATE_TARGET}/generations/{generation}"
        tested = self.volume.run(f"nginx -t -q -c {folder}/nginx.conf", again=True)
        if tested.code != 0:
            self.volume.run(f"rm -rf {folder}", again=True)
            raise RouterRefused(
                f"nginx rejects the new configuration: {complaint(tested.text)}",
                "mend the template or snippet; the live configuration is untouched",
            )
        return generation

    def activate(self, generation: int, weights: Weights, lease: str) -> None:
        """Make a staged candidate live and wait until nginx serves it.

        Raises LeaseLost if the lease is no longer ours, RouterRefused if another generation came
        in between or nginx does not apply this one; then what was live is live, and on disk too.
        """
        disk = self._look()
        same = not disk.seamless and self._same_text(disk, generation)
        script = ACTIVATE.format(
            n=generation,
            lease=shlex.quote(lease),
            lost=LOST,
            moved=MOVED,
            expected=shlex.quote(disk.current),
            active=shlex.quote(str(weights.active or "none")),
            flags="" if disk.seamless else flags(weights),
            reload=":" if same else RELOAD,
        )
        reply = self.volume.locked(script)
        if reply.code == LOST:
            raise LeaseLost("this run's lease was taken over; traffic was not moved by it")
        if reply.code == MOVED:
            raise RouterRefused("another configuration was installed meanwhile", "try again")
        if reply.code != 0:
            raise EngineError(f"the configuration could not be installed: {reply.text.strip()}")
        if not self._confirmed(None if same else generation, weights):
            self._restore(disk)

    def drained(self) -> bool:
        """No worker of an earlier configuration still serves requests."""
        return self.volume.run(DRAINING, again=True).text.strip() == "0"

    def prune(self, keep: int) -> int:
        """Remove all but the newest generations; how many went."""
        script = (
            'now=$(basename "$(readlink current)"); n=0\n'
            f"for g in $(ls generations | sort -rn | tail -n +{keep + 1}); do\n"
            '  [ "$g" = "$now" ] || { rm -rf "generations/$g"; n=$((n + 1)); }\n'
            "done; echo $n"
        )
        return int(self.volume.locked(script).text.strip() or 0)

    def _served(self) -> tuple[int, Weights] | None:
        answer = self.prober.get(f"{self.settings.router.control_url}/generation", timeout=2)
        if answer.status != 200:
            return None
        try:
            return served(json.loads(answer.body))
        except (ValueError, KeyError, TypeError):
            raise RouterRefused(
                f"{self.settings.router.control_url} does not answer like ondeploy's nginx",
                "check router.control_url",
            ) from None

    def _look(self) -> Disk:
        facts = dict(
            line.partition(" ")[::2]
            for line in self.volume.run(LOOK, again=True).text.splitlines()
            if " " in line
        )
        return Disk(
            version=tuple(int(part) for part in facts.get("version", "0").split(".")),
            current=facts.get("current", ""),
            highest=int(facts.get("highest", 0)),
            tls="certs" in facts or self._own_certificates() is not None,
        )

    def _render(
        self, disk: Disk, generation: int, weights: Weights, versions: Mapping[Color, str]
    ) -> str:
        return render(
            self.settings,
            self.sources,
            generation,
            weights,
            dict(versions),
            seamless=disk.seamless,
            tls=disk.tls,
        )

    def _write(
        self, disk: Disk, generation: int, weights: Weights, versions: Mapping[Color, str]
    ) -> None:
        reply = self.volume.run(
            STAGE.format(
                n=generation,
                certs=self._certificate_script(generation),
                config=shlex.quote(self._render(disk, generation, weights, versions)),
                state=shlex.quote(json.dumps(state(generation, weights, dict(versions)))),
            ),
            again=True,
        )
        if reply.code != 0:
            raise EngineError(f"the candidate could not be written: {reply.text.strip()}")

    def _certificate_script(self, generation: int) -> str:
        """Take the certificates of this checkout; without any, keep the ones that are live."""
        own = self._own_certificates()
        if own is None:
            live = "[ -d current/certs ] && cp -p current/certs/* "
            return f"{live} generations/{generation}/certs/ 2>/dev/null"
        return "\n".join(
            f"printf '%s' {shlex.quote(text)} > generations/{generation}/certs/{name}"
            for name, text in own.items()
        )

    def _own_certificates(self) -> dict[str, str] | None:
        folder = self.settings.router.certificates
        if not folder:
            return None
        files = {name: self.settings.folder / folder / name for name in ("cert.pem", "key.pem")}
        if not all(file.is_file() for file in files.values()):
            return None
        return {name: file.read_text() for name, file in files.items()}

    def _same_text(self, disk: Disk, generation: int) -> bool:
        """Only the generation's own number differs: with flag files no reload is needed."""
        number = rf"generations/{generation}\b|Generation {generation}\b|: {generation},"
        mine = self.volume.run(f"cat generations/{generation}/nginx.conf", again=True).text
        live = rf"generations/{disk.intended}\b|Generation {disk.intended}\b|: {disk.intended},"
        return re.sub(number, "", mine) == re.sub(live, "", self.current())

    def _confirmed(self, generation: int | None, weights: Weights) -> bool:
        """nginx serves these weights, and this generation if one is named, on fresh connections."""
        give_up = self.clock.monotonic() + CONFIRM_SECONDS
        hits = 0
        while hits < CONFIRM_HITS:
            answer = self._served()
            right = answer is not None and answer[1] == weights and generation in (None, answer[0])
            hits = hits + 1 if right else 0
            if self.clock.monotonic() > give_up:
                return False
            self.clock.sleep(CONFIRM_GAP if hits else 0.01)
        return True

    def _restore(self, disk: Disk) -> None:
        """Make the disk say again what is live, and say why nginx did not move."""
        words = self.docker_log()
        self.volume.locked(RESTORE.format(expected=shlex.quote(disk.current), reload=RELOAD))
        raise RouterRefused(
            f"nginx did not apply the new configuration: {complaint(words)}",
            "the configuration that was live still is; see the log of nginx",
        )

    def docker_log(self) -> str:
        """The newest lines of nginx's log."""
        container = self.volume.find_nginx()
        return self.volume.docker.logs(container, "--since=30s") if container else ""


def served(facts: Mapping[str, object]) -> tuple[int, Weights]:
    """Generation and weights from what /generation answers, in either mode."""
    generation = int(str(facts["generation"]))
    if "active" in facts:
        word = str(facts["active"])
        return generation, Weights.all_to(None if word == "none" else Color(word))
    weights = facts["weights"]
    assert isinstance(weights, dict)
    return generation, Weights(blue=int(weights["blue"]), green=int(weights["green"]))


def flags(weights: Weights) -> str:
    """Shell that leaves only the active color's flag; the order has no moment without any."""
    if weights.active is None:
        return "rm -f flags/blue flags/green"
    return f"mkdir -p flags; touch flags/{weights.active}; rm -f flags/{weights.active.other}"


def complaint(text: str) -> str:
    """nginx's own [emerg] words, without time stamps; else the last line, else a plain word."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    serious = [line.partition("[emerg] ")[2] for line in lines if "[emerg]" in line]
    found = serious[-1:] or lines[-1:] or ["it gave no reason"]
    return re.sub(r"^\d+#\d+: ", "", found[0])
