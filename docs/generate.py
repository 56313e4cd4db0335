"""Regenerate parts of docs/: `python docs/generate.py`; `--check` only compares.

A generated part lies between `<!-- generated: NAME -->` and `<!-- end -->`. Commands come from the
command line itself, keys from the configuration's models, the list of files from the first sentence
of each module. The meaning of a key is in keys.yaml; a key without one is an error.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tuner.cli.app import app
from tuner.space import StudyConfig, TrainConfig
from tuner.space.recipes import MEASURES

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
RULES = ROOT / "tests" / "tuner" / "test_architecture.py"
END = "<!-- end -->"


def model_of(key: str) -> type[BaseModel]:
    """Return the model of `key` of a search space, or of each value of that key."""
    annotation = StudyConfig.model_fields[key].annotation
    inner = [arg for arg in typing.get_args(annotation) if inspect.isclass(arg)]
    models = [kind for kind in (annotation, *inner) if inspect.isclass(kind)]
    return next(kind for kind in models if issubclass(kind, BaseModel))


RECIPE = model_of("recipes")
MODELS: Mapping[str, type[BaseModel]] = {
    "study": StudyConfig,
    "budget": model_of("budget"),
    "train": TrainConfig,
    "suite": model_of("suite"),
    "judges": model_of("judges"),
    "A recipe": RECIPE,
    "The suite of a recipe": type(
        RECIPE.model_fields["suite"].get_default(call_default_factory=True)
    ),
    "A hypothesis": model_of("hypotheses"),
}

DEFAULTS = {
    "train.data": "the only folder",
    "train.resolution": "the base's size",
    "train.seed": "by trial",
    "suite.prompts": "those of `name`",
    "suite.size": "the base's size",
    "study.objectives": "`[pose, gender, clothing, quality]`",
}
"""Defaults that depend on other values, or are long."""

MEANINGS = {
    f"{section}.{key}": meaning
    for section, meanings in yaml.safe_load((DOCS / "keys.yaml").read_text("utf-8")).items()
    for key, meaning in meanings.items()
}


def keys() -> str:
    """Return a table of keys for each section of a search space."""
    known = {f"{section}.{key}" for section, model in MODELS.items() for key in model.model_fields}
    if wrong := known ^ set(MEANINGS):
        raise SystemExit(
            f"docs/keys.yaml: keys that are missing or unknown: {', '.join(sorted(wrong))}"
        )
    lines: list[str] = []
    for section, model in MODELS.items():
        lines += [
            f"### {section}",
            "",
            "| key | allowed | default | meaning |",
            "|---|---|---|---|",
        ]
        for key, field in model.model_fields.items():
            name = f"{section}.{key}"
            default = DEFAULTS.get(name) or default_of(field)
            lines.append(row(f"`{key}`", str(field.description), default, MEANINGS[name]))
        lines.append("")
    return "\n".join(lines)


def default_of(field: FieldInfo) -> str:
    """Return the default of a key as a search space would write it."""
    if field.is_required():
        return "required"
    value = field.get_default()
    if field.default_factory is not None or value in ((), {}, ""):
        return ""
    words = {None: "null", True: "true", False: "false"}
    special = value is None or isinstance(value, bool)
    return f"`{words[value] if special else value}`"


def measures() -> str:
    """Return the table of the measures by which recipes can be compared."""
    lines = ["| measure | means |", "|---|---|"]
    return "\n".join([*lines, *(row(f"`{name}`", text) for name, text in MEASURES.items()), ""])


def commands() -> str:
    """Return a section for each command, with its arguments and options."""
    return "\n".join(line for name, command in tree() for line in command_lines(name, command))


def tree() -> Iterator[tuple[str, Any]]:
    """Yield every command that can be run, with its whole name, `tuner` itself first."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None or name == "tuner":
            yield name, command
        for child, below_it in (inner or {}).items():
            yield from below(f"{name} {child}", below_it)

    yield from below("tuner", typer.main.get_command(app))


def command_lines(name: str, command: Any) -> list[str]:
    """Return the section of one command."""
    example = str(command.epilog or "").removeprefix("Example: ")
    types = typing.get_type_hints(inspect.unwrap(command.callback))
    lines = [f"## {name}", "", " ".join(str(command.help).split()), ""]
    lines += ["```bash", example, "```", ""] if example else []
    lines += ["| argument or option | values | default | meaning |", "|---|---|---|---|"]
    for each in command.params:
        option = each.param_type_name == "option"
        names = [*each.opts, *each.secondary_opts] if option else [each.metavar or each.name]
        spelled = ", ".join(f"`{name}`" for name in names)
        text = str(each.help or "") + (f" Or set `{each.envvar}`." if each.envvar else "")
        lines.append(row(spelled, values_of(each, types.get(each.name)), shown_default(each), text))
    return [*lines, ""]


def values_of(parameter: Any, hint: object) -> str:
    """Return the values that an argument or option takes, in words."""
    parts = [arg for arg in typing.get_args(hint) if arg is not type(None)] or [hint]
    for part in (hint, *parts):
        if typing.get_origin(part) is Literal:
            return ", ".join(f"`{value}`" for value in typing.get_args(part))
    if getattr(parameter, "is_flag", False):
        return "a flag"
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if parts[0] is int:
        ends = f" from {low}" * (low is not None) + f" to {high}" * (high is not None)
        return f"a whole number{ends}"
    if parts[0] is float:
        return "a number"
    if parameter.metavar and parameter.param_type_name == "option":
        return f"`{parameter.metavar}`" + ", several times" * bool(parameter.multiple)
    return "a path" if parts[0] is Path else "several" if parameter.nargs != 1 else "text"


def shown_default(parameter: Any) -> str:
    """Return the default of an argument or option; empty if there is none."""
    if parameter.required:
        return "required"
    return f"`{parameter.default}`" if parameter.default not in (None, False, ()) else ""


def table() -> str:
    """Return the rooms of tuner from the top down: the names at their doors, their imports."""
    tree = ast.parse(RULES.read_text(encoding="utf-8"))
    values = {
        ast.unparse(node.targets[0]): node.value for node in tree.body if type(node) is ast.Assign
    }
    may_import: dict[str, str] = ast.literal_eval(values["MAY_IMPORT"])
    lines = ["| room | its door exports | may import |", "|---|---|---|"]
    for name, others in may_import.items():
        door = ast.parse((ROOT / "tuner" / name / "__init__.pyi").read_text(encoding="utf-8"))
        public = [
            f"`{alias.name}`"
            for node in ast.walk(door)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        ]
        below = ", ".join(others.split()) if len(others.split()) < 12 else "everything below"
        lines.append(row(f"`{name}/`", ", ".join(public), below or "-"))
    return "\n".join([*lines, ""])


def rooms() -> str:
    """Return a table of the files of each folder of the code."""
    lines: list[str] = []
    for folder in code_folders():
        files = [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")]
        door = folder / "__init__.py"
        lines += [f"### {folder.relative_to(ROOT).as_posix()}/", ""]
        lines += [sentence(door), ""] if door.is_file() and sentence(door) else []
        lines += ["| file | |", "|---|---|"] if files else []
        lines += [row(f"`{path.name}`", sentence(path)) for path in files]
        lines.append("")
    return "\n".join(lines)


def code_folders() -> list[Path]:
    """Return every folder of tuner, metrics and benchmarks that holds code."""
    roots = [ROOT / name for name in ("tuner", "metrics", "benchmarks")]
    inside = [sorted({path.parent for path in root.rglob("*.py")}) for root in roots]
    return [folder for folders in inside for folder in folders]


def sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.?])\s", paragraph)[0]


def row(*cells: str) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|").strip() for cell in cells) + " |"


PARTS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "commands": ("commands.md", commands),
    "keys": ("search_space.md", keys),
    "measures": ("recipes.md", measures),
    "table": ("architecture.md", table),
    "rooms": ("architecture.md", rooms),
}
"""Page and text of each generated part, by the name of the part."""


def pages() -> dict[Path, str]:
    """Return the pages with generated parts as they should be."""
    texts: dict[Path, str] = {}
    for name, (page, make) in PARTS.items():
        path = DOCS / page
        texts[path] = filled(texts.get(path) or path.read_text(encoding="utf-8"), name, make())
    return texts


def filled(text: str, name: str, part: str) -> str:
    """Return a page with its generated part `name` replaced."""
    before, start, rest = text.partition(f"<!-- generated: {name} -->\n")
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"docs/generate.py: a page lacks its part {name}")
    return f"{before}{start}\n{part.strip()}\n\n{end}{after}"


def main() -> None:
    """Write the pages, or with --check compare them and exit with 1 if one is not current."""
    stale = [path for path, text in pages().items() if path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current; run python docs/generate.py")
        raise SystemExit(1 if stale else 0)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
