"""nginx's configurations on the state volume: one folder per generation, `current` is one of them.

generations/12/nginx.conf, state.json, certs/      written and tested before it is current
current -> generations/12                          replaced by a rename, under the volume's flock
flags/green                                        for nginx < 1.27.4: the color that is served
lb-config.txt                                      the active color, one word
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ondeploy.colors import STATE_TARGET
from ondeploy.errors import EngineError, LeaseLost, RouterRefused
from ondeploy.model import Weights
from ondeploy.render import PID_FILE
from ondeploy.volume import StateVolume

SEAMLESS_SINCE = (1, 27, 4)
"""The first nginx with keepalive_min_timeout, which makes a reload lossless."""

MOVED, LOST = 76, 74

LOOK = """
nginx -v 2>&1 | sed -n 's/.*nginx\\/\\([0-9.]*\\).*/version \\1/p'
echo "current $(readlink current 2>/dev/null)"
ls generations 2>/dev/null | sort -n | tail -n 1 | sed 's/^/highest /'
[ -f current/certs/cert.pem ] && echo certs yes
exit 0
"""

WRITE = """
[ "$(readlink current)" != generations/{n} ] || exit 1
rm -rf generations/{n} && mkdir -p generations/{n}/certs || exit 1
chmod 700 generations/{n}/certs
{certs}
printf '%s' {config} > generations/{n}/nginx.conf || exit 1
printf '%s\\n' {state} > generations/{n}/state.json
"""

INSTALL = """
read -r id ttl < lease 2>/dev/null; [ "$id" = {lease} ] || exit {lost}
[ "$(readlink current)" = {expected} ] || exit {moved}
{point}
{reload}
"""

POINT = """
ln -sfn {folder} .current && mv -T .current current || exit 1
{flags}
printf '%s\\n' {active} > .lb-config && mv .lb-config lb-config.txt
"""

PRUNE = """
now=$(basename "$(readlink current)"); n=0
for g in $(ls generations | sort -rn | tail -n +{first}); do
  [ "$g" = "$now" ] || {{ rm -rf "generations/$g"; n=$((n + 1)); }}
done
echo $n
"""

RELOAD = f'kill -HUP "$(cat {PID_FILE})"'
"""At once, where `nginx -s reload` parses the whole configuration again first."""


@dataclass(frozen=True)
class Disk:
    """What the state volume and the nginx binary say."""

    version: tuple[int, ...]
    current: str
    """The target of the symlink, as generations/12; "" before the first."""
    highest: int
    certificates: bool
    """The live generation has some."""

    @property
    def intended(self) -> int:
        return int(self.current.rpartition("/")[2] or 0)

    @property
    def seamless(self) -> bool:
        return self.version >= SEAMLESS_SINCE


class Generations:
    """The folders of configurations of one nginx."""

    def __init__(self, volume: StateVolume) -> None:
        self.volume = volume

    def look(self) -> Disk:
        """What is there, and how old nginx is."""
        lines = self.volume.run(LOOK, again=True).text.splitlines()
        facts = dict(line.partition(" ")[::2] for line in lines if " " in line)
        return Disk(
            version=tuple(int(part) for part in facts.get("version", "0").split(".")),
            current=facts.get("current", ""),
            highest=int(facts.get("highest", 0)),
            certificates="certs" in facts,
        )

    def text(self, folder: str = "current") -> str:
        """A configuration; "" if there is none."""
        reply = self.volume.run(f"cat {folder}/nginx.conf 2>/dev/null", again=True)
        return reply.text if reply.code == 0 else ""

    def same_certificates(self, n: int) -> bool:
        """A generation has the very certificates that are live."""
        names = ("cert.pem", "key.pem")
        compare = [f"cmp -s generations/{n}/certs/{name} current/certs/{name}" for name in names]
        none = f"[ ! -e generations/{n}/certs/cert.pem ] && [ ! -e current/certs/cert.pem ]"
        return self.volume.run(f"{{ {none}; }} || {{ {' && '.join(compare)}; }}").code == 0

    def state(self) -> Mapping[str, Any] | None:
        """What the current generation says of itself; None if there is none."""
        text = self.volume.run("cat current/state.json 2>/dev/null", again=True).text
        return dict(json.loads(text)) if text.strip() else None

    def write(
        self, n: int, config: str, state: Mapping[str, Any], certificates: Mapping[str, str]
    ) -> None:
        """Write a generation that is not current yet; without certificates the live ones stay."""
        script = WRITE.format(
            n=n,
            certs=put_certificates(n, certificates),
            config=shlex.quote(config),
            state=shlex.quote(json.dumps(state)),
        )
        reply = self.volume.run(script, again=True)
        if reply.code != 0:
            raise EngineError(f"the candidate could not be written: {reply.text.strip()}")

    def test(self, n: int) -> str:
        """nginx's complaint about a generation, which is removed then; "" if it has none."""
        folder = f"{STATE_TARGET}/generations/{n}"
        tested = self.volume.run(f"nginx -t -q -c {folder}/nginx.conf", again=True)
        if tested.code == 0:
            return ""
        self.volume.run(f"rm -rf {folder}", again=True)
        return complaint(tested.text)

    def install(self, n: int, disk: Disk, weights: Weights, lease: str, *, reload: bool) -> None:
        """Make a generation current and tell nginx, if lease and `current` are what they were."""
        script = INSTALL.format(
            lease=shlex.quote(lease),
            lost=LOST,
            moved=MOVED,
            expected=shlex.quote(disk.current),
            point=point(f"generations/{n}", disk, weights),
            reload=RELOAD if reload else ":",
        )
        self._install(script)

    def _install(self, script: str) -> None:
        reply = self.volume.locked(script)
        if reply.code == LOST:
            raise LeaseLost("this run's lease was taken over; traffic was not moved by it")
        if reply.code == MOVED:
            raise RouterRefused("another configuration was installed meanwhile", "try again")
        if reply.code != 0:
            raise EngineError(f"the configuration could not be installed: {reply.text.strip()}")

    def restore(self, n: int, disk: Disk, weights: Weights, lease: str) -> None:
        """Make the disk say again what is live, after generation n was not applied."""
        script = INSTALL.format(
            lease=shlex.quote(lease),
            lost=LOST,
            moved=MOVED,
            expected=f"generations/{n}",
            point=point(disk.current, disk, weights),
            reload=RELOAD,
        )
        self._install(script)

    def begin(self, n: int, disk: Disk) -> None:
        """Make the first generation current, before nginx starts."""
        script = point(f"generations/{n}", disk, Weights.all_to(None))
        self.volume.change(script, "the first configuration could not be installed")

    def prune(self, keep: int) -> int:
        """Remove all but the newest and the current; how many went."""
        script = PRUNE.format(first=keep + 1)
        return int(self.volume.change(script, "old configurations could not be removed"))


def point(folder: str, disk: Disk, weights: Weights) -> str:
    """Shell that makes everything on the volume say that a generation is current."""
    return POINT.format(
        folder=shlex.quote(folder),
        flags="" if disk.seamless else put_flags(weights),
        active=shlex.quote(str(weights.active or "none")),
    )


def put_flags(weights: Weights) -> str:
    """Shell that leaves only the active color's flag; at no moment is there none."""
    if weights.active is None:
        return "rm -f flags/blue flags/green"
    return f"mkdir -p flags; touch flags/{weights.active}; rm -f flags/{weights.active.other}"


def put_certificates(n: int, certificates: Mapping[str, str]) -> str:
    """Shell that gives a generation its certificates: the ones at hand, else the live ones."""
    if not certificates:
        return f"[ -d current/certs ] && cp -p current/certs/* generations/{n}/certs/ 2>/dev/null"
    return "\n".join(
        f"printf '%s' {shlex.quote(text)} > generations/{n}/certs/{name}"
        for name, text in certificates.items()
    )


def same_but_number(text: str, n: int, other: str, m: int) -> bool:
    """Two configurations differ in nothing but the number of their generation."""
    return without_number(text, n) == without_number(other, m)


def without_number(text: str, n: int) -> str:
    return re.sub(rf"generations/{n}\b|Generation {n}\b|: {n},", "", text)


def complaint(text: str) -> str:
    """nginx's own [emerg] words, without time stamps; else the last line, else a plain word."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    serious = [line.partition("[emerg] ")[2] for line in lines if "[emerg]" in line]
    # Said after the retries of a bind(), without the port.
    serious = [words for words in serious if "still could not bind" not in words]
    found = serious[-1:] or lines[-1:] or ["it gave no reason"]
    return re.sub(r"^\d+#\d+: ", "", found[0])
