"""Format values, numbers with intervals, sizes and durations for people to read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from metrics.contract import Objective

_JOINERS = "\u200c\u200d"
"""Part of words in Persian and of emoji."""
_HALVES = re.compile("[\ud800-\udfff]")


def show(value: object) -> str:
    """Return `value` as written in a search-space file, on one line of at most 80 characters."""
    return one_line(_written(value))


def one_line(text: str) -> str:
    """Return text from a user on one line of at most 80 characters, without control characters.

    It is cut in the middle, because the end of a path says most.
    """
    text = " ".join(text.split())
    return printable(text if len(text) <= 80 else f"{text[:38]}...{text[-39:]}")


def printable(text: str) -> str:
    """Return text with characters that a terminal would act on, or cannot show, as escapes."""
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _written(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(each) for each in value) + "]"
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return f"'{value}'" if isinstance(value, str) else str(value)


def readable(text: str) -> str:
    """Return text that every file, database and library accepts.

    Python keeps a byte of a file name that is not UTF-8 as half a character, which UTF-8 does not
    have; the replacement character is put in its place.
    """
    return _HALVES.sub("\N{REPLACEMENT CHARACTER}", text)


def words(parameters: Mapping[str, object]) -> str:
    """Return parameters on one line: `rank 8, learning_rate 0.001`."""
    return ", ".join(f"{name} {word(value)}" for name, value in parameters.items())


def word(value: object) -> str:
    """Return a parameter's value as text, numbers with three significant digits."""
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def interval(objective: Objective) -> str:
    """Return a number with its 95 % interval: `0.83 [0.71, 0.90]`."""
    return f"{objective.value:.2f} [{objective.low:.2f}, {objective.high:.2f}]"


def duration(seconds: float | None) -> str:
    """Return `45 s`, `12 min` or `3 h 05 min`; `?` for None."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 trial`, `2 trials`; `noun` is a singular that takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def byte_size(count: float) -> str:
    """Return a number of bytes as `21 MiB` or `4.0 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:.0f} MiB"
