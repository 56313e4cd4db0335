"""The report of an audit: lines and warnings for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from metrics.contract import Framing, Sex
from metrics.judges.adult import FALSE_ALARMS
from tuner.data.audit import FRAMINGS, SEXES, Audit, SizeFit
from tuner.data.folder import HELD_OUT_FROM
from tuner.data.inventory.summary import counts, left_out_lines, left_out_name, odd_lines
from tuner.text import counted, printable

_SHOWN = 8
_SHOWN_LEFT_OUT = 100
_RARE = 0.05
"""Share of the pictures below which the data lack a sex or framing of the prompts."""

_ENLARGED, _CUT = 0.1, 0.25

_SEX_WORDS: dict[Sex, str] = {"female": "woman", "male": "man"}
_FRAMING_WORDS: dict[Framing, str] = {"full": "full-body", "half": "half-body"}


def lines(audit: Audit) -> list[str]:
    """Describe the data: counts, sizes, tags, copies."""
    data = audit.data
    text = [f"{data.root}: {counts(data)}"]
    if len(data.set_aside) > 3:  # the line above names three
        text += ["set aside:", *(f"  {_name(audit, path)}: {why}" for path, why in data.set_aside)]
    if left_out := left_out_lines(data, _SHOWN_LEFT_OUT):
        text += ["not used:", *(f"  {line}" for line in left_out)]
    repeats = sorted({image.repeats for image in data.images})
    if len(repeats) > 1:
        text.append(f"repeats: {repeats[0]} to {repeats[-1]}")
    text += ["", *_people(audit), ""]
    text += [_fit_line(fit, len(data.images)) for fit in audit.fits]
    text.append(f"in nearly every caption: {', '.join(audit.always) or 'no tag'}")
    bound = [f"{tag} ({sex}, {count})" for tag, sex, count in audit.bound[:_SHOWN]]
    more = len(audit.bound) - len(bound)
    rest = f" and {more} more" if more else ""
    text.append(f"with one sex only: {', '.join(bound) or 'no tag'}{rest}")
    text.append(f"near copies: {_named(audit, [copy for _, copy in audit.copies])}")
    text.append(f"with explicit parts: {_named(audit, audit.explicit)}")
    text.append(f"with a face that looks under age: {_named(audit, audit.young)}")
    return text


def warnings(audit: Audit) -> list[str]:
    """Report what the data lack for the wanted prompts and sizes, and their defects."""
    data = audit.data
    messages = [*_lacking(audit), *_fit_warnings(audit)]
    messages += odd_lines(data, audit.cut, _SHOWN)
    if audit.empty_captions:
        messages.append("pictures with empty captions only train the empty prompt")
    held = {image.path for image in data.held_out}
    if across := sum((first in held) != (copy in held) for first, copy in audit.copies):
        are = "is a near copy" if across == 1 else "are near copies"
        messages.append(f"{counted(across, 'held-out picture')} {are} of training pictures")
    if audit.copies:
        messages.append(f"near copies: {len(audit.copies)}; the LoRA may memorise them")
    if audit.explicit:
        shown = f"{counted(len(audit.explicit), 'picture')} show{'s' * (len(audit.explicit) == 1)}"
        messages.append(f"{shown} explicit parts: so will the LoRA")
    if audit.young:
        messages.append(
            f"faces that look under age: {_named(audit, audit.young)}; remove every picture that "
            f"shows no adult (an estimate, wrong on {FALSE_ALARMS} adults)"
        )
    if data.set_aside:
        named = "; ".join(f"{_name(audit, path)}: {why}" for path, why in data.set_aside[:3])
        more = "; ..." if len(data.set_aside) > 3 else ""
        count = len(data.set_aside)
        messages.append(f"set aside: {counted(count, 'picture')} ({named}{more})")
    if len(data.images) < HELD_OUT_FROM:
        messages.append(f"fewer than {HELD_OUT_FROM} pictures: none is held out for the judges")
    return messages


def as_json(audit: Audit) -> str:
    """Return the whole audit with its warnings as JSON."""
    data = audit.data
    whole = {
        "data": str(data.root),
        "sha256": data.sha256,
        "pictures": len(data.images),
        "held_out": [_name(audit, image.path) for image in data.held_out],
        "set_aside": [{"file": _name(audit, path), "reason": why} for path, why in data.set_aside],
        "refused": data.refused,
        "found": dict(data.inventory.pictures),
        "captions": dict(data.inventory.captions),
        "left_out": [
            {"file": left_out_name(data, each), "kind": each.kind, "count": each.count}
            for each in data.inventory.left_out
        ],
        "captions_cut": [
            {"file": _name(audit, path), "tokens": tokens} for path, tokens in audit.cut.items()
        ],
        "one_colour": [_name(audit, image.path) for image in data.images if image.one_colour],
        "people": [
            {"sex": sex, "framing": framing, "pictures": count}
            for (sex, framing), count in sorted(audit.people.items())
        ],
        "sizes": [
            {
                "size": f"{fit.size[0]}x{fit.size[1]}",
                "enlarged": fit.enlarged,
                "most": fit.most,
                "cut": fit.cut,
            }
            for fit in audit.fits
        ],
        "tags_always": list(audit.always),
        "tags_of_one_sex": [
            {"tag": tag, "sex": sex, "pictures": count} for tag, sex, count in audit.bound
        ],
        "empty_captions": audit.empty_captions,
        "near_copies": [
            {"file": _name(audit, copy), "of": _name(audit, first)} for first, copy in audit.copies
        ],
        "explicit": [_name(audit, path) for path in audit.explicit],
        "looks_under_age": [_name(audit, path) for path in audit.young],
        "warnings": warnings(audit),
    }
    return json.dumps(whole, indent=1) + "\n"


def _people(audit: Audit) -> list[str]:
    """Return a table of sexes by framings, with sums."""
    rows: list[tuple[str, ...]] = [("", *FRAMINGS, "all")]
    for sex in SEXES:
        counts = [audit.people.get((sex, framing), 0) for framing in FRAMINGS]
        if sum(counts):
            rows.append((sex, *map(str, counts), str(sum(counts))))
    return [f"{row[0]:<8}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows]


def _fit_line(fit: SizeFit, total: int) -> str:
    return (
        f"at {fit.size[0]} x {fit.size[1]}: {fit.enlarged} of {total} are smaller and enlarged"
        + (f" (up to {fit.most:.1f} times)" if fit.enlarged else "")
        + f"; the centre cut loses {fit.cut:.0%} of a picture"
    )


def _lacking(audit: Audit) -> list[str]:
    total = len(audit.data.images)
    messages = []
    for sex in dict.fromkeys(prompt.sex for prompt in audit.wanted.prompts if prompt.sex):
        word = _SEX_WORDS[sex]
        count = sum(n for (group, _), n in audit.people.items() if group == word)
        if count < _RARE * total:
            messages.append(
                f"the suite prompts for a {word}, but only {count} of {counted(total, 'picture')} "
                f"show{'s' * (total == 1)} one"
            )
    named = sum(n for (_, framing), n in audit.people.items() if framing != "unnamed")
    framings = dict.fromkeys(prompt.framing for prompt in audit.wanted.prompts if prompt.framing)
    if framings and not named:
        messages.append(
            "no caption says how much of the person is visible: `full body`, `upper body`"
        )
        return messages
    for framing in framings:
        count = sum(n for (_, group), n in audit.people.items() if group == framing)
        if count < _RARE * named:
            messages.append(
                f"the suite prompts for {_FRAMING_WORDS[framing]} pictures, but only {count} of "
                f"{counted(named, 'caption')} with a framing name it: do not prompt for what the "
                "data lack"
            )
    return messages


def _fit_warnings(audit: Audit) -> list[str]:
    total = len(audit.data.images)
    messages = []
    for fit in audit.fits:
        where = f"at {fit.size[0]} x {fit.size[1]}"
        if fit.enlarged > _ENLARGED * total:
            messages.append(
                f"{where} {fit.enlarged} of {counted(total, 'picture')} must be enlarged, which "
                "blurs them"
            )
        if fit.cut > _CUT:
            messages.append(
                f"{where} the centre cut loses {fit.cut:.0%}: heads and feet may be gone"
            )
    return messages


def _named(audit: Audit, paths: Sequence[Path]) -> str:
    names = ", ".join(_name(audit, path) for path in paths[:_SHOWN])
    return f"{len(paths)}" + (
        f" ({names}{', ...' if len(paths) > _SHOWN else ''})" if paths else ""
    )


def _name(audit: Audit, path: Path) -> str:
    return printable(path.relative_to(audit.data.root).as_posix())
