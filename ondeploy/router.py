"""nginx: a configuration is tested whole, installed atomically, and believed only when served.

A reload that nginx does not apply (a busy port, a changed limit key: both pass `nginx -t`) is
noticed because the generation that nginx serves does not change; then the disk goes back to what
is live.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cached_property

from ondeploy.errors import RouterRefused
from ondeploy.generations import Disk, Generations, complaint, same_but_number
from ondeploy.model import Color, RouterState, Weights
from ondeploy.ports import Clock, Prober
from ondeploy.render import Sources, read_certificates, read_sources, render, state
from ondeploy.settings import Settings
from ondeploy.volume import StateVolume

CONFIRM_HITS = 5
CONFIRM_GAP = 0.05
CONFIRM_SECONDS = 10.0
"""Old workers answer fresh connections for ~0.1 s after a reload (measured): five hits in a row,
50 ms apart, mean that they are done."""

DRAINING = """
{ for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < "$p"; echo; done; } 2>/dev/null |
  grep -c '[s]hutting down'
exit 0
"""

CONNECTED = """
n=0
for color in blue green; do
  [ -d flags ] && [ ! -f flags/$color ] || continue
  name={service}-$color
  for ip in $({{ getent ahostsv4 $name || getent hosts $name; }} | cut -d ' ' -f 1 | sort -u); do
    hex=$(echo $ip | awk -F . '{{ printf "%02X%02X%02X%02X", $4, $3, $2, $1 }}')
    n=$((n + $(grep -c " $hex:{port} 01 " /proc/net/tcp)))
  done
done
echo $n
"""
"""Requests in flight on colors without flag: there is no worker that leaves to tell of them, but in
this mode each has a connection of its own from its beginning (the kernel writes addresses in
little-endian hex, 01 is ESTABLISHED)."""


class NginxRouter:
    """The nginx of one stack."""

    def __init__(
        self, settings: Settings, volume: StateVolume, prober: Prober, clock: Clock
    ) -> None:
        self.settings = settings
        self.volume = volume
        self.prober = prober
        self.clock = clock
        self.generations = Generations(volume)

    @cached_property
    def sources(self) -> Sources:
        return read_sources(self.settings)

    @cached_property
    def certificates(self) -> Mapping[str, str]:
        return read_certificates(self.settings)

    def observe(self) -> RouterState | None:
        """What nginx serves now; while it is down, what its volume says that it would serve.

        None only where its volume cannot be looked at either.
        """
        answer = self._served()
        if answer is None:
            return self._observe_disk()
        self.volume.within_nginx()
        disk = self.generations.look()
        generation, weights = answer
        return RouterState(True, generation, disk.intended, weights, disk.version, disk.seamless)

    def _observe_disk(self) -> RouterState | None:
        if not self.volume.reachable():
            return None
        facts = self.generations.state()
        disk = self.generations.look()
        generation, weights = served(facts) if facts else (0, Weights.all_to(None))
        return RouterState(False, generation, disk.intended, weights, disk.version, disk.seamless)

    def diff(self, weights: Weights, versions: Mapping[Color, str]) -> str:
        """Unified diff from the live configuration to the one that these weights need."""
        disk = self.generations.look()
        live = self.generations.text().splitlines()
        planned = self._render(disk, disk.highest + 1, weights, versions).splitlines()
        return "\n".join(difflib.unified_diff(live, planned, "live", "planned", lineterm="", n=1))

    def seed(self) -> None:
        """Put a first configuration in place, without any release, for nginx to start on.

        Nothing happens where there is one.
        """
        disk = self.generations.look()
        if not disk.current:
            self._write(disk, disk.highest + 1, Weights.all_to(None), {})
            self.generations.begin(disk.highest + 1, disk)

    def stage(self, weights: Weights, versions: Mapping[Color, str]) -> int:
        """Write and test a candidate away from the live one; its generation.

        Raises RouterRefused with nginx's words, ConfigError if the template is wrong.
        """
        self.volume.within_nginx()
        disk = self.generations.look()
        generation = disk.highest + 1
        self._write(disk, generation, weights, versions)
        words = self.generations.test(generation)
        if words:
            raise RouterRefused(
                f"nginx rejects the new configuration: {words}",
                "mend the template or snippet; the live configuration is untouched",
            )
        return generation

    def activate(self, generation: int, weights: Weights, lease: str) -> None:
        """Make a staged candidate live and wait until nginx serves it.

        Raises LeaseLost if the lease is no longer ours, RouterRefused if another generation came
        in between or nginx does not apply this one; then what was live is live, and on disk too.
        """
        before = self._served()
        disk = self.generations.look()
        reload = disk.seamless or not self._same_text(disk, generation)
        self.generations.install(generation, disk, weights, lease, reload=reload)
        if not self._confirmed(generation if reload else None, weights):
            words = complaint(self._log())
            was = before[1] if before else Weights.all_to(None)
            self.generations.restore(generation, disk, was, lease)
            raise RouterRefused(
                f"nginx did not apply the new configuration: {words}",
                "the configuration that was live still is; see the log of nginx",
            )

    def drained(self) -> bool:
        """No worker of an earlier configuration, and no flag taken away, still serves requests."""
        connected = CONNECTED.format(
            service=self.settings.routed, port=f"{self.settings.release.port:04X}"
        )
        said = self.volume.run(f"({DRAINING})\n{connected}", again=True).text.split()
        return set(said) == {"0"}

    def prune(self, keep: int) -> int:
        """Remove all but the newest configurations; how many went."""
        return self.generations.prune(keep)

    def _served(self) -> tuple[int, Weights] | None:
        """Generation and weights as nginx itself answers them; None if it does not answer."""
        answer = self.prober.get(f"{self.settings.router.control_url}/generation", timeout=2)
        if answer.status != 200:
            return None
        url = self.settings.router.control_url
        try:
            facts = json.loads(answer.body)
            found = served(facts)
        except (ValueError, KeyError, TypeError):
            raise RouterRefused(
                f"{url} does not answer like ondeploy's nginx", "check router.control_url"
            ) from None
        if facts.get("project") != self.settings.project:
            raise RouterRefused(
                f"the nginx at {url} belongs to another stack, {facts.get('project')!r}",
                "check router.control_url and compose.project",
            )
        return found

    def _render(
        self, disk: Disk, generation: int, weights: Weights, versions: Mapping[Color, str]
    ) -> str:
        return render(
            self.settings,
            self.sources,
            generation,
            weights,
            versions,
            seamless=disk.seamless,
            tls=disk.certificates or bool(self.certificates),
        )

    def _write(
        self, disk: Disk, generation: int, weights: Weights, versions: Mapping[Color, str]
    ) -> None:
        config = self._render(disk, generation, weights, versions)
        facts = state(self.settings.project, generation, weights, versions)
        self.generations.write(generation, config, facts, self.certificates)

    def _same_text(self, disk: Disk, generation: int) -> bool:
        """With flag files no reload is needed where nothing but the number differs."""
        candidate = self.generations.text(f"generations/{generation}")
        same = same_but_number(candidate, generation, self.generations.text(), disk.intended)
        return same and self.generations.same_certificates(generation)

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

    def _log(self) -> str:
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
    if not isinstance(weights, dict):
        raise TypeError("weights are not an object")
    return generation, Weights(blue=int(weights["blue"]), green=int(weights["green"]))
