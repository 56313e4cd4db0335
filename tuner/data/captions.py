"""Caption policies: the tags of a caption that training uses, and the alias before them.

Captions on disk never change; the policy is applied when training reads them. Tags are separated by
commas, full-width commas and semicolons, or line ends of any system; space and underscore, upper
and lower case are equal; a WD14 score (`1girl:0.98`) and a prompt's weight (`(red dress, hat:1.2)`)
are dropped. A policy is text, so that a search can choose among several: `all`, `content`,
`gender`, `gender+framing`, `none`, `keep: ["1girl", "solo"]`, `drop: [".* hair"]`.
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
from tuner.data.quality_tags import is_quality
from tuner.data.tags import plain_tag, split_tags
from tuner.text import show

NAMED = ("all", "content", "gender", "gender+framing", "none")
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

    `all` keeps every tag as written, without scores; so does `content`, except for tags of quality
    and rating, and `drop`, except for tags that one of its regular expressions matches from end to
    end. `gender`, `gender+framing` and `keep` keep the
    tags of those kinds or of the list, spelt with spaces, in the caption's order. If a caption has
    no gender tag, the words of a sentence (woman, girl, female, lady; man, boy, male, gentleman;
    and plurals) mean `1girl`, `1boy`, `multiple girls`, `multiple boys`; nothing else is read from
    sentences. `none` keeps nothing.
    """
    if policy == "none":
        return ""
    tags = split_tags(caption)
    if policy == "all":
        return ", ".join(tags)
    if policy == "content":
        return ", ".join(tag for tag in tags if not is_quality(tag))
    if policy == "gender":
        return _kept(tags, GENDER_TAGS)
    if policy == "gender+framing":
        return _kept(tags, GENDER_TAGS | FRAMING_TAGS)
    kind, words = _listed(policy)
    if kind == "keep":
        return _kept(tags, frozenset(map(plain_tag, words)))
    patterns = [_pattern(word) for word in words]
    return ", ".join(tag for tag in tags if not any(p.fullmatch(plain_tag(tag)) for p in patterns))


def tags_of(caption: str) -> tuple[str, ...]:
    """Return the tags of a caption, each once, in lower case with spaces, without scores."""
    return tuple(dict.fromkeys(plain_tag(tag) for tag in split_tags(caption)))


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
    order. Tags of quality and rating always stay, at the end: they say of each picture how good it
    is, so that what is poor in it is learned as theirs and not as the person's.
    """
    tags = text.split(", ")
    quality = [tag for tag in tags if is_quality(tag)]
    content = [tag for tag in tags if tag not in quality]
    first, rest = content[:fixed], content[fixed:]
    kept = [tag for tag in rest if random.random() >= dropout]
    if shuffle:
        random.shuffle(kept)
    return ", ".join([*first, *kept, *quality])


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
    plain = [plain_tag(tag) for tag in tags]
    kept = [tag for tag in plain if tag in wanted]
    if not any(tag in GENDER_TAGS - {"solo"} for tag in plain):
        kept = [tag for tag in _genders_in_words(" ".join(plain)) if tag in wanted] + kept
    return ", ".join(dict.fromkeys(kept))


def _genders_in_words(text: str) -> list[str]:
    return [tag for tag, words in _WORDS if words.search(text)]
