"""Test cases of the selfcheck: pictures whose faults are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from metrics.contract import Framing, Image, Prompt, Sample
from metrics.scoring import JUDGES, OPTIONAL_JUDGES

SOUND = "sound"
WRONG_SEX = "wrong sex"
WRONG_FRAMING = "wrong framing"
ALL_JUDGES = tuple(judge.name for judge in (*JUDGES, *OPTIONAL_JUDGES))

ALSO: Mapping[str, tuple[str, ...]] = {
    "limbs": ("second_pose", "vlm"),
    "cloth_share": ("parsed_clothes", "vlm"),
}
"""The optional judges that have to find the faults of a judge too."""

BLUR = (0.01, 0.02, 0.03, 0.05)
"""Strengths of the blur: sigmas as shares of the picture's shorter side."""
BLOCK = (0.12, 0.18, 0.25, 0.35)
"""Strengths of the colour block: sides as shares of the picture's shorter side."""


@dataclass(frozen=True)
class Case:
    """A picture, its fault, and the judges that have to find it.

    `group` names the pictures that are measured together. `kind` is SOUND or the fault;
    `strength` is its degree, 0 for a fault without degrees. Cases with the same `source` were
    made from the same picture.
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
    """Return the sound case with a fault that `judge` has to find, and its optional ones of ALSO.

    Without `image` the picture stays unchanged.
    """
    sample = sound.sample if image is None else replace(sound.sample, image=image)
    judges = (judge, *ALSO.get(judge, ()))
    return replace(sound, kind=kind, judges=judges, sample=sample, strength=strength)


def with_prompt(sound: Case, kind: str, judge: str, text: str) -> Case:
    """Return the same picture with another prompt text, a mismatch that `judge` has to find."""
    case = with_fault(sound, kind, judge)
    prompt = replace(sound.sample.prompt, text=text)
    return replace(case, sample=replace(case.sample, prompt=prompt))


def wrong_sex(sound: Case) -> Iterator[Case]:
    """Yield the same picture with a prompt for the other sex; nothing if its prompt names none."""
    prompt = sound.sample.prompt
    if prompt.sex is not None:
        other = Prompt("1boy", "male") if prompt.sex == "female" else Prompt("1girl", "female")
        case = with_fault(sound, WRONG_SEX, "gender")
        yield replace(case, sample=replace(case.sample, prompt=other))


def wrong_framing(sound: Case) -> Iterator[Case]:
    """Yield the picture with a prompt for the other framing; nothing if its prompt names none."""
    framing = sound.sample.prompt.framing
    if framing is not None:
        other: Framing = "half" if framing == "full" else "full"
        words = "upper body" if framing == "full" else "full body"
        case = with_prompt(sound, WRONG_FRAMING, "framing_given", words)
        prompt = replace(case.sample.prompt, framing=other)
        yield replace(case, sample=replace(case.sample, prompt=prompt))


def ladders(sound: Case) -> Iterator[Case]:
    """Yield the picture with each blur, then with each size of a block of wrong colour.

    Place and colour of the block are random, seeded by the case's source.
    """
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
