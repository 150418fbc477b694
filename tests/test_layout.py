"""The house keeps its rules: imports go down, nothing heavy is imported early, the linters are content."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import caption
import speech

ROOT = Path(__file__).parents[1]
HOUSE = {"common", "speech", "caption", "demos"}

# What each floor may import of the house.
BELOW = {
    "common": {"common"},
    "speech": {"common", "speech"},
    "caption": {"common", "caption"},
    "demos": {"demos", "speech", "caption", "common"},
}
# What the porch sees of the ground floor: the textbook, which its lab shows.
TEXTBOOK = ("common.core", "common.lessons")
# The order of the rooms and packages of a floor: each imports from those before it, and from itself. What a
# room names for its types alone (`if TYPE_CHECKING`) does not count, as nothing is imported then.
ORDER = {
    "common": """errors stores locations files manifest stages bleu pronunciations core models commands
         training scale benchmark lessons""",
    "speech": """bundled options sound model language search placing output pool sources acoustic
        word_finder transcript original_text reading pipeline aligner stream recognizer measuring training
        export peers stages benchmark arguments destinations makers cli""",
    "caption": """bundled options images model output captioner data measuring training search sources
        arguments destinations export benchmark cli""",
    "demos": "style uploads shell sound figures live caption_page speech_page lab lab_page __main__",
}
# A late import that goes up: a transcript offers its formats, and the writers need it for its types alone.
UPWARDS = {("speech.transcript", "speech.output.writers")}
LONGEST_ROOM = 400  # lines
LONGEST_FUNCTION = 60  # lines, its docstring aside
PUBLIC = {"speech": set(speech.__all__), "caption": set(caption.__all__)}


def imported_names(source: str) -> list[tuple[str, str | None]]:
    """Every import anywhere in a file: (module, name from it or None)."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


def forbidden_arrows(floor: str, room: str, source: str) -> list[str]:
    """The imports of one file that go up or sideways."""
    wrong = []
    for module, name in imported_names(source):
        target = module.split(".")[0]
        if target not in HOUSE:
            continue
        # The porch sees what the applications show in public, and no room of theirs.
        hidden = floor == "demos" and target in PUBLIC and (module != target or name not in PUBLIC[target])
        inner = f"{module}.{name}"
        hidden |= floor == "demos" and target == "common" and not inner.startswith(TEXTBOOK)
        if hidden or target not in BELOW[floor]:
            wrong.append(f"{floor}/{room} imports {module}{f'.{name}' if name else ''}")
    return wrong


def rooms() -> dict[str, Path]:
    """The house's modules by name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for floor in HOUSE
        for path in (ROOT / floor).rglob("*.py")
    }


def imported_rooms(room: str, source: str, known: Collection[str]) -> set[str]:
    """The modules of the house that a file imports when it runs, at its top or later."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for module, name in imported_names(ast.unparse(tree)):
        inner = f"{module}.{name}"
        found.add(inner if inner in known else module)
    return {one for one in found if one in known and one != room}


def place(module: str) -> int:
    """Where the room or package of a module stands in its floor's order; the public face stands last."""
    floor, *inner = module.split(".")
    order = ORDER[floor].split()
    return order.index(inner[0]) if inner else len(order)


def arrows_up(room: str, targets: Iterable[str]) -> list[str]:
    """The imports of one module that go up within its floor."""
    floor = room.split(".")[0]
    return [
        f"{room} imports {target}"
        for target in targets
        if target.split(".")[0] == floor and place(target) > place(room) and (room, target) not in UPWARDS
    ]


def circles(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Modules that import each other, directly or round some corners; empty where there are none."""
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def modules_after(program: str) -> set[str]:
    """What a fresh Python has imported after a program."""
    listing = f"{program}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_imports_go_down_never_up_and_never_sideways() -> None:
    wrong = []
    for floor in sorted(HOUSE):
        rooms = sorted((ROOT / floor).rglob("*.py"))
        assert rooms
        for room in rooms:
            wrong += forbidden_arrows(floor, room.name, room.read_text(encoding="utf-8"))
    assert not wrong


def test_rooms_of_a_floor_import_those_before_them_and_never_in_a_circle() -> None:
    known = rooms()
    graph = {
        room: imported_rooms(room, path.read_text(encoding="utf-8"), known) for room, path in known.items()
    }
    assert not [arrow for room, targets in graph.items() for arrow in arrows_up(room, targets)]
    assert not circles({room: targets - {up for _, up in UPWARDS} for room, targets in graph.items()})


def test_an_arrow_up_within_a_floor_and_a_circle_are_found() -> None:
    source = "from common.commands.batch import run\nif TYPE_CHECKING:\n    from common.lessons import gates"
    targets = imported_rooms("common.core.search", source, rooms())
    assert targets == {"common.commands.batch"}
    assert arrows_up("common.core.search", targets) == ["common.core.search imports common.commands.batch"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_no_room_is_longer_than_a_reader_can_hold() -> None:
    lengths = {room: len(path.read_text(encoding="utf-8").splitlines()) for room, path in rooms().items()}
    assert not {room: lines for room, lines in lengths.items() if lines > LONGEST_ROOM}


def function_lengths(source: str) -> dict[str, int]:
    """Lines of each function of a file, without its docstring."""
    lengths = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lengths[node.name] = (node.end_lineno or 0) - first.lineno + 1
    return lengths


def test_no_function_is_longer_than_a_screen_and_a_half() -> None:
    long = {
        f"{room}.{name}": lines
        for room, path in rooms().items()
        for name, lines in function_lengths(path.read_text(encoding="utf-8")).items()
        if lines > LONGEST_FUNCTION
    }
    assert not long
    assert function_lengths('def f():\n    """One."""\n    a = 1\n    return a\n') == {"f": 2}


@pytest.mark.parametrize(
    ("floor", "source"),
    [
        ("common", "def late():\n    import speech.model.text"),
        ("speech", "from caption.images import load_image"),
        ("caption", "import common.core.search, speech"),
        ("speech", "from demos.speech_page import open_page"),
        ("demos", "from caption.captioner import Captioner"),
        ("demos", "from speech import recognizer"),
        ("demos", "from common.errors import InputError"),
    ],
)
def test_an_arrow_in_another_direction_is_found(floor: str, source: str) -> None:
    assert len(forbidden_arrows(floor, "room.py", source)) == 1


@pytest.mark.parametrize(
    ("floor", "source"),
    [
        ("speech", "import torch\nfrom common.core.search import sample\nfrom speech import text"),
        ("demos", "from speech import Recognizer\nfrom demos.shell import page"),
        ("demos", "from common.lessons import gates\nfrom common.core.gates import trace_gates"),
    ],
)
def test_an_arrow_down_is_none_of_those(floor: str, source: str) -> None:
    assert not forbidden_arrows(floor, "room.py", source)


def test_packages_are_listed_by_name() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == HOUSE
    packages = {
        path.parent.relative_to(ROOT) for floor in HOUSE for path in (ROOT / floor).rglob("__init__.py")
    }
    assert set(settings["tool"]["setuptools"]["packages"]) == {".".join(path.parts) for path in packages}


def test_the_version_is_the_same_wherever_it_stands() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    places = {"CITATION.cff": r"^version: (\S+)", "CHANGELOG.md": r"^## (\d+\.\d+\.\d+)"}
    for name, line in places.items():
        found = re.findall(line, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert found[:1] == [version], name


@pytest.mark.parametrize(
    "package",
    [
        "common",
        "speech",
        "caption",
        "speech.cli",
        "caption.cli",
        "common.commands.command",
        "common.commands.batch",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(package: str) -> None:
    heavy = {"torch", "numpy", "PIL", "av", "jiwer", "gradio", "tqdm"}
    assert not modules_after(f"import {package}") & heavy


@pytest.mark.parametrize("public", ["from speech import Recognizer", "from caption import Captioner"])
def test_answering_needs_nothing_of_training_scoring_and_pages(public: str) -> None:
    assert not modules_after(public) & {"gradio", "jiwer", "onnx", "pycocoevalcap", "demos"}


@pytest.mark.parametrize("package", sorted(HOUSE))
def test_every_package_ships_its_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_every_link_in_a_readme_leads_somewhere() -> None:
    pages = [
        path
        for path in ROOT.rglob("*.md")
        if not any(part.startswith(".") or part == "node_modules" for part in path.parts)
    ]
    assert pages
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "command", ["ruff check", "ruff format --check", pytest.param("mypy", marks=pytest.mark.slow)]
)
def test_the_linters_are_content(command: str) -> None:
    arguments = [sys.executable, "-m", *command.split()]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_continuous_integration_runs_the_second_command_of_the_readme_and_mypy(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
    readme = (
        "```sh\necho before\n```\n## Start\nOne:\n```sh\necho first\n```\n\nTwo:\n\n"
        "```sh\necho second && \\\n  exit 3\n```\n```sh\necho third\n```\n## Next\n```sh\necho next\n```\n"
    )
    (tmp_path / "README.md").write_text(readme)
    done = subprocess.run(["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("second\n", 3)
    (tmp_path / "README.md").write_text(readme.replace("exit 3", "true"))
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho $@\nexit 4\n")
    python.chmod(0o755)
    done = subprocess.run(["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("second\n-m mypy\n", 4)
    (tmp_path / "README.md").write_text("# None\n")
    assert subprocess.run(["bash", tmp_path / ".ci" / "run"], capture_output=True).returncode == 1
