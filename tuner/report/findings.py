"""Faults that the judges found in a sample: in words, and as lines if their place is stored.

Pure functions of the scores in results.db. A study of an earlier version stored no places: its
findings have words only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metrics.contract import Score

FLAWED = 0.5
"""A judge's value below this is a fault."""

READ = "pose_readable"
"""The judge that keeps the joints."""

QUESTIONS = {
    READ: "Can a pose be read?",
    "limbs": "Are there two arms and two legs?",
    "one_person": "Is there one person?",
    "gender": "Is it the sex that the prompt asks for?",
    "cloth_share": "Is the torso clothed?",
    "no_explicit_parts": "Are explicit parts covered?",
    "sharp": "Is the picture sharp?",
    "clean": "Is it free of colour blocks, burnt colours and noise?",
    "no_red_eyes": "Are the eyes of another colour than red?",
    "framing_given": "Is it the framing that the prompt asks for?",
    "prompt_fit": "Does it show the colours and other traits that the prompt names?",
    "second_pose": "Does a second network read the same pose?",
    "parsed_clothes": "Is the torso clothed, as a human parser sees it?",
    "vlm": "Does a vision-language model find it sound?",
    "adult": "Does every face look adult?",
}
"""The question of each judge, in the order in which a report shows them."""

_PLAIN = {
    READ: "no pose read",
    "cloth_share": "undressed",
    "parsed_clothes": "undressed",
    "sharp": "blurred",
    "adult": "looks under age",
}
"""The words for a fault of a judge that keeps none."""

# Places in the list of joints that `pose_readable` keeps, nose first, then pairs downwards.
_BONES = (
    (1, 2), (1, 3), (3, 5), (2, 4), (4, 6), (1, 7), (2, 8), (7, 8), (7, 9), (9, 11), (8, 10),
    (10, 12),
)  # fmt: skip
_JOINTS = 13

Point = tuple[float, float]
"""x and y as shares of the picture's sides, from its upper left corner."""


@dataclass(frozen=True)
class Finding:
    """A fault that a judge found in a sample: its value, below one half, and its words."""

    judge: str
    value: float
    words: str


@dataclass(frozen=True)
class Drawing:
    """Lines to draw over a sample: the bones that were read, and boxes around faults."""

    bones: tuple[tuple[Point, Point], ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()


def findings(scores: Mapping[str, Score], sex: str | None = None) -> list[Finding]:
    """Return the faults that judges consider more likely than not, the surest first.

    `sex` is the one that the sample's prompt requests.
    """
    faults = [
        Finding(name, score.value, _words(score, sex))
        for name, score in scores.items()
        if score.value is not None and score.value < FLAWED
    ]
    return sorted(faults, key=lambda finding: finding.value)


def drawing(scores: Mapping[str, Score]) -> Drawing:
    """Return the lines to draw over a sample, as far as the scores keep them.

    They are the skeleton if a limb is at fault, the unexplained part, and the colour block.
    """
    bones: tuple[tuple[Point, Point], ...] = ()
    boxes = []
    if _fault(scores, "limbs"):
        bones = _bones(scores)
        if scores["limbs"].evidence.get("worst") == "extra limb":
            boxes += _box(scores["limbs"], "part")
    if _fault(scores, "clean") and scores["clean"].evidence.get("worst") == "colour block":
        boxes += _box(scores["clean"], "block")
    return Drawing(bones, tuple(boxes))


def _words(score: Score, sex: str | None) -> str:
    worst = score.evidence.get("worst")
    if isinstance(worst, str):
        return worst
    if score.judge == "one_person":
        return f"{score.evidence.get('persons', 'several')} persons"
    if score.judge == "gender":
        return f"not {sex}" if sex else "another sex"
    if score.judge == "no_explicit_parts":
        parts = [name.lower().replace("_", " ") for name in score.evidence]
        return f"explicit: {parts[0]}" if parts else "explicit part"
    return _PLAIN.get(score.judge, f"{score.judge} low")


def _fault(scores: Mapping[str, Score], judge: str) -> bool:
    value = scores[judge].value if judge in scores else None
    return value is not None and value < FLAWED


def _bones(scores: Mapping[str, Score]) -> tuple[tuple[Point, Point], ...]:
    kept = scores[READ].evidence.get("joints") if READ in scores else None
    numbers = _numbers(kept, 2 * _JOINTS)
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not points:
        return ()
    neck = ((points[1][0] + points[2][0]) / 2, (points[1][1] + points[2][1]) / 2)
    return ((points[0], neck), *((points[a], points[b]) for a, b in _BONES))


def _box(score: Score, name: str) -> list[tuple[float, float, float, float]]:
    numbers = _numbers(score.evidence.get(name), 4)
    return [(numbers[0], numbers[1], numbers[2], numbers[3])] if numbers else []


def _numbers(kept: object, count: int) -> Sequence[float]:
    """Return the list if it has exactly `count` numbers, else nothing."""
    if not isinstance(kept, list) or len(kept) != count:
        return ()
    return () if any(not isinstance(number, (int, float)) for number in kept) else kept
