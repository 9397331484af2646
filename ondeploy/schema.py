"""The JSON Schema of `ondeploy.yml`: `python -m ondeploy.schema > docs/ondeploy.schema.json`.

It is made from settings.py, with what only the reader of the file knows: `environments` are partial
copies of the whole, and a scalar may be a `${NAME}` from the environment.
"""

from __future__ import annotations

import json
from typing import Any

from ondeploy.settings import Settings

INTERNAL = ("env", "folder")
"""Fields that the reader sets, so the file must not."""
VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}


def published() -> dict[str, Any]:
    """The schema of the file as a whole."""
    whole = Settings.model_json_schema()
    sections: dict[str, Any] = {
        name: with_variables(section) for name, section in whole.pop("$defs").items()
    }
    for name in INTERNAL:
        del whole["properties"][name]
    top = with_variables(whole)
    partial = {partial_name(name): partially(section) for name, section in sections.items()}
    properties = {**top["properties"], "environments": environments()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "title": "ondeploy.yml",
        "description": "One app and its environments, as ondeploy releases it.",
        "properties": properties,
        "$defs": {
            **sections,
            **partial,
            "Environment": partially(top),
            "Variable": {**VARIABLE, "description": "A value from the environment"},
        },
    }


def environments() -> dict[str, Any]:
    return {
        "description": "Name -> what differs there, laid over the rest of this file",
        "type": "object",
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/Environment"}, {"type": "null"}]},
    }


def with_variables(node: Any) -> Any:
    """Every scalar that is not just any text may also be a `${NAME}`."""
    if isinstance(node, list):
        return [with_variables(part) for part in node]
    if not isinstance(node, dict):
        return node
    bounded = {"pattern", "enum", "const", "minLength"} & node.keys()
    scalar = node.get("type") in ("integer", "number", "boolean")
    if scalar or (node.get("type") == "string" and bounded):
        notes = {key: node[key] for key in ("title", "description", "default") if key in node}
        rest = {key: value for key, value in node.items() if key not in notes}
        return {**notes, "anyOf": [rest, {"$ref": "#/$defs/Variable"}]}
    return {
        key: value if key == "default" else with_variables(value) for key, value in node.items()
    }


def partially(section: dict[str, Any]) -> dict[str, Any]:
    """A section of which an environment may give a part; a list in it is still replaced whole."""
    kept = {key: value for key, value in section.items() if key not in ("required", "$defs")}
    properties = section.get("properties", {})
    return {**kept, "properties": {key: refer_partially(node) for key, node in properties.items()}}


def refer_partially(node: Any) -> Any:
    if "$ref" in node:
        prefix, _, name = node["$ref"].rpartition("/")
        if name != "Variable":
            return {**node, "$ref": f"{prefix}/{partial_name(name)}"}
    if "anyOf" in node:
        return {**node, "anyOf": [refer_partially(part) for part in node["anyOf"]]}
    return node


def partial_name(name: str) -> str:
    return f"Partial{name}"


def main() -> None:
    """Print it."""
    print(json.dumps(published(), indent=2))


if __name__ == "__main__":
    main()
