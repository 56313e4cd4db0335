"""Caption policies: which tags of a caption training sees, and the alias before them.

The captions on disk stay as they are; the policy is applied when the data are read. Tags are
divided by commas or line ends; space and underscore, upper and lower case are alike; a WD14 score
(`(1girl:0.98)`) is dropped.
"""

from __future__ import annotations

import re
from typing import Literal

Policy = Literal["all", "gender", "gender+framing", "none"]

GENDER_TAGS = frozenset(
    {
        "solo",
        "multiple girls",
        "multiple boys",
        *(f"{count}{'girl' if count == '1' else 'girls'}" for count in ("1", *"2345", "6+")),
        *(f"{count}{'boy' if count == '1' else 'boys'}" for count in ("1", *"2345", "6+")),
    }
)
"""The count tags of the taggers: they say who is there, and nothing of clothes or pose."""

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
"""How much of the person the picture shows."""

_SCORED = re.compile(r"\(\s*(\S.*?)\s*:\s*\d*\.?\d+\s*\)|(\S.*?)\s*:\s*[01]?\.\d+")
_WORDS = (
    ("1girl", re.compile(r"\b(?:woman|girl|female|lady)\b")),
    ("multiple girls", re.compile(r"\b(?:women|girls|females|ladies)\b")),
    ("1boy", re.compile(r"\b(?:man|boy|male|gentleman)\b")),
    ("multiple boys", re.compile(r"\b(?:men|boys|males|gentlemen)\b")),
)


def apply_policy(caption: str, policy: Policy) -> str:
    """What `policy` leaves of a caption.

    `all` keeps every tag as written, without scores. `gender` and `gender+framing` keep the tags
    of those kinds, spelt with spaces, in the caption's order. Where a caption has no gender tag,
    a sentence's words (woman, girl, female, lady; man, boy, male, gentleman; and plurals) stand
    for `1girl`, `1boy`, `multiple girls`, `multiple boys`; nothing else is read from sentences.
    `none` keeps nothing.
    """
    if policy == "none":
        return ""
    tags = _tags(caption)
    if policy == "all":
        return ", ".join(tags)
    plain = [_plain(tag) for tag in tags]
    wanted = GENDER_TAGS | FRAMING_TAGS if policy == "gender+framing" else GENDER_TAGS
    kept = [tag for tag in plain if tag in wanted]
    if not any(tag in GENDER_TAGS - {"solo"} for tag in plain):
        kept = _genders_in_words(" ".join(plain)) + kept
    return ", ".join(dict.fromkeys(kept))


def training_caption(caption: str, policy: Policy, alias: str | None) -> str:
    """The caption that training sees: the alias, where there is one, then what the policy leaves.

    The empty prompt of training is "" and has no alias; that is the trainer's draw, not made here.
    """
    text = apply_policy(caption, policy)
    if alias is None:
        return text
    kept = [tag for tag in text.split(", ") if tag and tag.casefold() != alias.casefold()]
    return ", ".join([alias, *kept])


def _tags(caption: str) -> list[str]:
    tags = (_without_score(tag) for tag in re.split(r"[,\n]", caption))
    return [tag for tag in tags if tag]


def _without_score(tag: str) -> str:
    text = " ".join(tag.split())
    # Emoticon tags such as `:3` are no scores: nothing stands before the colon.
    match = _SCORED.fullmatch(text)
    return (match[1] or match[2]) if match else text


def _plain(tag: str) -> str:
    return " ".join(tag.casefold().replace("_", " ").split())


def _genders_in_words(text: str) -> list[str]:
    return [tag for tag, words in _WORDS if words.search(text)]
