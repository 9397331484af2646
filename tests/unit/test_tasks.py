"""The tasks as a person or a script meets them: names, flags, exit codes, and a quick start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.program import Program

from ondeploy import output, tasks
from ondeploy.errors import ConfigError, RollbackFailed, UsageError
from ondeploy.execute import bug_report
from ondeploy.model import Outcome
from tests.fakes import Host

NAMES = ["deploy", "history", "prune", "recover", "rollback", "status", "unlock"]
HEAVY = ["pydantic", "httpx", "jinja2", "python_on_whales", "yaml", "tenacity", "rich", "asyncio"]
DASHED = {"deploy": ["--version", "v1"]}


def run(*words: str) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        Program(name="ondeploy", namespace=tasks.namespace, version="0").run(["ondeploy", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_list_has_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` shows each with a line of help."""
    Program(name="ondeploy", namespace=tasks.namespace, version="0").run(
        ["ondeploy", "--list"], exit=False
    )
    printed = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    listed = {words[0]: words[1:] for words in printed}
    assert set(NAMES) <= set(listed)
    assert all(len(listed[name]) > 2 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_task_takes_environment_config_and_json(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three common flags are the same everywhere, and documented."""
    Program(name="ondeploy", namespace=tasks.namespace, version="0").run(
        ["ondeploy", "--help", name], exit=False
    )
    text = capsys.readouterr().out
    for flag in ("--env=STRING", "--config=STRING", "--json"):
        assert flag in text


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_configuration_is_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the command: one error on stderr with file and key, and no traceback."""
    file = tmp_path / "ondeploy.yml"
    file.write_text("app: shop\nbakke: {}\n")
    assert run(name, "--config", str(file), *DASHED.get(name, [])) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {file}: ")
    assert "bakke: unknown key; did you mean 'bake'?" in captured.err
    assert "  traffic  not touched by this command" in captured.err
    assert "  next     " in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("name", NAMES)
def test_with_json_an_error_is_one_document(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script parses stdout whatever happened."""
    none = str(tmp_path / "none.yml")
    assert run(name, "--config", none, "--json", *DASHED.get(name, [])) == 2
    facts = json.loads(capsys.readouterr().out)
    assert (facts["command"], facts["result"], facts["code"]) == (name, "failed", 2)
    assert "no such file" in facts["reason"]


def test_a_bug_is_exit_code_1_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Something nobody thought of, as a path with a NUL: one sentence that asks for a report."""
    assert run("status", "--config", "a\0b", "--json") == 1
    captured = capsys.readouterr()
    assert "a fault in ondeploy itself: ValueError" in captured.err
    assert "Traceback" not in captured.err
    assert json.loads(captured.out)["code"] == 1


@pytest.mark.parametrize("code", [0, 2, 4, 5, 6, 130])
def test_an_outcomes_code_is_the_exit_code(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What the outcome says is what the shell sees; as JSON, it is the only thing on stdout."""
    outcome = Outcome("R", "deploy", "v1", "failed", code, "why", "", None, "")
    assert output.show_outcome(outcome, as_json=True) == code
    assert json.loads(capsys.readouterr().out)["code"] == code
    assert output.show_outcome(outcome, as_json=False) == code


def test_progress_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """So that stdout stays one JSON document."""
    output.say("shift: done")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "  shift: done\n")


def test_a_version_and_an_image_are_checked_first() -> None:
    """Nothing with shell in it gets past the command line."""
    for version, image in (("v1;x", None), (None, None), ("v1", "-x"), ("v1\n", None)):
        with pytest.raises(UsageError, match=r"is not a|needs --version"):
            tasks.checked("deploy", version, "prod", image, force=False)
    assert tasks.checked("rollback", None, "prod", None, force=False).version == ""


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rollback", "--to", ""], "'' is not a version"),
        (["deploy", "--version", ""], "'' is not a version"),
        (["deploy", "--version", "v1", "--image", ""], "'' is not an image reference"),
    ],
)
def test_an_empty_word_is_not_the_default(
    words: list[str], said: str, dry: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An unset variable of a script is refused before anything is read, not even this file."""
    assert run(*words, *dry, "--config", "/none.yml") == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["abc", "0", "-1", "", "1.5"])
def test_a_limit_of_history_is_a_positive_number(limit: str) -> None:
    """Anything else is a usage error that shows an example, and not a fault of ondeploy."""
    with pytest.raises(UsageError, match="is not a positive number") as caught:
        output.show_history(Host().world, False, limit)
    assert (caught.value.code, caught.value.hint) == (2, "for example: --limit 20")


def test_a_known_error_is_no_bug() -> None:
    """Only what is not ours is called a fault of ondeploy."""
    assert RollbackFailed("x").code == 6
    assert ConfigError("x").code == 2
    with pytest.raises(KeyError) as caught:
        raise KeyError("services")
    assert bug_report(caught.value).code == 1


def test_listing_imports_nothing_heavy() -> None:
    """`invoke --list` costs what Invoke costs: the libraries come when a task runs."""
    script = f"import sys, ondeploy.tasks; print([m for m in {HEAVY!r} if m in sys.modules])"
    bare = f"import sys, invoke; print([m for m in {HEAVY!r} if m in sys.modules])"
    ours, invokes = (
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        for text in (script, bare)
    )
    assert ours.stdout == invokes.stdout
