"""The nginx configuration as text."""

import json
from pathlib import Path
from typing import Any

import pytest

from ondeploy.errors import ConfigError
from ondeploy.model import Weights
from ondeploy.render import Sources, read_certificates, read_sources, render, split
from ondeploy.settings import Settings
from tests.fakes import BLUE, GREEN, make_settings

SETTINGS = make_settings()


def conf(
    settings: Settings = SETTINGS,
    sources: Sources | None = None,
    weights: Weights | None = None,
    *,
    seamless: bool = True,
    tls: bool = False,
) -> str:
    """A configuration of generation 12 that sends everything to green."""
    return render(
        settings,
        sources or read_sources(settings),
        12,
        weights or Weights.all_to(GREEN),
        {BLUE: "v1", GREEN: "v2"},
        seamless=seamless,
        tls=tls,
    )


def lines(text: str) -> list[str]:
    """The lines without their indentation."""
    return [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (Weights(100, 0), [("blue", "*")]),
        (Weights(0, 100), [("green", "*")]),
        (Weights(95, 5), [("green", "5%"), ("blue", "*")]),
        (Weights(25, 75), [("blue", "25%"), ("green", "*")]),
        (Weights(50, 50), [("green", "50%"), ("blue", "*")]),
        (Weights(0, 0), [("none", "*")]),
    ],
)
def test_the_split_of_traffic(weights: Weights, expected: list[tuple[str, str]]) -> None:
    """The active color takes what is left, so that shares never miss a request."""
    assert split(weights) == expected
    text = lines(conf(weights=weights))
    start = text.index('split_clients "$request_id" $ondeploy_split {') + 1
    written = text[start : text.index("}", start)]
    assert written == [f"{share} {color};" for color, share in expected]


def test_a_reload_loses_nothing_by_these_lines() -> None:
    """What research/switching.md found necessary is in the configuration."""
    text = conf()
    for line in (
        "keepalive_min_timeout 5s;",
        "server web-green:8000 resolve max_fails=0;",
        "resolver 127.0.0.11 valid=1s ipv6=off;",
        'split_clients "$request_id" $ondeploy_split {',
        "proxy_pass http://app_$ondeploy_color;",
    ):
        assert line in lines(text)
    for danger in ("worker_shutdown_timeout ", "reuseport;", "weight="):
        assert danger not in "\n".join(x for x in lines(text) if not x.startswith("#"))


def test_nginx_says_which_generation_it_serves() -> None:
    """The control port answers generation, weights and the versions that have traffic."""
    [line] = [line for line in lines(conf()) if line.startswith("return 200")]
    said = json.loads(line.removeprefix("return 200 '").removesuffix("';"))
    assert said == {
        "project": "shop",
        "generation": 12,
        "weights": {"blue": 0, "green": 100},
        "versions": {"green": "v2"},
    }
    assert "listen 8081;" in lines(conf())


def test_an_old_nginx_switches_by_a_file() -> None:
    """Below 1.27.4 nothing that needs a reload decides about traffic."""
    text = conf(seamless=False)
    assert "keepalive_min_timeout" not in text
    assert "split_clients" not in text
    assert "if (-f /ondeploy/flags/green) { set $ondeploy_color green; }" in lines(text)
    assert "proxy_pass http://web-$ondeploy_color:8000;" in lines(text)
    assert '"active": "$active"' in text
    assert '"project": "shop"' in text


def test_without_a_release_visitors_are_told() -> None:
    """Before the first release the answer is a 503, not a refused connection."""
    text = conf(weights=Weights(0, 0))
    assert "* none;" in lines(text)
    assert 'if ($ondeploy_color = none) { return 503 "no release yet\\n"; }' in lines(text)


@pytest.mark.parametrize("seamless", [True, False])
def test_tls_only_with_certificates(seamless: bool) -> None:
    """With them there is an HTTPS listener, from this generation's own folder."""
    assert "ssl" not in conf(seamless=seamless)
    text = conf(seamless=seamless, tls=True)
    assert "listen 8443 ssl;" in lines(text)
    assert "ssl_certificate_key /ondeploy/generations/12/certs/key.pem;" in lines(text)


def test_what_the_app_learns_of_its_visitor() -> None:
    """Address, host, scheme and request id are passed on; websockets pass through."""
    text = conf()
    for header in ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"):
        assert f"proxy_set_header {header} " in text
    assert "proxy_set_header Upgrade $http_upgrade;" in lines(text)
    assert "proxy_set_header X-Request-ID $request_id;" in lines(text)


def test_the_settings_reach_nginx() -> None:
    """Ports, sizes, times and headers are as configured."""
    options: dict[str, Any] = {
        "http_port": 9000,
        "control_port": 9001,
        "max_body": "2g",
        "read_timeout_seconds": 77,
        "preview_header": "X-Try-Color",
        "expose_color": False,
    }
    text = conf(make_settings(router=options))
    for line in (
        "listen 9000;",
        "listen 9001;",
        "client_max_body_size 2g;",
        "proxy_read_timeout 77s;",
        "map $http_x_try_color $ondeploy_color {",
    ):
        assert line in lines(text)
    assert "add_header" not in text


def test_snippets_stand_in_their_blocks(tmp_path: Path) -> None:
    """The user's own lines are taken over as they are, `$` and braces included."""
    (tmp_path / "http.conf").write_text("map $host $x { default '{{ y }}'; }")
    (tmp_path / "server.conf").write_text("location /own { return 204; }")
    options = {"http_snippet": "http.conf", "server_snippet": "server.conf"}
    settings = make_settings(router=options).model_copy(update={"folder": tmp_path})
    text = conf(settings)
    assert "map $host $x { default '{{ y }}'; }" in text
    assert text.index("client_max_body_size") < text.index("location /own { return 204; }")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("one\ntwo {{ nope }}\n", "own.j2:2: 'nope' is undefined"),
        ("one\n\n{% if %}\n", "own.j2:3: "),
        ("{{ app.nope }}", "own.j2:1: "),
        ("a\n{{ 1 / 0 }}", "own.j2:2: division by zero"),
        ("a\n{{ app + 1 }}", "own.j2:2: "),
        ("{{ unfinished", "own.j2:1: "),
    ],
)
def test_a_wrong_template_is_named_with_its_line(template: str, words: str) -> None:
    """Undefined names, bad syntax, impossible sums: file, line and reason, and what is safe."""
    with pytest.raises(ConfigError) as caught:
        conf(sources=Sources(template, "own.j2"))
    assert words in caught.value.message
    assert caught.value.hint == "the live nginx configuration is untouched"


def test_an_own_template_replaces_ours(tmp_path: Path) -> None:
    """It is read from beside the configuration file, with all variables at hand."""
    (tmp_path / "own.j2").write_text("{{ generation }} {{ service }}:{{ port }}\n")
    settings = make_settings(router={"template": "own.j2"})
    assert conf(settings.model_copy(update={"folder": tmp_path})) == "12 web:8000\n"


@pytest.mark.parametrize("key", ["template", "http_snippet", "server_snippet"])
def test_a_file_that_is_not_there_is_named_with_its_key(key: str) -> None:
    """The message has the key that names the file."""
    settings = make_settings(router={key: "none.conf"})
    with pytest.raises(ConfigError, match=rf"router\.{key}: .*none\.conf cannot be read"):
        read_sources(settings)


def test_certificates_come_in_pairs(tmp_path: Path) -> None:
    """One file without the other is no certificate, so nginx keeps to HTTP."""
    settings = make_settings(router={"certificates": "certs"})
    settings = settings.model_copy(update={"folder": tmp_path})
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "cert.pem").write_text("C")
    assert read_certificates(settings) == {}
    (tmp_path / "certs" / "key.pem").write_text("K")
    assert read_certificates(settings) == {"cert.pem": "C", "key.pem": "K"}
    assert read_certificates(make_settings()) == {}


def test_two_generations_differ_in_their_number_only() -> None:
    """A diff of a plan shows what changes, not noise."""
    sources = read_sources(SETTINGS)
    weights, versions = Weights.all_to(BLUE), {BLUE: "v1"}
    one, two = (
        render(SETTINGS, sources, n, weights, versions, seamless=True, tls=False) for n in (3, 4)
    )
    changed = [pair for pair in zip(lines(one), lines(two), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 2  # the first comment and the answer of the control port
