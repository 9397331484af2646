"""What nginx must hand through unharmed: websockets, large bodies, TLS, who the visitor is."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from . import small
from .conftest import GOOD, MakeHost
from .harness import Host, docker
from .images import Images
from .traffic import ECHOED
from .websocket import Websocket

pytestmark = pytest.mark.e2e

LARGE = 50_000_000
CERTIFICATE = (
    "cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2"
    " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null && cat cert key"
)


@pytest.fixture(scope="module")
def shop(make_host: MakeHost, images: Images, variables: Mapping[str, str]) -> Host:
    """A host with a certificate, whose app says back what reaches it."""
    for version in GOOD[:2]:
        small.image(images, version)
    host = make_host("tls", lambda folder: with_certificate(folder, variables["PYTHON_IMAGE"]))
    assert (ran := host.deploy("v1.0.0")).code == 0, ran
    return host


def with_certificate(folder: Path, image: str) -> dict[str, object]:
    made = docker("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", CERTIFICATE)
    certificate, begin, key = made.partition("-----BEGIN PRIVATE KEY-----")
    certs = folder / "certs"
    certs.mkdir()
    (certs / "cert.pem").write_text(certificate)
    (certs / "key.pem").write_text(begin + key)
    settings = small.settings(folder)
    settings["release"]["replicas"] = 1
    return settings


def test_https(shop: Host) -> None:
    """The certificate of the certs folder is served, and the app learns that it was HTTPS."""
    trust = ssl.create_default_context(cafile=str(shop.folder / "certs" / "cert.pem"))
    url = f"https://127.0.0.1:{shop.ports['HTTPS_PORT']}/over-tls"
    answer = httpx.get(url, verify=trust, trust_env=False)
    assert answer.status_code == 200
    assert answer.json()["headers"]["x-forwarded-proto"] == "https"
    assert answer.json()["path"] == "/over-tls"


def test_forwarded_headers(shop: Host) -> None:
    """The app learns the host that was asked for, the scheme, and every address on the way."""
    sent = {"Host": "ontologies.example", "X-Forwarded-For": "203.0.113.7"}
    heard = shop.get("/?q=a%20b", headers=sent).json()
    headers = heard["headers"]
    visitor, _, nearest = headers["x-forwarded-for"].partition(", ")
    assert (headers["host"], visitor) == ("ontologies.example", "203.0.113.7")
    assert ipaddress.ip_address(nearest) == ipaddress.ip_address(headers["x-real-ip"])
    assert headers["x-forwarded-host"] == "ontologies.example"
    assert headers["x-forwarded-proto"] == "http"
    assert len(headers["x-request-id"]) == 32
    assert heard["path"] == "/?q=a%20b"


def test_proto_of_an_outer_proxy(shop: Host) -> None:
    """Behind another proxy that ended TLS, its word on the scheme is passed on."""
    heard = shop.get("/", headers={"X-Forwarded-Proto": "https"}).json()
    assert heard["headers"]["x-forwarded-proto"] == "https"


def test_large_body(shop: Host) -> None:
    """A body of 50 MB arrives whole."""
    answer = httpx.post(shop.url + "/upload", content=b"x" * LARGE, timeout=60, trust_env=False)
    assert (answer.status_code, answer.json()["bytes"]) == (200, LARGE)


def test_certificate_outlasts_a_checkout_without_it(shop: Host) -> None:
    """A release from a checkout without the certificate keeps the one that is live."""
    trust = ssl.create_default_context(cafile=str(shop.folder / "certs" / "cert.pem"))
    with shop.load(ECHOED):
        ran = shop.deploy("v2.0.0", settings={"router": {"certificates": "nowhere"}})
    assert ran.code == 0, ran
    url = f"https://127.0.0.1:{shop.ports['HTTPS_PORT']}/"
    assert httpx.get(url, verify=trust, trust_env=False).status_code == 200


def test_websocket_survives_a_switch(host: Host, active: str, coming: str) -> None:
    """A websocket opened before a switch goes on with the release that it was opened with."""
    color = host.color()
    port = host.ports["HTTP_PORT"]
    with Websocket(port, "/ws") as before:
        assert before.headers["x-ondeploy-color"] == color
        assert before.echo("one") == "one"
        with host.load() as load:
            ran = host.deploy(coming, settings={"router": {"drain_seconds": 2}})
        assert ran.code == 0, ran
        assert before.echo("two") == "two"
        with Websocket(port, "/ws") as after:
            assert after.headers["x-ondeploy-color"] != color
            assert after.echo("three") == "three"
        assert before.echo("four") == "four"
    host.expect(coming, active)
    load.expect_no_loss()
