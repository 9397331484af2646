"""The configuration file: what is wrong is named with file and key path, never with its value."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ondeploy import config
from ondeploy.errors import ConfigError, OndeployError, UsageError
from ondeploy.settings import Settings

GOOD = """
app: shop
compose: {files: [compose.yml], project: shop}
release: {services: [web], port: 8000}
"""
SECRET = "hunter2"


def load(
    tmp_path: Path, text: str, env: str = "prod", environ: Mapping[str, str] | None = None
) -> Settings:
    """Load a configuration file with this text."""
    file = tmp_path / "ondeploy.yml"
    file.write_text(text)
    return config.load(file, env, environ or {})


def complaint(tmp_path: Path, text: str, env: str = "prod") -> str:
    """What ondeploy says about a wrong file."""
    with pytest.raises(OndeployError) as caught:
        load(tmp_path, text, env)
    assert caught.value.code == 2
    return caught.value.message


def test_the_shortest_file_gets_the_guides_numbers(tmp_path: Path) -> None:
    """Three sections are enough; everything else has the guide's defaults."""
    settings = load(tmp_path, GOOD)
    assert settings.routed == "web"
    assert settings.bake.minutes == 5
    assert settings.bake.error_rate_percent == 5
    assert settings.probes.liveness.limit_seconds == 30 + 10 * 3
    assert settings.probes.readiness is not None
    assert settings.probes.readiness.limit_seconds == 10 + 5 * 2
    assert settings.folder == tmp_path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "bakke: {}\n", "bakke: unknown key; did you mean 'bake'?"),
        (GOOD + "zzz: 1\n", "zzz: unknown key"),
        (GOOD + "bake: {minuts: 5}\n", "bake.minuts: unknown key; did you mean 'minutes'?"),
        (
            GOOD + "smoke: [{path: /, jsn: {}}]\n",
            "smoke[0].jsn: unknown key; did you mean 'json'?",
        ),
        (
            GOOD + "probes: {readiness: {pth: /r}}\n",
            "probes.readiness.pth: unknown key; did you mean 'path'?",
        ),
        (GOOD.replace("app: shop", ""), "app: missing"),
        (GOOD.replace("[web], port: 8000", "[web]"), "release.port: missing"),
        (GOOD + "bake: {minutes: soon}\n", "bake.minutes: input should be a valid number"),
        (GOOD + "bake: {minutes: 0}\n", "bake.minutes: input should be greater than 0"),
        (GOOD + "bake: short\n", "bake: "),
        (
            GOOD + "bake: {error_rate_percent: 50.1}\n",
            "bake.error_rate_percent: input should be less than or equal to 50",
        ),
        (GOOD + "release: {services: [], port: 1}\n", "'release' is given twice"),
        (GOOD + "bake: {minutes: 1, minutes: 2}\n", "'minutes' is given twice"),
        (GOOD + "bake: [1\n", "not YAML"),
        (GOOD + "app2: !!python/object:os.system x\n", "not YAML"),
        ("- a\n- b\n", "expected keys and values at the top"),
        ("", "expected keys and values at the top"),
        (GOOD + "env: prod\n", "env: not a key of this file"),
        (GOOD + "folder: /\n", "folder: not a key of this file"),
        (GOOD + "environments: [prod]\n", "environments: expected names"),
        (GOOD + "environments: {prod: fast}\n", "environments.prod: expected keys and values"),
        (GOOD + "environments: {prod: {bake: {minits: 1}}}\n", "did you mean 'minutes'?"),
        (GOOD + "router: {preview_header: 'X: y'}\n", "router.preview_header: string should match"),
        (GOOD + "smoke: [{path: '/;x'}]\n", "smoke[0].path: string should match"),
        (GOOD + "1: 2\n", "1"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, words: str) -> None:
    """Whatever is wrong, the message has the file, the key path and the reason."""
    said = complaint(tmp_path, text)
    assert said.startswith(str(tmp_path / "ondeploy.yml"))
    assert words in said


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Two mistakes are two lines, so nobody mends a file one run at a time."""
    said = complaint(tmp_path, GOOD.replace("app: shop", "") + "bake: {minutes: 0}\n")
    assert len(said.splitlines()) == 2


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """Without a file the message says where it was looked for and how to name another."""
    with pytest.raises(ConfigError, match="no such file") as caught:
        config.load(tmp_path / "none.yml", "prod", {})
    assert "--config" in caught.value.hint


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"app: \x07\n"])
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, content: bytes) -> None:
    """A binary file is one clear error."""
    file = tmp_path / "ondeploy.yml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ondeploy\.yml"):
        config.load(file, "prod", {})


def test_variables_come_from_the_environment(tmp_path: Path) -> None:
    """${NAME} is replaced, ${NAME:-default} where NAME is not set, also for numbers."""
    text = GOOD.replace("project: shop", "project: '${P}-${Q:-x}'") + "bake: {minutes: '${M:-7}'}\n"
    settings = load(tmp_path, text, environ={"P": "shop"})
    assert settings.project == "shop-x"
    assert settings.bake.minutes == 7


def test_a_missing_variable_is_named_with_its_key(tmp_path: Path) -> None:
    """A variable without a value is an error that says which key wants it."""
    said = complaint(tmp_path, GOOD + "smoke: [{path: '${NOPE}'}]\n")
    assert "smoke[0].path: the environment variable NOPE is not set" in said


def test_an_environment_is_laid_over_the_rest(tmp_path: Path) -> None:
    """Sections merge key by key, and lists are replaced."""
    text = GOOD + (
        "bake: {minutes: 9, alpha: 0.02}\n"
        "platform: {services: [a, b]}\n"
        "environments:\n  prod:\n  staging: {bake: {minutes: 1}, platform: {services: [a]}}\n"
    )
    staging, prod = load(tmp_path, text, "staging"), load(tmp_path, text)
    assert (staging.bake.minutes, staging.bake.alpha) == (1, 0.02)
    assert staging.platform.services == ("a",)
    assert staging.env == "staging"
    assert prod.bake.minutes == 9


def test_an_unknown_environment_names_those_that_there_are(tmp_path: Path) -> None:
    """A mistyped --env lists the environments of the file."""
    text = GOOD + "environments: {prod: , staging: }\n"
    assert "no 'stagin'; there are: prod, staging" in complaint(tmp_path, text, "stagin")


def test_yaml_anchors_and_merges_work(tmp_path: Path) -> None:
    """A merge key is YAML, not a key given twice or unknown."""
    text = GOOD + (
        "environments:\n  prod: &p {lease: {seconds: 5}}\n  demo: {<<: *p, bake: {minutes: 1}}\n"
    )
    assert load(tmp_path, text, "demo").lease.seconds == 5


@pytest.mark.parametrize(
    "line",
    [
        f'checks: [{{name: "{SECRET}',
        f"bake: {{minutes: {SECRET}}}",
        f"bake: {SECRET}",
        f"release: {SECRET}",
        f"router: {{max_body: {SECRET}}}",
        f"compose: {{files: [], project: '{SECRET} {SECRET}'}}",
        f"smoke: [{{path: '{SECRET}'}}]",
        f"lease: {{seconds: [{SECRET}]}}",
        "app: '${MINE} x'",
        f"x: {SECRET}: {SECRET}",
    ],
)
def test_values_are_never_repeated(tmp_path: Path, line: str) -> None:
    """A value may be a secret: no message has it, not even that of broken YAML."""
    key = line.partition(":")[0]
    text = "\n".join(each for each in GOOD.splitlines() if not each.startswith(key))
    with pytest.raises(OndeployError) as caught:
        load(tmp_path, f"{text}\n{line}\n", environ={"MINE": SECRET})
    assert SECRET not in caught.value.message + caught.value.hint


INJECTIONS = [
    "v1;reboot",
    "$(id)",
    "`id`",
    "v1 v2",
    "../v1",
    "v1/../v2",
    "{{x}}",
    "v1\nv2",
    "v1\n",
    "-v1",
    "--help",
    "v1'",
    'v1"',
    "v1|x",
    "v1&",
    "vé",
    "v\x00",
    ".v1",
]


@pytest.mark.parametrize("version", ["", "v" * 129, "v1/2", "v1:2", *INJECTIONS])
def test_a_version_is_an_image_tag_and_nothing_else(version: str) -> None:
    """What a shell, a path or a template could mind is refused before anything is done."""
    with pytest.raises(UsageError, match="is not a version"):
        config.check_version(version)


@pytest.mark.parametrize("version", ["v1.2.3", "1.2.3-rc.1", "2025_10", "latest", "a" * 128])
def test_every_ordinary_version_is_taken(version: str) -> None:
    """A Docker tag is a version."""
    assert config.check_version(version) == version


@pytest.mark.parametrize("image", ["", *INJECTIONS])
def test_an_image_cannot_smuggle_anything(image: str) -> None:
    """An image reference has no room for shell, paths or options."""
    with pytest.raises(UsageError, match="is not an image reference"):
        config.check_image(image)


@pytest.mark.parametrize(
    "image",
    [
        "web",
        "web:v1",
        "localhost:5000/team/web:v1.2",
        f"ghcr.io/team/web@sha256:{'a' * 64}",
        f"sha256:{'0' * 64}",
    ],
)
def test_every_ordinary_image_is_taken(image: str) -> None:
    """References with registry, tag or digest, and bare ids, pass."""
    assert config.check_image(image) == image


@pytest.mark.parametrize("env", ["", "../prod", "prod\n", "Prod;", "-e"])
def test_an_environments_name_is_checked(tmp_path: Path, env: str) -> None:
    """--env takes a name only."""
    assert "is not the name of an environment" in complaint(tmp_path, GOOD, env)
