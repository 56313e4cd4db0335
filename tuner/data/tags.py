"""Split a caption into tags as taggers, trainers and other keyboards write them.

Tags end at commas, full-width commas and semicolons, and line ends of any system. A WD14 score
(`1girl:0.98`) and a prompt's weight (`(red dress, hat:1.2)`) are dropped.
"""

from __future__ import annotations

import re

_WIDE_SEPARATORS = "\uff0c\u3001\uff1b\ufe50\ufe51\uff64\u060c"
_WIDE = re.compile(f"[{_WIDE_SEPARATORS}\uff08\uff09\uff3b\uff3d\uff5b\uff5d\uff1a]")
_SEPARATORS = re.compile(f"[,\n\r\v\f\x85\u2028\u2029{_WIDE_SEPARATORS}]")
_HALF_WIDTH = {
    code: code - 0xFEE0
    for code in (*range(0xFF10, 0xFF1B), 0xFF08, 0xFF09, 0xFF0E, 0xFF3B, 0xFF3D, 0xFF5B, 0xFF5D)
}
"""Digits, colon, brackets and full stop of Chinese and Japanese keyboards, as in a weight."""

_LONE_CR = re.compile(r"\r(?!\n)")
_SCORED = re.compile(r"(\S.*?)\s*:\s*[01]?\.\d+")
_MOST_BRACKETS = 10
_WEIGHT = re.compile(r"(.*\S)\s*:\s*\d*\.?\d+", re.DOTALL)


def split_tags(caption: str, levels: int = _MOST_BRACKETS) -> list[str]:
    """Return the tags of a caption as written, without scores and weights.

    Weights inside weights are read `levels` deep.
    """
    tags: list[str] = []
    inside: list[str] = []  # a weight may be for several tags: `(red dress, hat:1.2)`
    depth = 0
    for part in _SEPARATORS.split(caption):
        tag = " ".join(part.split())
        plain = tag.translate(_HALF_WIDTH)
        if inside or plain.startswith("("):
            depth += plain.count("(") - plain.count(")")
        inside.append(tag)
        if depth <= 0:
            tags += _without_weight(", ".join(inside), levels)
            inside, depth = [], 0
    tags += map(_without_score, inside)
    return [tag for tag in tags if tag]


def _without_weight(text: str, levels: int) -> list[str]:
    """Return the tags of one bracket; where it is no weight, they stay as written."""
    inner = _in_brackets(text)
    if inner is not None and "," in inner and levels:
        return split_tags(inner, levels - 1)
    # A tag that was in brackets has lost its score already: `(red shirt:1.1:0.3)`.
    return [_without_score(tag) for tag in text.split(", ")] if inner is None else [inner]


def _without_score(text: str) -> str:
    inner = _in_brackets(text)
    if inner is not None:
        return inner
    # Emoticon tags such as `:3` are no scores: there is nothing before the colon.
    match = _SCORED.fullmatch(text.translate(_HALF_WIDTH))
    return text[: match.end(1)] if match else text


def _in_brackets(text: str) -> str | None:
    """Return what a weight is for: `hat` for `(hat:1.2)` and `((hat:1.2))`.

    None for any other text: `(hat)`, `saber (fate)`, `(o)_(o)`.
    """
    inner, weighted = text, False
    for _ in range(_MOST_BRACKETS):
        plain = inner.translate(_HALF_WIDTH)
        if not _is_one_bracket(plain):
            break
        weight = _WEIGHT.fullmatch(plain[1:-1])
        weighted |= weight is not None
        inner = inner[1 : 1 + weight.end(1)].strip() if weight else inner[1:-1].strip()
    return inner if weighted else None


def _is_one_bracket(text: str) -> bool:
    """Return True if the first character opens the bracket that the last one closes."""
    if not text.startswith("(") or not text.endswith(")") or text.endswith("\\)"):
        return False
    depth = 0
    for letter in text[:-1]:
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return False
    return True


def odd_signs(caption: str) -> tuple[str, ...]:
    """Return the signs of a caption that people may mean otherwise than they are read.

    They are named in the plural, each with the way in which it is read.
    """
    kinds = {
        "full-width commas or brackets, read like half-width ones": _WIDE.search(caption),
        "line ends of old Macs (CR), read like commas": _LONE_CR.search(caption),
        "`;` and no comma, all of it one tag": ";" in caption and len(split_tags(caption)) == 1,
    }
    return tuple(kind for kind, match in kinds.items() if match)


def plain_tag(tag: str) -> str:
    """Return a tag in lower case with spaces, so that equal tags are equal texts."""
    # Taggers write brackets in names as `\(`, or prompts would read them as a weight.
    return " ".join(tag.casefold().replace("_", " ").replace("\\", "").split())
