"""Pictures of which the truth is known: what the selfcheck asks the judges about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from metrics.contract import Framing, Image, Prompt, Sample
from metrics.judges import JUDGES

SOUND = "sound"
WRONG_SEX = "wrong sex"
WRONG_FRAMING = "wrong framing"
ALL_JUDGES = tuple(judge.name for judge in JUDGES)

BLUR = (0.01, 0.02, 0.03, 0.05)
"""The ladder of blurs: sigmas as shares of the picture's shorter side."""
BLOCK = (0.12, 0.18, 0.25, 0.35)
"""The ladder of colour blocks: sides as shares of the picture's shorter side."""


@dataclass(frozen=True)
class Case:
    """A picture, what is wrong with it and which judges have to see that.

    `group` names the pictures that are measured together. `kind` is SOUND or the fault;
    `strength` is its rung on a ladder, 0 where it has no grades. Cases of one `source` were made
    from one picture.
    """

    group: str
    source: int
    kind: str
    judges: tuple[str, ...]
    sample: Sample
    strength: float = 0.0


def with_fault(
    sound: Case, kind: str, judge: str, image: Image | None = None, strength: float = 0.0
) -> Case:
    """The sound case as the same picture with a fault that `judge` has to see.

    Without `image` the picture stays as it is.
    """
    sample = sound.sample if image is None else replace(sound.sample, image=image)
    return replace(sound, kind=kind, judges=(judge,), sample=sample, strength=strength)


def with_prompt(sound: Case, kind: str, judge: str, text: str) -> Case:
    """The same picture with other words, which `judge` has to see."""
    case = with_fault(sound, kind, judge)
    prompt = replace(sound.sample.prompt, text=text)
    return replace(case, sample=replace(case.sample, prompt=prompt))


def wrong_sex(sound: Case) -> Iterator[Case]:
    """The same picture with a prompt for the other sex; none where its prompt names no sex."""
    prompt = sound.sample.prompt
    if prompt.sex is not None:
        other = Prompt("1boy", "male") if prompt.sex == "female" else Prompt("1girl", "female")
        case = with_fault(sound, WRONG_SEX, "gender")
        yield replace(case, sample=replace(case.sample, prompt=other))


def wrong_framing(sound: Case) -> Iterator[Case]:
    """The same picture with a prompt for the other framing; none where its prompt names none."""
    framing = sound.sample.prompt.framing
    if framing is not None:
        other: Framing = "half" if framing == "full" else "full"
        words = "upper body" if framing == "full" else "full body"
        case = with_prompt(sound, WRONG_FRAMING, "framing_given", words)
        prompt = replace(case.sample.prompt, framing=other)
        yield replace(case, sample=replace(case.sample, prompt=prompt))


def ladders(sound: Case) -> Iterator[Case]:
    """The picture blurred and, at a place drawn from its source, with a block of wrong colour."""
    image = sound.sample.image
    side = min(image.shape[:2])
    for strength in BLUR:
        blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), strength * side), np.uint8)
        yield with_fault(sound, "blur", "sharp", blurred, strength)
    rng = np.random.default_rng(sound.source)
    hue = np.array([[[int(rng.integers(180)), 255, 235]]], np.uint8)
    colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0]
    place = rng.random(2)
    for strength in BLOCK:
        length = max(2, round(strength * side))
        y, x = (int(at * (room - length + 1)) for at, room in zip(place, image.shape, strict=False))
        blocked = image.copy()
        blocked[y : y + length, x : x + length] = colour
        yield with_fault(sound, "colour block", "clean", blocked, strength)
