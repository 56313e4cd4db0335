"""What is told of an audit: lines and warnings for a person, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from metrics.contract import Framing, Sex
from tuner.data.audit import FRAMINGS, SEXES, Audit, SizeFit
from tuner.data.folder import HELD_OUT_FROM

_SHOWN = 8
_RARE = 0.05
"""Share of the pictures below which the data lack what a prompt asks for."""

_ENLARGED, _CUT = 0.1, 0.25

_SEX_WORDS: dict[Sex, str] = {"female": "woman", "male": "man"}
_FRAMING_WORDS: dict[Framing, str] = {"full": "full-body", "half": "half-body"}


def lines(found: Audit) -> list[str]:
    """What the data are: counts, sizes, tags, copies."""
    data = found.data
    told = [
        f"{data.root}: {len(data.images)} pictures to train on, {len(data.held_out)} held out, "
        f"{len(data.set_aside)} set aside"
    ]
    repeats = sorted({image.repeats for image in data.images})
    if len(repeats) > 1:
        told.append(f"repeats: {repeats[0]} to {repeats[-1]}")
    told += ["", *_people(found), ""]
    told += [_fit_line(fit, len(data.images)) for fit in found.fits]
    told.append(f"in nearly every caption: {', '.join(found.always) or 'no tag'}")
    bound = [f"{tag} ({sex}, {count})" for tag, sex, count in found.bound[:_SHOWN]]
    more = len(found.bound) - len(bound)
    rest = f" and {more} more" if more else ""
    told.append(f"with one sex only: {', '.join(bound) or 'no tag'}{rest}")
    told.append(f"near copies: {_named(found, [copy for _, copy in found.copies])}")
    told.append(f"with explicit parts: {_named(found, found.explicit)}")
    return told


def warnings(found: Audit) -> list[str]:
    """What the data lack for what is asked of them, and what is wrong with them."""
    data = found.data
    told = [*_lacking(found), *_fit_warnings(found)]
    if found.empty_captions:
        told.append(f"{found.empty_captions} captions are empty: only the empty prompt sees those")
    held = {image.path for image in data.held_out}
    if across := sum((first in held) != (copy in held) for first, copy in found.copies):
        told.append(f"{across} held-out pictures are near copies of ones that are trained on")
    if found.copies:
        told.append(f"{len(found.copies)} near copies: the LoRA may learn them by heart")
    if found.explicit:
        told.append(f"{len(found.explicit)} pictures show explicit parts: so will the LoRA")
    if data.set_aside:
        named = "; ".join(f"{path.name}: {reason}" for path, reason in data.set_aside[:3])
        more = "; ..." if len(data.set_aside) > 3 else ""
        told.append(f"{len(data.set_aside)} files are set aside ({named}{more})")
    if len(data.images) < HELD_OUT_FROM:
        told.append(f"fewer than {HELD_OUT_FROM} pictures: none is held out for the judges")
    return told


def as_json(found: Audit) -> str:
    """Return the whole audit with its warnings as JSON."""
    data = found.data
    whole = {
        "data": str(data.root),
        "sha256": data.sha256,
        "pictures": len(data.images),
        "held_out": [_name(found, image.path) for image in data.held_out],
        "set_aside": [{"file": _name(found, at), "reason": why} for at, why in data.set_aside],
        "refused": data.refused,
        "people": [
            {"sex": sex, "framing": framing, "pictures": count}
            for (sex, framing), count in sorted(found.people.items())
        ],
        "sizes": [
            {
                "size": f"{fit.size[0]}x{fit.size[1]}",
                "enlarged": fit.enlarged,
                "most": fit.most,
                "cut": fit.cut,
            }
            for fit in found.fits
        ],
        "tags_always": list(found.always),
        "tags_of_one_sex": [
            {"tag": tag, "sex": sex, "pictures": count} for tag, sex, count in found.bound
        ],
        "empty_captions": found.empty_captions,
        "near_copies": [
            {"file": _name(found, copy), "of": _name(found, first)} for first, copy in found.copies
        ],
        "explicit": [_name(found, at) for at in found.explicit],
        "warnings": warnings(found),
    }
    return json.dumps(whole, indent=1) + "\n"


def _people(found: Audit) -> list[str]:
    """A table of sexes by framings, with sums."""
    rows: list[tuple[str, ...]] = [("", *FRAMINGS, "all")]
    for sex in SEXES:
        counts = [found.people.get((sex, framing), 0) for framing in FRAMINGS]
        if sum(counts):
            rows.append((sex, *map(str, counts), str(sum(counts))))
    return [f"{row[0]:<8}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows]


def _fit_line(fit: SizeFit, total: int) -> str:
    return (
        f"at {fit.size[0]} x {fit.size[1]}: {fit.enlarged} of {total} are smaller and enlarged"
        + (f" (up to {fit.most:.1f} times)" if fit.enlarged else "")
        + f"; the centre cut loses {fit.cut:.0%} of a picture"
    )


def _lacking(found: Audit) -> list[str]:
    total = len(found.data.images)
    told = []
    for sex in dict.fromkeys(prompt.sex for prompt in found.wanted.prompts if prompt.sex):
        word = _SEX_WORDS[sex]
        count = sum(n for (who, _), n in found.people.items() if who == word)
        if count < _RARE * total:
            told.append(f"the suite asks for a {word}, the data have {count} of {total} pictures")
    named = sum(n for (_, framing), n in found.people.items() if framing != "unnamed")
    asked = dict.fromkeys(prompt.framing for prompt in found.wanted.prompts if prompt.framing)
    if asked and not named:
        told.append("no caption says how much of the person is seen: `full body`, `upper body`")
        return told
    for framing in asked:
        count = sum(n for (_, how), n in found.people.items() if how == framing)
        if count < _RARE * named:
            told.append(
                f"the suite asks for {_FRAMING_WORDS[framing]} pictures, the data have {count} of "
                f"{named} that name their framing: do not prompt for what they lack"
            )
    return told


def _fit_warnings(found: Audit) -> list[str]:
    total = len(found.data.images)
    told = []
    for fit in found.fits:
        where = f"at {fit.size[0]} x {fit.size[1]}"
        if fit.enlarged > _ENLARGED * total:
            told.append(f"{where} {fit.enlarged} of {total} pictures have to be enlarged: blur")
        if fit.cut > _CUT:
            told.append(f"{where} the centre cut loses {fit.cut:.0%}: heads and feet may be gone")
    return told


def _named(found: Audit, paths: Sequence[Path]) -> str:
    names = ", ".join(_name(found, path) for path in paths[:_SHOWN])
    return f"{len(paths)}" + (
        f" ({names}{', ...' if len(paths) > _SHOWN else ''})" if paths else ""
    )


def _name(found: Audit, path: Path) -> str:
    text = path.relative_to(found.data.root).as_posix()
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
