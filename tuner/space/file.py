"""Search-space files as trees of plain values: strict YAML, `extends`, `--set`, and line numbers.

The grammar is smaller than YAML's, to avoid its surprises: a plain word is a whole number, a
decimal number (`1e-4` too), true, false, null, or text; `no`, `on` and `12:30` are text.
Duplicate keys, tags, merge keys, files above 1 MB and more than 10,000 values are refused.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tuner.errors import ConfigError
from tuner.space.paths import absolute_paths
from tuner.space.problems import KeyPath, Problem, dotted
from tuner.storage import StudyFolder
from tuner.text import one_line, show

MAX_BYTES = 1_000_000
_MAX_DEPTH = 20
_MAX_ALIASES = 100
_MAX_VALUES = 10_000
_MAX_EXTENDS = 10

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Mapping[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}

_SECTIONS = ("budget", "suite", "train", "constraints", "judges")
"""Mappings that an overlay joins key by key; it replaces every other value as a whole."""


@dataclass
class Tree:
    """Values of a file or an override, with their origins and the problems so far.

    `origins` has texts such as `pose.yaml:12` by key path; a path without one has the origin of
    its parent.
    """

    values: dict[str, object]
    origins: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: KeyPath) -> str:
        """Return where the value at `path` was written, such as `pose.yaml:12`."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return ""

    def line(self, problem: Problem) -> str:
        """Return the problem as a line for the user: origin, key path, sentence."""
        parts = (self.origin(problem.path), dotted(problem.path), problem.text)
        return ": ".join(part for part in parts if part)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return the value of a plain (unquoted) word."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    number = float(text) if _FLOAT.fullmatch(text) else math.inf
    # A number that no float can hold stays text, which is refused as it was written.
    lost = math.isinf(number) or (number == 0 and re.search("[1-9]", re.split("[eE]", text)[0]))
    return text if lost else number


@dataclass
class _Builder:
    """Conversion of YAML nodes to values, with the line of each and the duplicate keys."""

    tree: Tree
    name: str
    count: int = 0

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self.count += 1
        # An alias counts as all its values; an alias inside its own anchor would never end.
        if self.count > _MAX_VALUES or len(path) > _MAX_DEPTH:
            raise _refusal("too many values", node)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.item(child, child, (*path, i)) for i, child in enumerate(node.value)]
        if any("\ud800" <= letter <= "\udfff" for letter in node.value):
            raise _refusal("half a character", node)
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return plain_scalar(node.value) if plain else str(node.value)

    def item(self, start: yaml.Node, node: yaml.Node, path: KeyPath) -> object:
        self.tree.origins[path] = f"{self.name}:{start.start_mark.line + 1}"
        return self.value(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        values: dict[str, object] = {}
        first: dict[str, int] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refusal("a key must be a word", key)
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                text = f"duplicate key on line {line}, first on line {first[name]}"
                self.tree.problems.append(Problem((*path, name), text))
                continue
            first[name] = line
            values[name] = self.item(key, child, (*path, name))
        return values


def _refusal(text: str, place: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    mark: Any = place.start_mark  # the stubs know two classes of that name
    return yaml.MarkedYAMLError(None, None, text, mark)


def _check_events(text: str) -> None:
    """Refuse tags, many aliases and deep nesting, before nodes are built."""
    depth = aliases = values = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        values += isinstance(event, yaml.NodeEvent)
        if values > 2 * _MAX_VALUES:  # a key counts here too
            raise _refusal("too many values", event)
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if aliases > _MAX_ALIASES:
            raise _refusal(f"more than {_MAX_ALIASES} aliases", event)
        if (tag := getattr(event, "tag", None)) is not None:
            raise _refusal(f"tags are not allowed: {tag}", event)
        if depth > _MAX_DEPTH:
            raise _refusal(f"deeper than {_MAX_DEPTH} levels", event)


def parse(text: str, name: str, *, lines: bool = True) -> tuple[object, Tree]:
    """Return the value of `text`, and a tree with its lines and duplicate keys.

    Raises ConfigError if the text is no YAML of this grammar, with the line if it is known and
    `lines` is true.
    """
    tree = Tree({}, {(): name})
    try:
        _check_events(text)
        node = yaml.compose(text, yaml.SafeLoader)
        return (None if node is None else _Builder(tree, name).value(node, ())), tree
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and lines else name
        message = ", ".join(part for part in (error.context, error.problem) if part)
        message += "; indent with spaces" if r"'\t'" in message else ""
        raise ConfigError(f"{where}: {message}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {' '.join(str(error).split())}") from None


def load_tree(path: Path, _children: tuple[Path, ...] = ()) -> Tree:
    """Read a search-space file and those it extends, and make its paths absolute.

    Raises ConfigError if a file cannot be read or extends itself.
    """
    known = (*_children, Path(os.path.abspath(path)))
    if known[-1] in _children or len(known) > _MAX_EXTENDS:
        chain = " -> ".join(each.name for each in known)
        raise ConfigError(f"{_children[-1]}: extends goes in a circle or too deep: {chain}")
    value, tree = parse(_read(path, _children[-1] if _children else None), str(path))
    if not isinstance(value, dict):
        what = "is empty" if value is None else f"holds {show(value)}"
        raise ConfigError(f"{path}: {what}, allowed: keys and values (study, base, data, ...)")
    tree.values = value
    absolute_paths(tree.values, path.parent)
    if "extends" not in value:
        return tree
    parent = value.pop("extends")
    if not isinstance(parent, str) or not parent:
        tree.problems.append(Problem(("extends",), f"found {show(parent)}, allowed: a file name"))
        return tree
    under = load_tree(path.parent / os.path.expanduser(parent), known)
    return overlay(under, tree)


def overlay(under: Tree, over: Tree) -> Tree:
    """Return `under` with the values of `over`: sections are joined, other values replaced."""
    values = dict(under.values)
    replaced: list[KeyPath] = []
    for key, value in over.values.items():
        below = values.get(key)
        if key in _SECTIONS and isinstance(below, dict) and isinstance(value, dict):
            values[key] = {**below, **value}
            replaced += [(key, inner) for inner in value]
        else:
            values[key] = value
            replaced.append((key,))
    origins = {
        path: origin
        for path, origin in under.origins.items()
        if not any(path[: len(gone)] == gone for gone in replaced)
    }
    for path, origin in over.origins.items():
        joined = len(path) == 1 and path not in replaced and path in origins
        if not joined:
            origins[path] = origin
    for path in replaced:  # `--set train={rank: 8}` has an origin for `train` alone
        origins.setdefault(path, over.origin(path))
    kept = [p for p in under.problems if not any(p.path[: len(g)] == g for g in replaced)]
    return Tree(values, origins, [*kept, *over.problems])


def assignment(text: str) -> Tree:
    """Return the tree of one `--set train.rank=8`; the value has the grammar of the files.

    Raises ConfigError if there is no key, no `=`, or a value that cannot be read.
    """
    key, equals, value_text = text.partition("=")
    # An address may have a password, which no error shows.
    shown = "storage=..." if key.strip() == "storage" else one_line(text)
    names, origin = key.strip().split("."), f"--set {shown}"
    if not equals or not all(names) or len(names) > _MAX_DEPTH:
        raise ConfigError(f"{origin}: found no key=value; allowed: e.g. --set train.rank=8")
    if names[0] == "extends":
        raise ConfigError(f"{origin}: extends is read at the top of a file only; write it there")
    value, tree = parse(value_text, origin, lines=False)
    path = tuple(names)
    tree.problems = [Problem((*path, *problem.path), problem.text) for problem in tree.problems]
    for name in reversed(names[1:]):
        value = {name: value}
    tree.values = {names[0]: value}
    absolute_paths(tree.values, Path())
    tree.origins = {path: origin}
    return tree


def _read(path: Path, child: Path | None) -> str:
    """Return the text of a search-space file; `child` is the one that extends it."""
    if not os.path.isfile(path):
        origin = f"{child}: extends " if child else ""
        raise ConfigError(f"{origin}{one_line(str(path))}: {_not_a_file(path, child)}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than 1 MB; a search space is a page of text")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if "\0" in text:  # UTF-16 without a mark has them in every word
        raise ConfigError(f"{path}: not UTF-8 text; save it as UTF-8 (no UTF-16, no binary file)")
    return text


def _not_a_file(path: Path, child: Path | None) -> str:
    if os.path.exists(path):
        return "is no file, allowed: a search space in YAML"
    if StudyFolder(path.parent).study_yaml == path and StudyFolder(path.parent).exists():
        return "no such file; the study cannot be used without it, put it back"
    names: Sequence[str] = []
    with contextlib.suppress(OSError, ValueError):
        names = [name for name in os.listdir(path.parent) if name.endswith((".yaml", ".yml"))]
        names = [name for name in names if child != Path(os.path.abspath(path.parent / name))]
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else "`tuner init pose` copies one out"
    return f"no such file; {hint}"
