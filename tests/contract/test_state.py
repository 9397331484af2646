"""Lease and journal: the very scripts that run on the engine, with a local `sh` in a folder."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ondeploy.engine import Docker, PipeShell
from ondeploy.errors import EngineError, LeaseHeld, LeaseLost
from ondeploy.journal import VolumeJournal
from ondeploy.lease import VolumeLease
from ondeploy.volume import NginxService, StateVolume
from tests.fakes import EPOCH

pytestmark = pytest.mark.contract


class LocalDocker(Docker):
    """A docker client whose containers are this machine."""

    def __init__(self) -> None:
        super().__init__(10, os.environ)
        self.opened: list[PipeShell] = []

    def shell(self, container: str) -> PipeShell:
        self.opened.append(PipeShell(["sh"], self.timeout))
        return self.opened[-1]


class Machine:
    """One machine that works on the shared volume, with a shell of its own."""

    def __init__(self, folder: Path, seconds: float = 2) -> None:
        self.docker = LocalDocker()
        self.volume = StateVolume(
            docker=self.docker,
            project="shop",
            find_nginx=lambda: "nginx",
            nginx=lambda: NginxService("nginx", "0:0", "shop_ondeploy"),
            target=str(folder),
        )
        self.lease = VolumeLease(self.volume, seconds)
        self.journal = VolumeJournal(self.volume)

    def take(self, name: str) -> bool:
        """Try to take the lease; False if another has it."""
        try:
            self.lease.take(owner(name))
        except LeaseHeld:
            return False
        return True


def owner(name: str) -> dict[str, str]:
    """Who takes the lease, with quotes that a shell could trip over."""
    return {
        "id": name,
        "who": 'o\'brien $(id) "x"',
        "command": "deploy",
        "version": "v2",
        "acquired": EPOCH.isoformat(),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state volume, as it is made for nginx."""
    (tmp_path / "runs").mkdir()
    return tmp_path


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    """One machine."""
    made = Machine(folder)
    yield made
    made.volume.close()


def age(folder: Path, seconds: float) -> None:
    """Let the last sign of life lie so far back."""
    past = time.time() - seconds
    os.utime(folder / "lease", (past, past))


def test_a_lease_is_taken_read_and_given_back(machine: Machine) -> None:
    """Who, what and until when are read back exactly, quotes included."""
    assert machine.lease.read() is None
    machine.lease.take(owner("A"))
    held = machine.lease.read()
    assert held is not None
    assert (held.id, held.who, held.command) == ("A", 'o\'brien $(id) "x"', "deploy")
    assert held.acquired == EPOCH
    assert abs(held.expires.timestamp() - time.time() - 2) < 2
    machine.lease.release("A")
    assert machine.lease.read() is None
    assert machine.take("B")


def test_a_held_lease_names_its_holder(machine: Machine) -> None:
    """Whoever comes second learns who, what, since when and until when; exit code 3."""
    machine.lease.take(owner("A"))
    with pytest.raises(LeaseHeld, match=r"o'brien .* is running «deploy v2» since 12:00:00 UTC"):
        machine.lease.take(owner("B"))


def race(folder: Path, takers: int) -> list[str]:
    """Everyone takes at once, each from a machine of its own; who won."""
    machines = [Machine(folder) for _ in range(takers)]
    for each in machines:
        each.volume.run("true")  # shells open, so that they really race
    with ThreadPoolExecutor(takers) as pool:
        won = list(pool.map(lambda n: machines[n].take(f"M{n}"), range(takers)))
    for each in machines:
        each.volume.close()
    return [f"M{n}" for n, yes in enumerate(won) if yes]


def test_of_sixteen_takers_one_wins(folder: Path, machine: Machine) -> None:
    """However close the race."""
    [winner] = race(folder, 16)
    held = machine.lease.read()
    assert held is not None
    assert held.id == winner


def test_a_stale_lease_is_stolen_exactly_once(folder: Path, machine: Machine) -> None:
    """Sixteen find the same dead holder, and one of them gets its lease."""
    machine.lease.take(owner("dead"))
    age(folder, 10)
    assert machine.lease.read() is None
    assert len(race(folder, 16)) == 1


def test_only_the_owner_renews_and_releases(folder: Path, machine: Machine) -> None:
    """A run that was overtaken can do nothing to the lease of the next."""
    machine.lease.take(owner("A"))
    assert not machine.lease.renew("B")
    machine.lease.release("B")
    held = machine.lease.read()
    assert held is not None
    assert held.id == "A"
    age(folder, 10)
    assert machine.take("B")
    assert not machine.lease.renew("A")
    machine.lease.release("A")
    assert machine.lease.renew("B")


def test_renewing_is_a_sign_of_life(folder: Path, machine: Machine) -> None:
    """A renewed lease is not stale, however old it was."""
    machine.lease.take(owner("A"))
    age(folder, 10)
    assert machine.lease.renew("A")
    assert not machine.take("B")


def test_unlock_removes_whatever_is_there(machine: Machine) -> None:
    """And says whose it was."""
    machine.lease.take(owner("A"))
    held = machine.lease.clear()
    assert held is not None
    assert held.id == "A"
    assert machine.lease.clear() is None


def test_what_was_journaled_is_history(machine: Machine) -> None:
    """Begin, image, steps, commit and end of a run fold into one line; odd text survives."""
    machine.lease.take(owner("A"))
    odd = "it's «bad»\n\x00 $(id) \\n 100%"
    run, at = "20250101T120000000000Z-abc123", EPOCH.isoformat()
    write = machine.journal.append
    write(
        run,
        "begin",
        {
            "at": at,
            "run": run,
            "command": "deploy",
            "version": "v2",
            "who": "o'brien",
            "target": "green",
            "previous": "blue",
        },
        "A",
    )
    write(run, "intend", {"at": at, "step": "start-standby"}, "A")
    write(run, "image", {"at": at, "image": "web:v2", "images": {"web": "sha256:2"}}, "A")
    [unfinished] = machine.journal.history(5)
    assert (unfinished.outcome, unfinished.finished) == ("unfinished", None)
    assert (unfinished.started_standby, unfinished.committed) == (True, False)
    write(run, "commit", {"at": at}, "A")
    write(run, "end", {"at": at, "result": "rolled-back", "reason": odd}, "A")
    [ended] = machine.journal.history(5)
    assert (ended.id, ended.command, ended.version) == (run, "deploy", "v2")
    assert (ended.outcome, ended.reason, ended.committed) == ("rolled-back", odd, True)
    assert ended.images == {"web": "sha256:2"}
    assert (ended.color, ended.previous) == ("green", "blue")


def test_an_overtaken_run_writes_nothing(folder: Path, machine: Machine) -> None:
    """The fence: its next entry is refused, before it could act on it."""
    machine.lease.take(owner("A"))
    machine.journal.append("r-1", "begin", {"run": "r-1"}, "A")
    age(folder, 10)
    assert Machine(folder).take("B")
    with pytest.raises(LeaseLost, match="taken over") as caught:
        machine.journal.append("r-1", "intend", {"step": "shift"}, "A")
    assert caught.value.code == 3
    assert len((folder / "runs" / "r-1.jsonl").read_text().splitlines()) == 1


def test_without_a_lease_nothing_is_journaled(machine: Machine) -> None:
    """Also not after `unlock`."""
    with pytest.raises(LeaseLost):
        machine.journal.append("r-1", "begin", {}, "A")


def test_history_is_oldest_first_and_limited(machine: Machine) -> None:
    """Runs sort by their time, and only the last ones are read."""
    machine.lease.take(owner("A"))
    for n in range(12):
        facts = {"run": f"r{n:02}", "at": EPOCH.isoformat(), "version": f"v{n}"}
        machine.journal.append(f"r{n:02}", "begin", facts, "A")
    assert [run.version for run in machine.journal.history(3)] == ["v9", "v10", "v11"]
    assert machine.journal.prune(5) == 7
    assert [run.version for run in machine.journal.history(99)] == [f"v{n}" for n in range(7, 12)]
    assert machine.journal.prune(5) == 0


def test_a_line_cut_off_by_a_crash_is_passed_over(folder: Path, machine: Machine) -> None:
    """The rest of the journal is still read, and what is written next is not lost with it."""
    machine.lease.take(owner("A"))
    facts = {"run": "r1", "at": EPOCH.isoformat(), "version": "v1"}
    machine.journal.append("r1", "begin", facts, "A")
    with (folder / "runs" / "r1.jsonl").open("a") as file:
        file.write('{"event": "inte')
    [cut] = machine.journal.history(1)
    assert (cut.version, cut.outcome) == ("v1", "unfinished")
    end = {"at": EPOCH.isoformat(), "result": "recovered", "reason": ""}
    machine.journal.append("r1", "end", end, "A")
    [ended] = machine.journal.history(1)
    assert ended.outcome == "recovered"


def test_an_empty_volume_has_no_history(machine: Machine, folder: Path) -> None:
    """Nor is it an error to ask."""
    assert machine.journal.history(10) == ()
    shutil.rmtree(folder / "runs")
    assert machine.journal.history(10) == ()


def lose_connection(machine: Machine) -> None:
    """End the shell that is open, as a recreated nginx does."""
    with pytest.raises(EngineError):
        machine.docker.opened[-1].run("kill -9 $$")


def test_a_lost_connection_is_opened_again_for_reading(machine: Machine) -> None:
    """nginx was recreated: what may be repeated is, and nobody notices."""
    machine.lease.take(owner("A"))
    lose_connection(machine)
    held = machine.lease.read()
    assert held is not None
    assert len(machine.docker.opened) == 2


def test_a_lost_connection_while_writing_is_told(machine: Machine) -> None:
    """What may have been done already is not done twice."""
    machine.lease.take(owner("A"))
    lose_connection(machine)
    with pytest.raises(EngineError):
        machine.journal.append("r1", "begin", {}, "A")
    machine.journal.append("r1", "begin", {"run": "r1"}, "A")


def test_locked_scripts_exclude_each_other(folder: Path) -> None:
    """Read, think, write from many machines at once loses nothing."""
    machines = [Machine(folder) for _ in range(4)]
    script = "n=$(cat count 2>/dev/null || echo 0); sleep 0.01; echo $((n + 1)) > count"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: machines[n % 4].volume.locked(script), range(40)))
    assert (folder / "count").read_text() == "40\n"


def test_the_lease_is_plain_text(folder: Path, machine: Machine) -> None:
    """A person on the engine can read it: id and seconds, then who as JSON."""
    machine.lease.take(owner("A"))
    first, second = (folder / "lease").read_text().splitlines()
    assert first == "A 2"
    assert json.loads(second)["command"] == "deploy"
