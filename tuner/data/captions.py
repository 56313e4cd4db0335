"""Caption policies: the tags of a caption that training uses, and the alias before them.

Captions on disk never change; the policy is applied when training reads them. Tags are separated by
commas, full-width commas and semicolons, or line ends of any system; space and underscore, upper
and lower case are equal; a WD14 score (`1girl:0.98`) and a prompt's weight (`(red dress, hat:1.2)`)
are dropped. A policy is text, so that a search can choose among several: `all`, `gender`,
`gender+framing`, `none`, `keep: ["1girl", "solo"]`, `drop: [".* hair"]`.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from functools import cache
from random import Random
from time import thread_time

from tuner.data.adults import forbidden_words
from tuner.text import show

NAMED = ("all", "gender", "gender+framing", "none")
LISTED = ("keep", "drop")
POLICY_RULE = f"{', '.join(NAMED)}, {{keep: [tag, ...]}} (of adults), {{drop: [pattern, ...]}}"

GENDER_TAGS = frozenset(
    {
        "solo",
        "multiple girls",
        "multiple boys",
        *(f"{count}{'girl' if count == '1' else 'girls'}" for count in ("1", *"2345", "6+")),
        *(f"{count}{'boy' if count == '1' else 'boys'}" for count in ("1", *"2345", "6+")),
    }
)
"""Count tags of the taggers: they name persons, but no clothes or pose."""

FRAMING_TAGS = frozenset(
    {
        "full body",
        "half body",
        "upper body",
        "lower body",
        "cowboy shot",
        "portrait",
        "close-up",
        "close up",
        "wide shot",
        "very wide shot",
        "head out of frame",
        "feet out of frame",
        "lower half",
        "upper half",
    }
)
"""Tags for how much of the person the picture shows."""

_SLOW_MATCH = 0.05
"""Processor seconds on a tag of up to 28 letters; patterns of taggers take some millionths."""

_MOST_PROBES = 12

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

_WORDS = (
    ("1girl", re.compile(r"\b(?:woman|girl|female|lady)\b")),
    ("multiple girls", re.compile(r"\b(?:women|girls|females|ladies)\b")),
    ("1boy", re.compile(r"\b(?:man|boy|male|gentleman)\b")),
    ("multiple boys", re.compile(r"\b(?:men|boys|males|gentlemen)\b")),
)


class PolicyError(ValueError):
    """A caption policy that is refused for a reason that its rule does not state."""


def policy_text(policy: object) -> str:
    """Return the policy as text, from that text or from YAML's `{keep: [...]}` or `{drop: [...]}`.

    Raises ValueError for anything else, and its subclass PolicyError for a regular expression that
    cannot be used and for a tag that names a child.
    """
    if isinstance(policy, str):
        if policy not in NAMED:
            _listed(policy)
        return policy
    if not isinstance(policy, Mapping) or len(policy) != 1:
        raise ValueError("no policy")
    ((kind, words),) = policy.items()
    text = f"{kind}: {json.dumps(words, ensure_ascii=False, default=str)}"
    _listed(text)
    return text


def apply_policy(caption: str, policy: str) -> str:
    """Return the part of a caption that `policy` keeps.

    `all` keeps every tag as written, without scores; so does `drop`, except for tags that one of
    its regular expressions matches from end to end. `gender`, `gender+framing` and `keep` keep the
    tags of those kinds or of the list, spelt with spaces, in the caption's order. If a caption has
    no gender tag, the words of a sentence (woman, girl, female, lady; man, boy, male, gentleman;
    and plurals) mean `1girl`, `1boy`, `multiple girls`, `multiple boys`; nothing else is read from
    sentences. `none` keeps nothing.
    """
    if policy == "none":
        return ""
    tags = _tags(caption)
    if policy == "all":
        return ", ".join(tags)
    if policy == "gender":
        return _kept(tags, GENDER_TAGS)
    if policy == "gender+framing":
        return _kept(tags, GENDER_TAGS | FRAMING_TAGS)
    kind, words = _listed(policy)
    if kind == "keep":
        return _kept(tags, frozenset(map(_plain, words)))
    patterns = [_pattern(word) for word in words]
    return ", ".join(tag for tag in tags if not any(p.fullmatch(_plain(tag)) for p in patterns))


def odd_signs(caption: str) -> tuple[str, ...]:
    """Return the signs of a caption that people may mean otherwise than they are read.

    They are named in the plural, each with the way in which it is read.
    """
    kinds = {
        "full-width commas or brackets, read like half-width ones": _WIDE.search(caption),
        "line ends of old Macs (CR), read like commas": _LONE_CR.search(caption),
        "`;` and no comma, all of it one tag": ";" in caption and len(_tags(caption)) == 1,
    }
    return tuple(kind for kind, match in kinds.items() if match)


def tags_of(caption: str) -> tuple[str, ...]:
    """Return the tags of a caption, each once, in lower case with spaces, without scores."""
    return tuple(dict.fromkeys(_plain(tag) for tag in _tags(caption)))


def training_caption(caption: str, policy: str, alias: str | None) -> str:
    """Return the caption for training: the alias, if any, then the part that the policy keeps.

    The empty prompt of training is "" and has no alias; the trainer draws it, not this function.
    """
    text = apply_policy(caption, policy)
    if alias is None:
        return text
    kept = [tag for tag in text.split(", ") if tag and tag.casefold() != alias.casefold()]
    return ", ".join([alias, *kept])


def drawn_caption(text: str, fixed: int, shuffle: bool, dropout: float, random: Random) -> str:
    """Draw the caption of one training step: the first `fixed` tags stay in place.

    Each other tag is left out with probability `dropout`; with `shuffle` the rest is in random
    order.
    """
    tags = text.split(", ")
    first, rest = tags[:fixed], tags[fixed:]
    kept = [tag for tag in rest if random.random() >= dropout]
    if shuffle:
        random.shuffle(kept)
    return ", ".join([*first, *kept])


@cache
def _listed(policy: str) -> tuple[str, tuple[str, ...]]:
    """Return `keep` or `drop` and its list. Raises ValueError if the text is no such policy."""
    kind, colon, listed = policy.partition(":")
    try:
        words = json.loads(listed) if colon and kind in LISTED else None
    except RecursionError:
        words = None
    if not words or not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("no policy")
    if kind == "keep" and forbidden_words(", ".join(words)):
        raise PolicyError("a tag names a child")
    if kind == "drop":
        for word in words:
            _pattern(word)
    return kind, tuple(words)


@cache
def _pattern(word: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a later Python may read differently
            pattern = re.compile(word.replace("_", " "), re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, MemoryError) as error:
        raise PolicyError(f"{show(word)} is no regular expression: {error}") from None
    if _is_exponential(word, pattern):
        raise PolicyError(f"{show(word)} takes too long on some tags; nest no repetitions")
    return pattern


def _is_exponential(word: str, pattern: re.Pattern[str]) -> bool:
    """Return True if the time of `pattern` doubles with each letter of a tag, as with `(a+)+b`.

    It is tried on growing words of one letter, for each letter of the pattern. Such a pattern would
    take years on a tag of 60 letters, and Python cannot stop it.
    """
    letters = dict.fromkeys([*"a 1", *(c for c in word.casefold() if c.isalnum())])
    for letter in list(letters)[:_MOST_PROBES]:
        for length in range(8, 29, 2):
            began = thread_time()
            for end in "\n\0":  # characters that patterns of tags do not end in
                pattern.fullmatch(letter * length + end)
            if thread_time() - began > _SLOW_MATCH:
                return True
    return False


def _kept(tags: list[str], wanted: frozenset[str]) -> str:
    plain = [_plain(tag) for tag in tags]
    kept = [tag for tag in plain if tag in wanted]
    if not any(tag in GENDER_TAGS - {"solo"} for tag in plain):
        kept = [tag for tag in _genders_in_words(" ".join(plain)) if tag in wanted] + kept
    return ", ".join(dict.fromkeys(kept))


def _tags(caption: str, levels: int = _MOST_BRACKETS) -> list[str]:
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
        return _tags(inner, levels - 1)
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


def _plain(tag: str) -> str:
    # Taggers write brackets in names as `\(`, or prompts would read them as a weight.
    return " ".join(tag.casefold().replace("_", " ").replace("\\", "").split())


def _genders_in_words(text: str) -> list[str]:
    return [tag for tag, words in _WORDS if words.search(text)]
