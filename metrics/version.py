"""The version of a judge: a digest of its code and coefficients, so that none is bumped by hand.

A judge's version changes when what it computes may have changed: its own module, or a module of
its package that it imports, directly or not, or the coefficients of one of them, which lie under
its name in `calibration/`. Comments, docstrings and formatting do not count, and
neither does how weight files are fetched; which networks MediaPipe's are does.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

from metrics.contract import Judge
from metrics.logistic import CALIBRATION, coefficients
from metrics.models import BUNDLES

_ASIDE = {"metrics", "metrics.contract", "metrics.models", "metrics.bundles", "metrics.version"}
"""Modules that compute no score: plain data, and where weight files come from."""

_DIGITS = 12


def judge_version(judge: Judge) -> str:
    """Twelve hexadecimal digits; the same on every machine and Python for the same code."""
    return _version(judge.name, judge.score.__module__)


@functools.cache
def _version(name: str, module: str) -> str:
    roots = {"metrics", module.partition(".")[0]}
    read: dict[str, object] = {}
    open_modules = [module]
    while open_modules:
        each = open_modules.pop()
        tree = ast.parse(_source(each).read_text(encoding="utf-8"))
        read[each] = _plain(tree)
        wanted = set(_imports(tree, roots)) - _ASIDE
        open_modules += sorted(wanted - read.keys() - set(open_modules))
    networks = sorted(part.sha256 for one in BUNDLES.values() for part in one.members.values())
    fitted = [text for one in sorted(read) if (text := _coefficients(one))]
    told = repr((name, sorted(read.items()), networks, fitted))
    return hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]


def _coefficients(module: str) -> str | None:
    """The coefficients of a module of this package as text, None where it has none."""
    package, _, name = module.partition(".")
    if package != "metrics" or not (CALIBRATION / f"{name}.json").is_file():
        return None
    return json.dumps({name: coefficients(name)}, sort_keys=True)


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None, f"{module} has no source file"
    return Path(spec.origin)


def _imports(tree: ast.Module, roots: set[str]) -> Iterator[str]:
    """The modules of these packages that a file imports anywhere, in functions and for types too.

    Others are not even looked for: finding a module imports the packages above it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.partition(".")[0] in roots)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in roots:
            assert node.module is not None
            yield node.module
            spec = importlib.util.find_spec(node.module)
            if spec is not None and spec.submodule_search_locations:
                parts = (f"{node.module}.{one.name}" for one in node.names)
                yield from (one for one in parts if importlib.util.find_spec(one))


def _plain(node: object) -> object:
    """A syntax tree as tuples, without docstrings and empty fields.

    `ast.dump` and `ast.unparse` do not say the same in every Python that is supported.
    """
    if isinstance(node, list):
        return tuple(_plain(one) for one in node if not _is_docstring(one))
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return type(node).__name__, tuple(one for one in fields if one[1] not in (None, ()))
    return None if node is None else repr(node)


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
