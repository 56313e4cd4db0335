"""Warnings of tuner and metrics, each once; those of other libraries are not for the user."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import metrics
import tuner

_OWN_CODE = [Path(str(one.__file__)).resolve().parent for one in (metrics, tuner)]


@contextlib.contextmanager
def own_warnings(tell: Callable[[str], None]) -> Iterator[None]:
    """For a while: `tell` gets the text of each warning of this project's own code, once."""
    told: set[str] = set()
    before = warnings.showwarning

    def show_once(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        own = Path(filename).resolve().parent
        if str(message) not in told and any(own.is_relative_to(one) for one in _OWN_CODE):
            told.add(str(message))
            tell(str(message))

    warnings.showwarning = show_once
    try:
        yield
    finally:
        warnings.showwarning = before
