"""Pure: out of the user's ordinary compose model, the compose project of one color.

A color is a compose project of its own (`<project>-blue`) whose networks and volumes are external.
So `up` for a color cannot touch nginx, the other services or the other color: they are not in its
model; and neither `down` nor `--remove-orphans` on the user's files can touch a color.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ondeploy.model import Color, Release
from ondeploy.settings import Settings

LABEL = "ondeploy."
STATE_TARGET = "/ondeploy"

DROPPED = {
    "ports": "nginx publishes the service instead",
    "container_name": "two colors cannot share a name",
    "depends_on": "the platform is checked before every release",
    "profiles": "a color is started by name",
    "links": "a color stands alone",
    "external_links": "a color stands alone",
    "mac_address": "two colors cannot share an address",
}
"""Keys that would collide if they were doubled, and what to tell the user about each."""

SILENTLY_DROPPED = ("build", "image", "pull_policy", "scale", "expose")


def color_project(
    model: Mapping[str, Any],
    settings: Settings,
    color: Color,
    release: Release,
    images: Mapping[str, str],
) -> dict[str, Any]:
    """The compose project that runs a release in a color; `images` pins service -> image id."""
    services = {
        f"{name}-{color}": {
            **color_service(model["services"][name], settings.release.replicas),
            "image": images[name],
            "labels": {
                **model["services"][name].get("labels", {}),
                **labels(settings, color, release),
            },
        }
        for name in settings.release.services
    }
    return {
        "name": project_name(settings, color),
        "services": services,
        "networks": externals(model, "networks", used_networks(services.values())),
        "volumes": externals(model, "volumes", used_volumes(services.values())),
        **{key: model[key] for key in ("secrets", "configs") if model.get(key)},
    }


def color_service(service: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """A service of the user's without what two colors cannot both have."""
    kept = {
        key: value
        for key, value in service.items()
        if key not in DROPPED and key not in SILENTLY_DROPPED and value is not None
    }
    networks = service.get("networks") or {"default": None}
    return {
        **kept,
        "pull_policy": "never",
        "networks": {key: without_fixed(entry) for key, entry in networks.items()},
        "deploy": {**service.get("deploy", {}), "replicas": replicas},
    }


def labels(settings: Settings, color: Color, release: Release) -> dict[str, str]:
    """What a container says of itself; `snapshot` reads nothing else."""
    return {
        LABEL + "app": settings.app,
        LABEL + "project": settings.project,
        LABEL + "color": str(color),
        LABEL + "version": release.version,
        LABEL + "image": release.image,
        LABEL + "config-hash": release.config_hash,
    }


def volume_labels(project: str, volume: str) -> list[str]:
    """The labels that Compose puts on a volume of the user's, so that it counts as theirs."""
    key = volume.removeprefix(f"{project}_")
    return [f"com.docker.compose.project={project}", f"com.docker.compose.volume={key}"]


def creation_options(kind: str, key: str, model: Mapping[str, Any]) -> list[str]:
    """Words of `docker network create` or `volume create` for one of the user's."""
    entry = model[f"{kind}s"][key]
    marks = [f"com.docker.compose.project={model['name']}", f"com.docker.compose.{kind}={key}"]
    words = [f"--driver={entry['driver']}"] if entry.get("driver") else []
    words += [f"--opt={name}={value}" for name, value in entry.get("driver_opts", {}).items()]
    words += [f"--label={mark}" for mark in marks]
    words += ["--internal"] if entry.get("internal") else []
    for pool in (entry.get("ipam") or {}).get("config") or ():
        words += [f"--{name}={pool[name]}" for name in ("subnet", "gateway") if name in pool]
    return words


def project_name(settings: Settings, color: Color) -> str:
    return f"{settings.project}-{color}"


def without_fixed(network: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A network entry without what two colors cannot share: addresses and extra names."""
    kept = {
        key: value
        for key, value in (network or {}).items()
        if key not in ("ipv4_address", "ipv6_address", "aliases", "mac_address")
    }
    return kept or None


def image_of(model: Mapping[str, Any], service: str) -> str:
    """The image that the compose file names for a service; Compose's default where it builds."""
    return str(model["services"][service].get("image") or f"{model['name']}-{service}")


def used_networks(services: Any) -> set[str]:
    return {key for service in services for key in service["networks"]}


def used_volumes(services: Any) -> set[str]:
    return {
        mount["source"]
        for service in services
        for mount in service.get("volumes", ())
        if mount.get("type") == "volume" and mount.get("source")
    }


def externals(model: Mapping[str, Any], kind: str, keys: set[str]) -> dict[str, Any]:
    """The user's networks or volumes by their real names; Compose must not manage them here."""
    return {key: {"external": True, "name": model[kind][key]["name"]} for key in sorted(keys)}


def config_hash(model: Mapping[str, Any], settings: Settings) -> str:
    """Twelve hex digits over everything that shapes a release but its image and version.

    The value of the version variable is removed, so that another version of the same
    configuration has the same hash.
    """
    blank = Release("", "", "", "")
    nothing = dict.fromkeys(settings.release.services, "")
    project = color_project(model, settings, Color.BLUE, blank, nothing)
    for service in project["services"].values():
        kept = dict(service.get("environment") or {})  # a copy: the model is the user's
        kept.pop(settings.release.version_variable, None)
        service["environment"] = kept
    text = json.dumps([project, settings.release.port], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def platform_services(model: Mapping[str, Any], settings: Settings) -> Sequence[str]:
    """The services around the release, in the order of the file."""
    if settings.platform.services is not None:
        return settings.platform.services
    return [name for name in model["services"] if name not in settings.release.services]
