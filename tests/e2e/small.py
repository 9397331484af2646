"""A second stack: two services released together, in two replicas, with a user's usual quirks."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import yaml

from .images import Images
from .settings import DEPLOYMENT, SESSION, SHORT, overlay

ECHO = f"ondeploy-e2e/echo-{SESSION}"
NAME = "the-only-shop"
ALIAS = "shop.internal"

WEB_AND_WORKER = f"""
web:
  image: {ECHO}:${{VERSION:-dev}}
  healthcheck: {{test: [CMD, python3, -V], interval: 2s}}
  stop_grace_period: 5s
worker:
  image: {ECHO}:${{VERSION:-dev}}
  command: [python3, /srv/echo.py, worker]
  stop_grace_period: 5s
  networks: [front]
"""

SCRAPED = """
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
"""

JOB = """
  - job_name: web-%(color)s
    dns_sd_configs: [{names: [web-%(color)s], type: A, port: 8000, refresh_interval: 1s}]
    relabel_configs: [{target_label: color, replacement: %(color)s}]
"""


def image(images: Images, version: str) -> str:
    folder = Path(__file__).parent / "echo"
    return images.build(f"{ECHO}:{version}", folder, {"VERSION": version})


def settings(folder: Path) -> dict[str, Any]:
    """nginx and Prometheus as shipped, around services of another make."""
    compose = folder / "compose.yml"
    compose.write_text(yaml.safe_dump(model(), sort_keys=False))
    scraped = folder / "prometheus"
    scraped.mkdir()
    jobs = "".join(JOB % {"color": color} for color in ("blue", "green"))
    (scraped / "prometheus.yml").write_text(SCRAPED + jobs)
    own = {
        "app": "shop",
        "compose": {"files": [str(compose)], "project": "${ONDEPLOY_PROJECT}"},
        "release": {
            "services": ["web", "worker"],
            "port": 8000,
            "image": ECHO + ":{version}",
            "replicas": 2,
        },
        "smoke": [{"path": "/api/version", "json": {"version": "{version}"}}],
        "router": {
            "url": "http://127.0.0.1:${HTTP_PORT}",
            "control_url": "http://127.0.0.1:${CONTROL_PORT}",
            "certificates": str(folder / "certs"),
        },
        "prometheus": {"url": "http://127.0.0.1:${PROMETHEUS_PORT}"},
        "platform": {"files": {"prometheus-config": str(scraped)}},
    }
    return overlay(SHORT, own)


def model(**web: Any) -> dict[str, Any]:
    """The compose model; `web` is laid over the routed service."""
    shipped = yaml.safe_load((DEPLOYMENT / "docker-compose.prod.yml").read_text())
    around = {name: shipped["services"][name] for name in ("nginx", "prometheus")}
    services = {**yaml.safe_load(WEB_AND_WORKER), **around}
    subnet = f"10.213.{secrets.randbelow(256)}"
    quirks = {
        "container_name": NAME,
        "ports": ["127.0.0.1::8000"],
        "networks": {"front": {"aliases": [ALIAS], "ipv4_address": f"{subnet}.200"}},
    }
    services["web"] = {**services["web"], **quirks, **web}
    for name in around:
        services[name]["networks"] = ["front"]
    return {
        "name": "shop",
        "services": services,
        "networks": {"front": {"ipam": {"config": [{"subnet": f"{subnet}.0/24"}]}}},
        "volumes": dict.fromkeys(("ondeploy", "prometheus-config", "prometheus-data")),
    }
