"""The configuration of a host under test: the reference one, with short numbers."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOYMENT = Path(__file__).resolve().parents[2] / "deployment"
SESSION = secrets.token_hex(3)
"""Part of every name made here, so that two runs of the stories can go side by side."""
IMAGE = f"ondeploy-e2e/app-{SESSION}"

SHORT = {
    "release": {"image": IMAGE + ":{version}", "source": "local"},
    "probes": {
        "liveness": {"initial_delay_seconds": 12, "period_seconds": 1},
        "readiness": {"initial_delay_seconds": 8, "period_seconds": 1},
    },
    "prometheus": {"scrape_seconds": 1},
    "bake": {"minutes": 0.02, "min_requests": 20, "deadline_minutes": 0.5, "look_seconds": 0.25},
    "router": {"drain_seconds": 15},
    "lease": {"seconds": 2},
}


def reference(folder: Path) -> dict[str, Any]:
    """deployment/ondeploy.yml from another folder: scraped every second, baked for 1.2 s."""
    shipped = yaml.safe_load((DEPLOYMENT / "ondeploy.yml").read_text())
    shipped.pop("environments")
    places = {
        "compose": {"files": [str(DEPLOYMENT / "docker-compose.prod.yml")]},
        "platform": {
            "services": ["duckdb-catalog", "nginx", "prometheus"],
            "files": {"prometheus-config": str(prometheus(folder))},
        },
        "router": {"certificates": str(folder / "certs")},
    }
    shipped["platform"].pop("files")
    return overlay(overlay(shipped, places), SHORT)


def prometheus(folder: Path) -> Path:
    """The shipped Prometheus configuration, scraping every second."""
    copy = folder / "prometheus"
    shutil.copytree(DEPLOYMENT / "prometheus", copy, dirs_exist_ok=True)
    file = copy / "prometheus.yml"
    text = file.read_text()
    for old, new in (
        ("scrape_interval: 5s", "scrape_interval: 1s"),
        ("timeout: 4s", "timeout: 1s"),
    ):
        assert old in text, f"{file} no longer says {old!r}"
        text = text.replace(old, new)
    file.write_text(text)
    return copy


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings laid onto others, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = overlay(merged[key], value) if both else value
    return merged
