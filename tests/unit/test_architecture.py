"""The layers of CONTRIBUTING.md, read from the source: who may import what, and how long it is."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ondeploy"

# What a module may import of ondeploy, beside the words that everyone speaks: errors and model.
# Each line is a layer; a module sees only lines above its own, and only what it names here.
WORDS = {"errors", "model"}
LAYERS: dict[str, set[str]] = {
    # words: no imports of ours at all
    "errors": set(),
    "model": set(),
    "deadline": set(),
    "analysis": set(),
    "settings": set(),
    # pure: decisions and texts, from records to records
    "colors": {"settings"},
    "compose_rules": {"colors", "settings"},
    "render": {"settings", "colors"},
    "schema": {"settings"},
    "signals": set(),
    # ports: what the steps need from the world
    "ports": {"analysis"},
    "world": {"ports", "settings", "signals"},
    # steps: act through ports alone
    "checks": {"ports", "settings", "world"},
    "bake": {"analysis", "checks", "ports", "world"},
    "steps": {"analysis", "bake", "checks", "colors", "ports", "world"},
    "plan": {"colors", "compose_rules", "settings", "steps"},
    "execute": {"plan", "steps"},
    "report": {"plan"},
    # adapters: each satisfies ports; they share the docker command line and the state volume
    "engine": {"ports"},
    "volume": {"colors", "engine", "ports"},
    "containers": {"colors", "engine", "settings"},
    "generations": {"colors", "render", "volume"},
    "config": {"settings"},
    "clock": {"signals"},
    "probes": {"ports"},
    "prometheus": {"analysis", "ports", "settings"},
    "journal": {"volume"},
    "lease": {"volume"},
    "router": {"generations", "ports", "render", "settings", "volume"},
    "stack": {"colors", "containers", "deadline", "engine", "ports", "settings"},
    # stories: one per command
    "keeper": {"ports", "world"},
    "commands": {"checks", "execute", "keeper", "plan", "steps", "world"},
    # the outside: what builds the adapters, and what a person calls
    "bootstrap": {
        "clock",
        "colors",
        "compose_rules",
        "config",
        "engine",
        "journal",
        "lease",
        "ports",
        "probes",
        "prometheus",
        "router",
        "settings",
        "signals",
        "stack",
        "volume",
        "world",
    },
    "output": {"commands", "report", "world"},
    "tasks": {
        "bootstrap",
        "commands",
        "config",
        "execute",
        "output",
        "report",
        "volume",
        "world",
    },
    "program": {"tasks"},
}
ADAPTERS = {
    "engine",
    "volume",
    "containers",
    "generations",
    "config",
    "clock",
    "probes",
    "prometheus",
    "journal",
    "lease",
    "router",
    "stack",
}
# Each library is known to one room, so that it can be replaced there.
LIBRARIES = {
    "pydantic": {"settings", "config"},
    "yaml": {"config"},
    "httpx": {"probes"},
    "tenacity": {"probes"},
    "jinja2": {"render"},
    "python_on_whales": {"stack"},
    "invoke": {"tasks", "program"},
}
LONGEST_FILE = {"settings": 290}  # a table of keys, not code
LONGEST_FUNCTION = 60
FORBIDDEN = re.compile(r"(?i)(^|_)(swap|flip|manager|helpers?|utils?)(_|$)")

FILES = sorted(PACKAGE.rglob("*.py"))
by_file = pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))


def room(file: Path) -> str:
    """The module, or the folder of a group: `steps` for steps/traffic.py."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    """Dotted names of everything that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            whole = node.module == "ondeploy"
            names = [f"ondeploy.{a.name}" for a in node.names] if whole else [str(node.module)]
            found |= set(names)
    return found


def rooms_used(file: Path) -> set[str]:
    """The rooms of ondeploy that a file imports from."""
    ours = {name.split(".")[1] for name in imports(file) if name.startswith("ondeploy.")}
    return ours - {room(file)}


def test_the_table_is_complete() -> None:
    """A module that is not in a layer has none."""
    assert {room(file) for file in FILES} == {*LAYERS, "__init__"}


@by_file
def test_imports_go_one_way(file: Path) -> None:
    """A module imports what its layer names and nothing else."""
    if room(file) != "__init__":
        assert rooms_used(file) - WORDS <= LAYERS[room(file)]


def test_the_table_has_no_lie_and_no_cycle() -> None:
    """What a layer names is used, and stands above it."""
    order = list(LAYERS)
    for name, allowed in LAYERS.items():
        used = set[str]().union(*(rooms_used(file) for file in FILES if room(file) == name))
        assert allowed == used - WORDS, name
        assert all(order.index(other) < order.index(name) for other in allowed), name


def test_only_bootstrap_builds_adapters() -> None:
    """Nothing that decides or acts knows an adapter; tasks know config's checks and a type."""
    inside = ADAPTERS | {"bootstrap", "tasks"}
    for name in set(LAYERS) - inside - {"program"}:
        assert not LAYERS[name] & ADAPTERS, name
    assert LAYERS["tasks"] & ADAPTERS == {"config", "volume"}


@by_file
def test_each_library_has_one_place(file: Path) -> None:
    """httpx could be replaced by changing one module, and so could every other."""
    tops = {name.partition(".")[0] for name in imports(file)}
    for library, places in LIBRARIES.items():
        if library in tops:
            assert room(file) in places, library


def test_no_other_library_is_used() -> None:
    """Beside these only Python's own."""
    import sys

    tops = {name.partition(".")[0] for file in FILES for name in imports(file)}
    assert tops - sys.stdlib_module_names - {"ondeploy"} == set(LIBRARIES)


def test_the_environment_is_read_in_one_place() -> None:
    """os.environ is a parameter everywhere but in tasks.py, and in deadline.py's own process."""
    readers = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                source = ast.unparse(node)
                readers |= {room(file)} if source.startswith("os.") else set()
    assert readers == {"tasks", "deadline"}


def test_time_is_read_in_few_places() -> None:
    """Time and sleep are parameters: only the clock and what waits for processes have them."""
    users = {room(file) for file in FILES if "time" in imports(file)}
    assert users == {"clock", "engine", "deadline"}


@by_file
def test_files_stay_short(file: Path) -> None:
    """A file that grows is split by noun."""
    assert len(file.read_text().splitlines()) <= LONGEST_FILE.get(room(file), 260)


@by_file
def test_functions_fit_on_a_screen(file: Path) -> None:
    """A story is told in steps that have names."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


@by_file
def test_the_glossary_is_kept(file: Path) -> None:
    """Nothing is called a manager, a helper or utils; nothing is swapped or flipped."""
    assert not FORBIDDEN.search(file.stem)
    for node in ast.walk(ast.parse(file.read_text())):
        name = (
            getattr(node, "name", None) or getattr(node, "id", None) or getattr(node, "arg", None)
        )
        if isinstance(name, str):
            assert not FORBIDDEN.search(name), name


TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "file", sorted(TESTS.rglob("test_*.py")), ids=lambda f: str(f.relative_to(TESTS))
)
def test_every_test_says_what_a_user_would_notice(file: Path) -> None:
    """Each test function has a docstring."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), node.name


def test_unit_tests_use_no_sockets_and_no_patches() -> None:
    """Tests of decisions fake our own ports by hand."""
    for file in [TESTS / "fakes.py", *(TESTS / "unit").glob("*.py")]:
        names = imports_of_tests(file)
        assert not names & {"unittest.mock", "socket", "docker"}, file.name


def imports_of_tests(file: Path) -> set[str]:
    """What a test file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return plain | {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}
