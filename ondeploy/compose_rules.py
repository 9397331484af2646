"""Pure: what of the user's compose model cannot be released, and what should be said about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ondeploy.colors import DROPPED, STATE_TARGET, without_fixed
from ondeploy.errors import ConfigError
from ondeploy.settings import Settings


def check_model(model: Mapping[str, Any], settings: Settings) -> None:
    """Raise ConfigError where the compose files cannot be released as they are, with the reason."""
    services = model["services"]
    for name in (*settings.release.services, settings.router.service):
        if name not in services:
            known = ", ".join(sorted(services))
            raise ConfigError(f"the compose files have no service {name!r}; they have: {known}")
    if settings.router.service in settings.release.services:
        raise ConfigError(f"{settings.router.service!r} routes the release and cannot be released")
    for name in settings.release.services:
        refuse_unshareable(name, services[name])
    for name in settings.platform.services or ():
        if name not in services:
            raise ConfigError(f"platform.services: the compose files have no service {name!r}")
    check_ports(services[settings.router.service], settings)
    state_volume(model, settings)
    if not shared_network(model, settings):
        raise ConfigError(
            f"{settings.router.service!r} and {settings.routed!r} share no network",
            "put both on one network of the compose file",
        )


def check_ports(nginx: Mapping[str, Any], settings: Settings) -> None:
    """Raise ConfigError where nginx publishes its control port elsewhere than it is asked at.

    Ports that Docker chooses, and ranges, cannot be compared and are believed.
    """
    router = settings.router
    published = {
        str(port["published"])
        for port in nginx.get("ports", ())
        if port.get("target") == router.control_port and str(port.get("published", "")).isdigit()
    }
    asked = str(urlsplit(router.control_url).port or 80)
    if published and asked not in published:
        raise ConfigError(
            f"{router.service!r} publishes its control port {router.control_port} as "
            f"{', '.join(sorted(published))}, but router.control_url says {asked}",
            "make them agree",
        )


def refuse_unshareable(name: str, service: Mapping[str, Any]) -> None:
    mode = str(service.get("network_mode", ""))
    if mode:
        raise ConfigError(
            f"{name!r} has network_mode {mode!r}: two colors cannot share one network stack",
            "use an ordinary network; nginx publishes the port",
        )
    if service.get("volumes_from"):
        raise ConfigError(f"{name!r} has volumes_from: name the volumes it uses instead")


def state_volume(model: Mapping[str, Any], settings: Settings) -> str:
    """The real name of the volume that nginx mounts for its configuration and ondeploy's state."""
    service = model["services"].get(settings.router.service) or {}
    for mount in service.get("volumes", ()):
        if mount.get("target") == STATE_TARGET and mount.get("type") == "volume":
            return str(model["volumes"][mount["source"]]["name"])
    raise ConfigError(
        f"the service {settings.router.service!r} does not mount a volume at {STATE_TARGET}",
        f"add «ondeploy:{STATE_TARGET}» to its volumes and «ondeploy:» to the volumes below",
    )


def shared_network(model: Mapping[str, Any], settings: Settings) -> bool:
    """nginx and the routed service are on a network together."""
    router = model["services"][settings.router.service].get("networks") or {"default": None}
    routed = model["services"][settings.routed].get("networks") or {"default": None}
    return bool(set(router) & set(routed))


def notes(model: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    """What a reader of the plan should know about how their service is run."""
    said = []
    for name in settings.release.services:
        service = model["services"][name]
        said += [
            f"{name}: {key} is not used for the colors: {why}"
            for key, why in DROPPED.items()
            if service.get(key) and key not in ("depends_on", "profiles")
        ]
        for network, entry in (service.get("networks") or {}).items():
            fixed = sorted(set(entry or {}) - set(without_fixed(entry) or {}))
            said += [f"{name}: {key} on network {network} is not used" for key in fixed]
        said += [
            f"{name}: {source} is a folder of this checkout, bound into the containers; "
            "a volume would not depend on where the checkout lies"
            for source in checkout_binds(service, settings.folder)
        ]
    return tuple(said)


def checkout_binds(service: Mapping[str, Any], folder: Path) -> list[str]:
    """Bind mounts whose source lies in the checkout (below the compose files' repository)."""
    return [
        mount["source"]
        for mount in service.get("volumes", ())
        if mount.get("type") == "bind" and Path(mount["source"]).is_relative_to(folder.parent)
    ]
