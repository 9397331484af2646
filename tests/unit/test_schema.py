"""The published JSON Schema, by which editors check an ondeploy.yml."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ondeploy import schema
from ondeploy.settings import Section, Settings

ROOT = Path(__file__).parents[2]
MINIMAL: dict[str, Any] = {
    "app": "shop",
    "compose": {"files": ["compose.yml"], "project": "shop"},
    "release": {"services": ["web"], "port": 8000},
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """The schema as generated, itself checked."""
    text = schema.published()
    jsonschema.Draft202012Validator.check_schema(text)
    return jsonschema.Draft202012Validator(text)


def test_the_published_schema_is_current() -> None:
    """The file in docs/ is what the settings say; else: python -m ondeploy.schema > it."""
    published = json.loads((ROOT / "docs" / "ondeploy.schema.json").read_text())
    assert published == schema.published()


def test_our_own_file_is_valid(validator: jsonschema.Draft202012Validator) -> None:
    """An editor that knows the schema finds nothing wrong with deployment/ondeploy.yml."""
    tree = yaml.safe_load((ROOT / "deployment" / "ondeploy.yml").read_text())
    assert [error.message for error in validator.iter_errors(tree)] == []


@pytest.mark.parametrize(
    "more",
    [
        {"environments": {"prod": None, "demo": {"bake": {"minutes": 1}}}},
        {"environments": {"demo": {"compose": {"project": "other"}}}},
        {"bake": {"minutes": "${MINUTES:-5}"}},
        {"prometheus": None},
    ],
)
def test_what_the_reader_takes_is_valid(
    validator: jsonschema.Draft202012Validator, more: dict[str, Any]
) -> None:
    """Partial environments, variables and switched-off sections are no errors in an editor."""
    validator.validate({**MINIMAL, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"env": "prod"},
        {"folder": "/"},
        {"bakke": {}},
        {"bake": {"minutes": "soon"}},
        {"bake": {"minutes": 0}},
        {"environments": {"demo": {"app2": 1}}},
        {"environments": {"demo": {"smoke": [{"status": 200}]}}},
        {"app": None},
    ],
)
def test_what_the_reader_refuses_is_marked(
    validator: jsonschema.Draft202012Validator, more: dict[str, Any]
) -> None:
    """Internal, unknown and ill-typed keys show up in an editor too."""
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**MINIMAL, **more})


def sections(parent: type[Section] = Section) -> list[type[Section]]:
    """Every section class."""
    return [each for child in parent.__subclasses__() for each in (child, *sections(child))]


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_key_is_documented(section: type[Section]) -> None:
    """A reader of the schema finds what each key means: in its description, or its section's."""
    assert section.__doc__
    undescribed = [
        name
        for name, info in section.model_fields.items()
        if not info.description
        and not (isinstance(info.annotation, type) and issubclass(info.annotation, Section))
    ]
    assert undescribed == []


def test_a_key_of_the_settings_is_in_the_schema() -> None:
    """All but the two internal fields are published."""
    published = set(schema.published()["properties"])
    assert published == set(Settings.model_fields) - {"env", "folder"} | {"environments"}
