"""The version of a judge: a digest of its code and coefficients, so that none is bumped by hand.

A judge's version changes when the judge may compute something else: when the code of its own
module changes, or of a module of its package that it imports, directly or not, or the coefficients
of one of them, which are stored under the module's name in `calibration/`. Comments, docstrings,
formatting and the folder of a module do not count, and neither does how weight files are fetched;
which networks MediaPipe uses does count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from metrics.contract import Domain
from metrics.detectors.weights import BUNDLES
from metrics.evidence import Judge
from metrics.logistic import CALIBRATION, coefficients

_ASIDE = {"metrics", "contract", "models", "weights", "bundles", "version"}
"""Modules of this package that compute no score: plain data, and where weight files come from."""

_DIGITS = 12


def judge_version(judge: Judge, domain: Domain) -> str:
    """Return the version of a judge on pictures of a kind: twelve hexadecimal digits.

    They are the same on every machine and Python for the same code.
    """
    return _version(judge.name, judge.answer(domain).__module__)


@functools.cache
def _version(name: str, module: str) -> str:
    packages = frozenset({"metrics", _package(module)})
    modules: dict[str, str] = {}
    open_modules = {module}
    while open_modules:
        current = open_modules.pop()
        modules[current], imported = _read(current, packages)
        open_modules |= imported - modules.keys()
    networks = sorted(part.sha256 for model in BUNDLES.values() for part in model.members.values())
    fitted = sorted(text for path in modules if (text := _coefficients(path)))
    whole = repr((name, sorted(modules.values()), networks, fitted))
    return hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]


@functools.cache
def _read(module: str, packages: frozenset[str]) -> tuple[str, frozenset[str]]:
    """Return a module's code as text and the modules of `packages` that it computes with."""
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    content = (_stem(module), _imported_names(tree, packages), _plain(tree, packages))
    imported = (other for other in _imports(tree, packages) if not _is_aside(other))
    return repr(content), frozenset(imported)


def _package(module: str) -> str:
    return module.partition(".")[0]


def _stem(module: str) -> str:
    """Return the module's own name: a move to another folder changes no code."""
    return module.rpartition(".")[2]


def _is_aside(module: str) -> bool:
    return _package(module) == "metrics" and _stem(module) in _ASIDE


def _coefficients(module: str) -> str | None:
    """Return the coefficients of a module of this package as text, None where it has none."""
    name = _stem(module)
    if _package(module) != "metrics" or not (CALIBRATION / f"{name}.json").is_file():
        return None
    return json.dumps({name: coefficients(name)}, sort_keys=True)


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None, f"{module} has no source file"
    return Path(spec.origin)


def _imports(tree: ast.Module, packages: frozenset[str]) -> Iterator[str]:
    """Yield the modules of these packages that a file imports, in functions and for types too.

    Other packages are not looked up: to find a module, Python imports the packages above it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _package(alias.name) in packages)
        elif isinstance(node, ast.ImportFrom) and _package(node.module or "") in packages:
            assert node.module is not None
            yield node.module
            spec = importlib.util.find_spec(node.module)
            if spec is not None and spec.submodule_search_locations:
                parts = (f"{node.module}.{alias.name}" for alias in node.names)
                yield from (part for part in parts if importlib.util.find_spec(part))


def _imported_names(tree: ast.Module, packages: frozenset[str]) -> list[tuple[str, ...]]:
    """Return the imports from these packages: the module's own name, the name, and its alias."""
    nodes = [node for node in ast.walk(tree) if _is_own_import(node, packages)]
    pairs = [(getattr(node, "module", "") or "", alias) for node in nodes for alias in node.names]
    names = {(_stem(module), _stem(alias.name), alias.asname or "") for module, alias in pairs}
    return sorted(names)


def _is_own_import(
    node: object, packages: frozenset[str]
) -> TypeGuard[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.ImportFrom):
        return _package(node.module or "") in packages
    return isinstance(node, ast.Import) and _package(node.names[0].name) in packages


def _plain(node: object, packages: frozenset[str]) -> object:
    """Return a syntax tree as tuples, without docstrings, own imports and empty fields.

    `ast.dump` and `ast.unparse` give different text in different versions of Python.
    """
    if isinstance(node, list):
        kept = [part for part in node if not _is_docstring(part)]
        return tuple(_plain(part, packages) for part in kept if not _is_own_import(part, packages))
    if isinstance(node, ast.AST):
        fields = [(name, _plain(value, packages)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, tuple(field for field in fields if field[1] not in (None, ()))
    return None if node is None else repr(node)


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
