"""Pure: the nginx configuration as text, from a template in which nothing may be undefined."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ondeploy.colors import STATE_TARGET
from ondeploy.errors import ConfigError
from ondeploy.model import Color, Weights
from ondeploy.settings import Settings

PID_FILE = "/tmp/nginx.pid"
BUILT_IN = Path(__file__).parent / "templates" / "nginx.conf.j2"


@dataclass(frozen=True)
class Sources:
    """The user's own texts that go into the configuration, already read."""

    template: str
    template_name: str
    http_snippet: str = ""
    server_snippet: str = ""


def read_sources(settings: Settings) -> Sources:
    """Read the template and snippets; ConfigError names the file that cannot be read."""
    own = settings.router.template
    template = settings.folder / own if own else BUILT_IN
    return Sources(
        template=read(template, "router.template"),
        template_name=own or template.name,
        http_snippet=read_optional(settings, settings.router.http_snippet, "router.http_snippet"),
        server_snippet=read_optional(
            settings, settings.router.server_snippet, "router.server_snippet"
        ),
    )


def read_certificates(settings: Settings) -> dict[str, str]:
    """cert.pem and key.pem of this checkout; nothing where it does not have both."""
    if not settings.router.certificates:
        return {}
    folder = settings.folder / settings.router.certificates
    files = {name: folder / name for name in ("cert.pem", "key.pem")}
    if not all(file.is_file() for file in files.values()):
        return {}
    return {name: read(file, "router.certificates") for name, file in files.items()}


def render(
    settings: Settings,
    sources: Sources,
    generation: int,
    weights: Weights,
    versions: Mapping[Color, str],
    *,
    seamless: bool,
    tls: bool,
) -> str:
    """The whole nginx.conf of one generation; ConfigError says where the template is wrong."""
    import jinja2  # noqa: PLC0415 - 40 ms that only a render should cost

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        keep_trailing_newline=True,
    )
    values = variables(settings, generation, weights, versions)
    try:
        return environment.from_string(sources.template).render(
            **values,
            seamless=seamless,
            tls=tls,
            http_snippet=sources.http_snippet,
            server_snippet=sources.server_snippet,
        )
    except Exception as error:  # whatever a template's expressions can raise
        where = f"{sources.template_name}{line_of(error)}"
        raise ConfigError(
            f"{where}: {error}", "the live nginx configuration is untouched"
        ) from None


def line_of(error: Exception) -> str:
    """«:12», the line of the template; Jinja puts it on syntax errors and into the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
    return f":{line}" if line else ""


def variables(
    settings: Settings, generation: int, weights: Weights, versions: Mapping[Color, str]
) -> dict[str, Any]:
    """Everything a template may use, besides `seamless`, `tls` and the snippets."""
    router = settings.router
    return {
        "generation": generation,
        "app": settings.app,
        "colors": [str(color) for color in Color],
        "service": settings.routed,
        "port": settings.release.port,
        "split": split(weights),
        "project": settings.project,
        "state_json": json.dumps(state(settings.project, generation, weights, versions)),
        "state": STATE_TARGET,
        "folder": f"{STATE_TARGET}/generations/{generation}",
        "pid_file": PID_FILE,
        "http_port": router.http_port,
        "https_port": router.https_port,
        "control_port": router.control_port,
        "preview_variable": router.preview_header.lower().replace("-", "_"),
        "expose_color": router.expose_color,
        "max_body": router.max_body,
        "read_timeout": router.read_timeout_seconds,
    }


def split(weights: Weights) -> list[tuple[str, str]]:
    """Color and share as split_clients wants them: the last one takes the rest."""
    active = weights.active
    if active is None:
        return [("none", "*")]
    other = active.other
    share = weights.of(other)
    return [(str(other), f"{share}%")] * (share > 0) + [(str(active), "*")]


def state(
    project: str, generation: int, weights: Weights, versions: Mapping[Color, str]
) -> dict[str, Any]:
    """What a generation says of itself: on disk as state.json and live at /generation."""
    return {
        "project": project,
        "generation": generation,
        "weights": {str(color): weights.of(color) for color in Color},
        "versions": {str(c): versions[c] for c in Color if weights.of(c) and c in versions},
    }


def read_optional(settings: Settings, name: str | None, key: str) -> str:
    return read(settings.folder / name, key) if name else ""


def read(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}") from None
