"""Does the picture show one person, where the prompt asks for one?

The pose judges look at the main figure and are blind to a second one beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.preprocess import overlap

if TYPE_CHECKING:
    from metrics.detectors.nudenet import Part

NAME = "one_person"

FACES = ("FACE_FEMALE", "FACE_MALE")
"""NudeNet's classes of faces."""
SAME_FACE = 0.3
"""IoU of two faces above which they are the same one, found as a woman's and as a man's."""

SURE_SECOND = 0.6
"""Confidence above which a second person counts: on figures drawn alone others stay below 0.55, on
240 pairs they lie above 0.64 (renders of both styles at 64 and 256 px)."""
SURE_FACE = 0.4
"""NudeNet's score of a face above which it counts. Of 252 real pictures of one person none has two
faces, not even from 0.25; of 27 of several people 16 have, 21 from 0.3. Set a little higher, since
posters and dolls have weak faces too."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 where the person detector finds exactly one person, 0 where it surely finds more.

    Abstains where the prompt asks for nobody (it has no sex), where no detector is set and where no
    person is found: `pose_readable` judges a missing figure.
    """
    if sample.prompt.sex is None:
        return Score(NAME, None, "the prompt asks for nobody")
    persons = evidence.persons
    if persons is None:
        return Score(NAME, None, "no person detector set")
    if not persons:
        return Score(NAME, None, "no person found", {"persons": 0})
    sure = [person.confidence for person in persons]
    alone = len(persons) == 1 or sure[1] < SURE_SECOND
    return Score(NAME, float(alone), None, {"persons": len(persons), "confidence": sure})


def photo_score(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 where a photograph shows one person, 0 where it shows more.

    A second person is a second pose of the landmarker, a second face of NudeNet, or a second person
    of the person detector, where one is set. Abstains where the prompt asks for nobody and where
    none of them finds anybody: `pose_readable` judges a missing figure.
    """
    if sample.prompt.sex is None:
        return Score(NAME, None, "the prompt asks for nobody")
    faces = [face.score for face in _faces(evidence.whole_parts) if face.score >= SURE_FACE]
    persons = [person.confidence for person in evidence.persons or ()]
    sure = [confidence for confidence in persons if confidence >= SURE_SECOND]
    most = max(len(evidence.people), len(faces), len(sure))
    measured: dict[str, float | int | str | bool | list[float]] = {
        "poses": len(evidence.people),
        "faces": faces,
        "confidence": persons,
    }
    if most == 0 and not persons:
        return Score(NAME, None, "no person found", measured)
    return Score(NAME, float(most <= 1), None, measured)


def _faces(parts: Sequence[Part]) -> list[Part]:
    """Return the faces among NudeNet's parts, surest first, each once."""
    faces: list[Part] = []
    for part in sorted(parts, key=lambda part: -part.score):
        apart = all(overlap(part.box, other.box) < SAME_FACE for other in faces)
        if part.name in FACES and apart:
            faces.append(part)
    return faces


JUDGE = Judge(NAME, score, photo_score, models=("person_model",))
