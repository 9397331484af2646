"""--dry-run and --json: what may be looked at and piped, without a trace of having been there."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import Any

import pytest

from .conftest import MakeHost
from .harness import REPO, Host, docker
from .settings import IMAGE

pytestmark = pytest.mark.e2e


def test_on_an_empty_host(make_host: MakeHost) -> None:
    """On a host without anything the plan is printed and nothing at all is made."""
    empty = make_host("dry")
    before = traces(empty)
    ran = empty.deploy("v1.0.0", "--dry-run")
    assert ran.code == 0, ran
    assert "start-platform" in ran.out
    assert "a first release is not baked" in ran.out
    assert "dry run: nothing was written" in ran.out
    assert traces(empty) == before
    assert before["containers"] == before["volumes"] == before["networks"] == ""


@pytest.mark.parametrize("words", [("deploy",), ("rollback",)])
def test_on_a_live_host(host: Host, active: str, coming: str, words: tuple[str, ...]) -> None:
    """On a live host the plan shows images and nginx as they would change, and changes neither."""
    with host.load():
        assert (ran := host.deploy(coming)).code == 0, ran
    command = (*words, "--version", "v3.0.0", "--force") if words == ("deploy",) else words
    version = "v3.0.0" if words == ("deploy",) else active
    before = traces(host)
    text, facts = host.run(*command, "--dry-run"), host.run(*command, "--dry-run", "--json")
    assert (text.code, facts.code) == (0, 0), (text, facts)
    assert traces(host) == before
    assert f"- {coming}" in text.out
    assert f"+ {version}" in text.out
    assert facts.json["dry_run"] is True
    assert facts.json["release"]["planned"]["version"] == version
    assert facts.json["release"]["active"]["version"] == coming
    assert facts.json["target"] != facts.json["previous"]
    assert "+# Generation" in facts.json["nginx_diff"]


def test_plan_is_what_runs(host: Host, coming: str) -> None:
    """The steps that a dry run prints are the steps that the release then does."""
    planned = host.deploy(coming, "--dry-run", "--json").json["steps"]
    with host.load():
        ran = host.deploy(coming, "--json")
    assert ran.code == 0, ran
    assert [step["name"] for step in ran.json["steps"]] == [step["name"] for step in planned]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, ("status",)),
        (0, ("history",)),
        (0, ("recover",)),
        (2, ("rollback", "--to", "v0.0.1")),
        (2, ("deploy", "--version", "v1;reboot")),
        (2, ("deploy", "--version", "v8.8.8")),
        (0, ("unlock",)),
    ],
)
def test_one_json_document(host: Host, code: int, words: tuple[str, ...]) -> None:
    """With --json standard output is exactly one JSON document, also when a command fails."""
    ran = host.run(*words, "--json")
    assert ran.code == code, ran
    json.loads(ran.out)


def traces(host: Host) -> dict[str, Any]:
    """Everything that a command could leave behind: on the engine, in nginx's volume, on disk."""
    mine = ("--no-trunc", "--filter", f"name={host.project}")
    containers = docker("ps", "--all", "--quiet", *mine)
    return {
        "containers": containers,
        "started": [docker("inspect", "-f", "{{.State.StartedAt}}", c) for c in containers.split()],
        "helpers": docker("ps", "--all", "--filter", f"label=ondeploy.helper={host.project}"),
        "volumes": docker("volume", "ls", "--quiet", "--filter", f"name={host.project}"),
        "networks": docker("network", "ls", "--quiet", *mine),
        "images": sorted(docker("image", "ls", "--quiet", "--no-trunc", IMAGE).split()),
        "state": host.in_nginx(STATE) if containers else "",
        "served": host.served() if containers else 0,
        "checkout": checkout(),
    }


STATE = """
cd /ondeploy && find . -printf '%p %y %s %l %T@\\n' | sort
find . -type f -exec sha256sum {} + | sort
"""


def checkout() -> dict[str, str]:
    """Checksums of the files of this checkout that a release reads or could write."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "deployment"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [REPO / name for name in listed.stdout.split("\0") if name]
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}
