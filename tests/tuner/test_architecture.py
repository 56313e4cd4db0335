"""The house rules that a machine can hold: which room imports which, and how large things get."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "cli": "report export judged study results worker trial judging training mannequin models "
    "space data storage",
    "report": "study results judging space storage",
    "export": "study results trial models space data storage",
    "judged": "study results worker trial models space data storage",
    "study": "results worker trial judging mannequin models space data storage",
    "results": "space storage",
    "worker": "trial judging space data storage",
    "trial": "judging training models space data storage",
    "judging": "mannequin models space data storage",
    "training": "models space data storage",
    "mannequin": "models storage",
    "models": "space storage",
    "space": "data storage",
    "data": "storage",
    "storage": "",
}
"""The rooms of `tuner` in the order in which a study flows through them, from the top down."""

GROUND = {"__init__", "__main__", "errors", "events", "terminal", "text"}
"""Modules outside the rooms. All rooms may import them; they import no room."""

METRICS = {
    "": "detectors figure judges sets",
    "sets": "figure",
    "judges": "figure detectors",
    "figure": "detectors",
    "detectors": "",
}
"""The rooms of `metrics`; its modules at the top are between them, so that circles are refused."""

ONLY_IN = {
    "optuna": {"tuner.study", "tuner.study.memory", "tuner.report.dashboard"},
    "peft": {"tuner.models.adapter"},
    "ray": {"tuner.worker.nodes"},
    "sqlite_utils": {"tuner.storage.store"},
    "typer": {"tuner.cli"},
}
"""Who may import a library, a module or a whole room. Type-checking imports are left out."""

MOST_FILES = 18
LONGEST_FILE = 300
LONGEST_FUNCTION = 60


def modules(package: str) -> dict[str, Path]:
    """Return the files of a package by dotted name; a folder's door has the name of the folder."""
    files = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def exports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a room's door hands on: they are listed in the stub beside it."""
    stub = path.with_suffix(".pyi")
    package = ".".join(path.parent.relative_to(ROOT).parts)
    tree = ast.parse(stub.read_text(encoding="utf-8") if stub.is_file() else "")
    for node in tree.body:
        assert isinstance(node, ast.ImportFrom)
        yield from (f"{package}.{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def imports(path: Path, typing_too: bool = True) -> tuple[str, ...]:
    """Return the dotted names that a file imports anywhere: `a.b` for `from a import b`."""
    return tuple(_imports(path, typing_too))


def _imports(path: Path, typing_too: bool) -> Iterator[str]:
    yield from exports(path) if typing_too else ()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
                skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


ALL = {**modules("tuner"), **modules("metrics")}


def target(dotted: str) -> str | None:
    """Return the module of this project that an import of `dotted` reads, None for a library."""
    while dotted not in ALL and "." in dotted:
        dotted = dotted.rpartition(".")[0]
    return dotted if dotted in ALL else None


GRAPH = {
    name: {module for dotted in imports(path) if (module := target(dotted)) and module != name}
    for name, path in ALL.items()
}


def room(module: str) -> str:
    """Return the room of a module, empty for one that stands outside."""
    parts = module.split(".")
    inside = len(parts) > 2 or ALL[module].name == "__init__.py"
    return parts[1] if len(parts) > 1 and inside else ""


def test_the_rooms_are_those_of_the_table() -> None:
    folders = {path.parent.name for path in (ROOT / "tuner").glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)
    assert {path.stem for path in (ROOT / "tuner").glob("*.py")} == GROUND
    folders = {path.parent.name for path in (ROOT / "metrics").glob("*/__init__.py")}
    assert folders == set(METRICS) - {""}


@pytest.mark.parametrize(("package", "table"), [("tuner", MAY_IMPORT), ("metrics", METRICS)])
def test_a_room_imports_only_from_the_rooms_it_may(package: str, table: dict[str, str]) -> None:
    crossing = [
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if module.startswith(package) and other.startswith(package) and room(other)
        if room(module) != room(other) and module != "tuner.__main__"
    ]
    assert len(crossing) > 50 or package == "metrics"
    wrong = [
        f"{module} imports {other}"
        for module, other in crossing
        if room(other) not in table.get(room(module), "").split()
    ]
    assert not wrong, "; ".join(wrong)


def test_no_import_goes_in_a_circle_type_checking_included() -> None:
    # A CycleError names the modules of the circle.
    assert len(list(TopologicalSorter(GRAPH).static_order())) == len(ALL)


def test_no_file_goes_through_the_door_of_its_own_room() -> None:
    doors = {f"tuner.{name}" for name in MAY_IMPORT}
    assert not [
        module
        for module, others in GRAPH.items()
        if room(module) and others & doors & {f"tuner.{room(module)}"}
    ]


def test_metrics_never_imports_tuner() -> None:
    assert not [name for name in GRAPH if name.startswith("metrics") and "tuner" in GRAPH[name]]
    for name, path in modules("metrics").items():
        assert not [dotted for dotted in imports(path) if dotted.split(".")[0] == "tuner"], name


def test_doors_hand_on_what_they_name_and_import_nothing_heavy() -> None:
    names = 0
    for name in MAY_IMPORT:
        door = import_module(f"tuner.{name}")
        checked = {dotted.rpartition(".")[2] for dotted in imports(ALL[f"tuner.{name}"])}
        for public in door.__all__:
            assert getattr(door, public) is not None
            assert public in checked, f"tuner.{name} hands on {public} without its type"
        names += len(door.__all__)
    assert names > 30
    heavy = "{'torch', 'optuna', 'cv2', 'numpy', 'pydantic'}"
    doors = ", ".join(f"tuner.{name}" for name in MAY_IMPORT)
    code = f"import sys, {doors}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_imported_in_its_place_only(library: str) -> None:
    users = {
        name
        for name, path in ALL.items()
        if library in {dotted.split(".")[0] for dotted in imports(path, typing_too=False)}
    }
    assert users
    allowed = ONLY_IN[library]
    assert not [user for user in users if not {user, user.rpartition(".")[0]} & allowed]


def test_rooms_files_and_functions_stay_small() -> None:
    for folder in {path.parent for path in ALL.values()}:
        files = list(folder.glob("*.py"))
        most = MOST_FILES if folder.name != "tuner" else 6
        assert len(files) <= most, f"{folder.name} has {len(files)} files"
    too_long = []
    for name in ("tuner", "metrics", "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / name).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            where = path.relative_to(ROOT).as_posix()
            if (lines := len(text.splitlines())) > LONGEST_FILE:
                too_long.append(f"{where}: {lines} lines")
            too_long += [f"{where}: {function}" for function in long_functions(text)]
    assert not too_long, "; ".join(too_long)


def long_functions(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{node.name} has {lines} lines"
