"""The wheel as a user installs it, and its command where nothing else is at hand."""

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    done = subprocess.run([*build, folder, ROOT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel; its libraries are those of this one.

    They are seen through a .pth file, after the wheel's own files; the checkout is not on any path.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    python = folder / "bin" / "python"
    uv = shutil.which("uv")  # an environment that uv made has no pip
    words = f"install --python {python}" if uv else f"--python {python} install"
    pip = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    options = ["--quiet", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run([*pip, *words.split(), *options], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "libraries.pth").write_text(f"{ours}\n")
    return folder / "bin"


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed `ondeploy` in a folder, without docker and anything else on its PATH."""
    environment = {"PATH": str(installed), "HOME": str(folder)}
    return subprocess.run(
        [installed / "ondeploy", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_has_templates_and_types_and_nothing_else(wheel: Path) -> None:
    """No tests, no demo, no deployment of ours in a user's environment."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "ondeploy/templates/nginx.conf.j2" in names
    assert "ondeploy/py.typed" in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ondeploy"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "ondeploy").rglob("*.py")}
    assert sources <= set(names)


def test_the_installed_command_lists_its_tasks(installed: Path, tmp_path: Path) -> None:
    """`ondeploy --list` and `--version` work anywhere."""
    listed = run(installed, tmp_path, "--list")
    assert listed.returncode == 0, listed.stderr
    for name in ("deploy", "rollback", "status", "recover"):
        assert f"  {name} " in listed.stdout
    version = run(installed, tmp_path, "--version")
    assert version.stdout.startswith("ondeploy ")


def test_the_template_is_found_where_it_was_installed(installed: Path, tmp_path: Path) -> None:
    """It is read from inside the package, not from a checkout."""
    script = "from ondeploy.render import BUILT_IN; print(BUILT_IN); BUILT_IN.read_text()"
    done = subprocess.run(
        [installed / "python", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed.parent))


@pytest.mark.parametrize("words", [["status"], ["deploy", "--version", "v1"], ["rollback"]])
def test_a_machine_without_docker_is_told(
    installed: Path, tmp_path: Path, words: list[str]
) -> None:
    """One error, exit code 2, with what to install; as JSON the same; never a traceback."""
    file = tmp_path / "deployment" / "ondeploy.yml"
    file.parent.mkdir()
    file.write_text(
        "app: shop\n"
        "compose: {files: [compose.yml], project: shop}\n"
        "release: {services: [web], port: 8000}\n"
        "router: {control_url: 'http://127.0.0.1:9'}\n"
    )
    done = run(installed, tmp_path, *words, "--json")
    assert done.returncode == 2, done.stderr
    facts = json.loads(done.stdout)
    assert facts["reason"] == "the docker client is not installed"
    assert facts["hint"] == "install Docker and Compose v2"
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_configuration_is_told(installed: Path, tmp_path: Path) -> None:
    """The first thing a new user sees is what to do."""
    done = run(installed, tmp_path, "status")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: deployment/ondeploy.yml: no such file",
        "  traffic  not touched by this command",
        "  next     run from the folder that has it, or name it with --config",
    ]
