"""The only reader of YAML and of the environment: a file in, checked `Settings` out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ondeploy.errors import ConfigError, UsageError
from ondeploy.settings import Settings

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
VERSION = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
"""A Docker tag, by the distribution specification; nothing a shell, path or template could mind."""
IMAGE = re.compile(
    r"^[a-z0-9][a-zA-Z0-9._/:-]{0,255}(@sha256:[0-9a-f]{64})?$|^sha256:[0-9a-f]{64}$"
)
ENVIRONMENT = re.compile(r"^[a-z0-9][a-z0-9_-]{0,40}$")


def load(path: Path, env: str, environ: Mapping[str, str]) -> Settings:
    """Read one environment of a configuration file.

    Raises ConfigError naming the file and the key path of the first thing that is wrong.
    """
    tree = select_environment(read_yaml(path), env, path)
    return validate(interpolate(tree, environ, path), env, path)


def check_version(version: str) -> str:
    """The version itself, if it can be an image tag; UsageError otherwise."""
    if not VERSION.fullmatch(version):
        raise UsageError(
            f"{version!r} is not a version: letters, digits, '.', '_' and '-' make an image tag",
            "for example: --version v1.2.3",
        )
    return version


def check_image(image: str) -> str:
    """The image reference itself, if it is one; UsageError otherwise."""
    if not (IMAGE.fullmatch(image) and ".." not in image):
        raise UsageError(f"{image!r} is not an image reference", "for example: --image app:v1.2.3")
    return image


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
    except FileNotFoundError:
        hint = "run from the folder that has it, or name it with --config"
        raise ConfigError(f"{path}: no such file", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        hint = "a value with ${NAME} inside {...} needs quotes"
        raise ConfigError(f"{path}: not YAML: {yaml_problem(error)}", hint) from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top")
    return tree


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the line itself: it may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"
    return "it cannot be read as text"


class UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader for which a key given twice is an error, not a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=deep)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(str(key))
        return super().construct_mapping(node, deep)


def interpolate(node: Any, environ: Mapping[str, str], path: Path, at: str = "") -> Any:
    """Replace ${NAME} and ${NAME:-default} in every string value."""
    if isinstance(node, dict):
        return {k: interpolate(v, environ, path, f"{at}.{k}".lstrip(".")) for k, v in node.items()}
    if isinstance(node, list):
        return [interpolate(v, environ, path, f"{at}[{i}]") for i, v in enumerate(node)]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = environ.get(name) or default
        if found is None:
            raise ConfigError(f"{path}: {at}: the environment variable {name} is not set")
        return found

    return VARIABLE.sub(value, node)


def select_environment(tree: dict[str, Any], env: str, path: Path) -> dict[str, Any]:
    """The file's settings with those of `environments.<env>` laid over them."""
    if not ENVIRONMENT.fullmatch(env):
        raise UsageError(f"{env!r} is not the name of an environment", "for example: --env prod")
    base = {key: value for key, value in tree.items() if key != "environments"}
    environments = tree.get("environments") or {"prod": None}
    if not isinstance(environments, dict):
        raise ConfigError(f"{path}: environments: expected names with settings below them")
    if env not in environments:
        known = ", ".join(sorted(environments))
        raise ConfigError(f"{path}: environments: no {env!r}; there are: {known}")
    over = environments[env] or {}
    if not isinstance(over, dict):
        raise ConfigError(f"{path}: environments.{env}: expected keys and values")
    return overlay(base, over)


def overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid onto `base`: mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


def validate(tree: dict[str, Any], env: str, path: Path) -> Settings:
    for key in ("env", "folder"):
        if key in tree:
            raise ConfigError(f"{path}: {key}: not a key of this file")
    try:
        folder = path.resolve().parent
        return Settings.model_validate({**tree, "env": env, "folder": folder})
    except ValidationError as error:
        lines = [f"{path}: {describe(problem)}" for problem in error.errors()]
        raise ConfigError("\n".join(lines), "docs/ondeploy.schema.json lists every key") from None


def describe(problem: Any) -> str:
    """One pydantic error as «key path: what is wrong», without the value: it may be a secret."""
    location = tuple(problem["loc"])
    where = key_path(location)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), keys_at(location[:-1]), 1, 0.5)
        return f"{where}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    if problem["type"] == "missing":
        return f"{where}: missing"
    return f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def key_path(location: tuple[str | int, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "(top)"


def keys_at(location: tuple[str | int, ...]) -> list[str]:
    """The keys that the section at a location knows."""
    section: Any = Settings
    for part in location:
        if isinstance(part, str):
            fields = {f.alias or name: f for name, f in section.model_fields.items()}
            section = model_in(fields[part].annotation) if part in fields else None
        if section is None:
            return []
    hidden = {"env", "folder"} if section is Settings else set()
    return [f.alias or n for n, f in section.model_fields.items() if n not in hidden]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The section class inside a type such as `tuple[SmokeTest, ...]` or `Readiness | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model), None)
