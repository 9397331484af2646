"""Configurations that nginx does not take: refused, and what was live stays live to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import Host, docker

pytestmark = pytest.mark.e2e

BUILT_IN = Path(__file__).resolve().parents[2] / "ondeploy" / "templates" / "nginx.conf.j2"


def test_template_with_an_error(host: Host, active: str, coming: str, tmp_path: Path) -> None:
    """A variable that the template misspells is named with its file: exit 2, nothing changed."""
    template = tmp_path / "own.conf.j2"
    template.write_text(BUILT_IN.read_text().replace("{{ max_body }}", "{{ max_bodi }}"))
    refused(host, coming, {"template": str(template)}, "own.conf.j2", "max_bodi")


def test_template_with_a_syntax_error(host: Host, coming: str, tmp_path: Path) -> None:
    """A template that Jinja cannot read is named with its line: exit 2, nothing changed."""
    template = tmp_path / "own.conf.j2"
    template.write_text("worker_processes 1;\n{% if seamless %}\n{% for %}\n")
    refused(host, coming, {"template": str(template)}, "own.conf.j2:3")


def test_snippet_that_nginx_rejects(host: Host, coming: str, tmp_path: Path) -> None:
    """A directive that nginx does not know is refused in nginx's words: exit 2."""
    snippet = tmp_path / "http.conf"
    snippet.write_text("gzipp on;\n")
    refused(host, coming, {"http_snippet": str(snippet)}, 'unknown directive "gzipp"')


@pytest.fixture
def intruder(host: Host, variables: dict[str, str]) -> Iterator[int]:
    """A port inside nginx's network namespace that another process listens on."""
    nginx, port = host.container("nginx"), 9999
    mark = ("--label", f"ondeploy-e2e={host.project}")
    listen = (
        f"import socket, time; held = socket.create_server(('', {port})); print(1); time.sleep(999)"
    )
    where = ("run", "--detach", *mark, "--network", f"container:{nginx}")
    made = docker(*where, variables["PYTHON_IMAGE"], "python3", "-uc", listen).strip()
    while not docker("logs", made).strip():
        assert docker("inspect", "--format", "{{.State.Running}}", made).strip() == "true"
    yield port
    docker("rm", "--force", made)


def test_busy_port(host: Host, coming: str, tmp_path: Path, intruder: int) -> None:
    """A port that is taken passes `nginx -t`, is not applied at the reload, and is noticed."""
    snippet = tmp_path / "http.conf"
    snippet.write_text(f"server {{ listen {intruder}; }}\n")
    refused(host, coming, {"http_snippet": str(snippet)}, "did not apply", str(intruder))


def test_changed_limit_key(host: Host, active: str, coming: str, tmp_path: Path) -> None:
    """A changed limit_req_zone key passes `nginx -t`, is not applied, and is noticed."""
    snippet = tmp_path / "http.conf"
    snippet.write_text("limit_req_zone $request_uri zone=visitors:1m rate=9999r/s;\n")
    own = {"router": {"http_snippet": str(snippet)}}
    with host.load() as load:
        assert (ran := host.deploy(coming, settings=own)).code == 0, ran
    load.expect_no_loss()
    snippet.write_text("limit_req_zone $server_name zone=visitors:1m rate=9999r/s;\n")
    refused(host, active, own["router"], "did not apply", "visitors")


def test_snippets_are_served(host: Host, tmp_path: Path) -> None:
    """Snippets that nginx takes are in force after a release, and gone after the next without."""
    server = tmp_path / "server.conf"
    server.write_text('location = /own { return 200 "mine\\n"; }\n')
    active = host.version()
    with host.load() as load:
        ran = host.deploy(active, "--force", settings={"router": {"server_snippet": str(server)}})
        assert ran.code == 0, ran
        assert host.get("/own").text == "mine\n"
        assert (ran := host.deploy(active, "--force")).code == 0, ran
        assert host.get("/own").status_code == 404
    load.expect_no_loss()


def refused(host: Host, version: str, router: Any, *words: str) -> None:
    """Assert that a release with these router settings ends with 2 and leaves all as it was."""
    active = host.version()
    before = live(host)
    with host.load() as load:
        ran = host.deploy(version, "--force", "--json", settings={"router": router})
    assert ran.code == 2, ran
    print(ran)
    assert all(word in ran.json["reason"] for word in words), ran
    assert live(host) == before
    standby = host.status()["colors"]["green" if host.color() == "blue" else "blue"]
    host.expect(active, standby and standby["version"])
    load.expect_no_loss()


def live(host: Host) -> tuple[int, int, str, str]:
    """What nginx serves and what its disk says, to the byte."""
    text = host.in_nginx("cat /ondeploy/current/nginx.conf /ondeploy/current/state.json")
    return host.served(), host.intended(), text, host.in_nginx("cat /ondeploy/lb-config.txt")
