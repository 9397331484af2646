"""What the demo decides to do to a machine, and which images it takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from demo.engine import Facts, is_current_compose, missing
from demo.host import SetupError, is_debian
from demo.images import COMPOSE_FILE, choose, lacking, official_images, stand_in_tag

COMPLETE = Facts(
    engine=True,
    refused=False,
    elsewhere="",
    installed=True,
    compose=True,
    buildx=True,
    can_install=True,
)
BARE = replace(COMPLETE, engine=False, installed=False, compose=False, buildx=False)


def test_a_complete_machine_is_left_alone() -> None:
    """Where everything works nothing is done, whoever the user is."""
    assert missing(COMPLETE) == ()
    assert missing(replace(COMPLETE, can_install=False)) == ()


def test_a_bare_debian_gets_everything() -> None:
    """The engine comes first, for the rest needs its client."""
    assert missing(BARE) == ("install engine", "start engine", "link compose", "install buildx")


def test_an_installed_engine_is_only_started() -> None:
    """A stopped engine is not installed again."""
    assert missing(replace(COMPLETE, engine=False)) == ("start engine",)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (replace(BARE, can_install=False), "install and start Docker Engine"),
        (replace(BARE, elsewhere="ssh://host"), "ssh://host does not answer"),
        (replace(BARE, refused=True), "group `docker`"),
        (replace(COMPLETE, buildx=False, can_install=False), "buildx plugin"),
    ],
)
def test_what_only_a_person_can_do_is_said(facts: Facts, says: str) -> None:
    """A machine we may not change ends in one line that says what to do."""
    with pytest.raises(SetupError, match=says) as raised:
        missing(facts)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("version", "current"),
    [("5.6.1\n", True), ("v2.26.1", True), ("1.29.2", False), ("10.0", True), ("", False)],
)
def test_compose_has_to_be_version_two_or_later(version: str, current: bool) -> None:
    """The first compose has other commands and another file format."""
    assert is_current_compose(version) is current


@pytest.mark.parametrize(
    ("os_release", "debian"),
    [
        ("ID=debian\nVERSION_ID=12\n", True),
        ("ID=ubuntu\nID_LIKE=debian\n", True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ("ID=fedora\n", False),
        ("", False),
    ],
)
def test_debian_is_known_by_its_release_file(os_release: str, debian: bool) -> None:
    """What is made from Debian takes its packages, too."""
    assert is_debian(os_release) is debian


def test_official_images_are_read_from_the_compose_file() -> None:
    """The compose file alone says which official images there are, each with its version."""
    images = official_images(COMPOSE_FILE.read_text(encoding="utf-8"))
    assert list(images) == ["PYTHON_IMAGE", "NGINX_IMAGE", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE"]
    assert all(":" in image and not image.endswith(":latest") for image in images.values())


@pytest.mark.parametrize("part", ["app", "catalog"])
def test_a_dockerfile_alone_builds_on_the_same_base(part: str) -> None:
    """`docker build` without compose takes the image the compose file names."""
    images = official_images(COMPOSE_FILE.read_text(encoding="utf-8"))
    dockerfile = (COMPOSE_FILE.parent / part / "Dockerfile").read_text(encoding="utf-8")
    assert dockerfile.startswith(f"ARG PYTHON_IMAGE={images['PYTHON_IMAGE']}\n")


def test_the_official_image_goes_before_the_stand_in() -> None:
    """A stand-in is taken only where the official image is not there."""
    official = {"A": "nginx:1", "B": "python:1", "C": "grafana:1"}
    stand_ins = {"A": "demo/nginx:1", "B": "demo/python:1"}
    present = {"nginx:1", "demo/nginx:1", "demo/python:1"}
    chosen = choose(official, stand_ins, present)
    assert chosen == {"A": "nginx:1", "B": "demo/python:1"}
    assert lacking(official, chosen) == ["C"]


def test_a_changed_dockerfile_has_a_new_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in made from something else is never mistaken for the present one."""
    monkeypatch.setattr("demo.images.IMAGES", tmp_path)
    (tmp_path / "python").mkdir()
    dockerfile = tmp_path / "python" / "Dockerfile"
    dockerfile.write_text("FROM a\n", encoding="utf-8")
    before = stand_in_tag("python")
    assert stand_in_tag("python") == before
    dockerfile.write_text("FROM b\n", encoding="utf-8")
    assert stand_in_tag("python") != before
