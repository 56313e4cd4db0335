"""From one photograph to training pictures: persons, crops and captions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from PIL import ImageColor

from metrics.contract import Image, Prompt, Sample
from metrics.detectors import Detectors
from metrics.detectors.mediapipe import PoseLandmarker
from metrics.detectors.yolo import PersonDetector
from metrics.evidence import Evidence
from metrics.judges import adult
from metrics.judges.sharpness import BLURRED, blur_effect
from metrics.preprocess import Box, analysis_picture
from tuner.data.adults import forbidden_words
from tuner.data.picture_file import UnusableError, too_thin
from tuner.data.preparing.crops import (
    Square,
    body_square,
    cut,
    face_square,
    faces_in_view,
    head_box,
    head_in_view,
    in_view,
    inner,
    within,
)
from tuner.data.preparing.matting import best_match, on_plain_ground
from tuner.data.preparing.tagging import Captioner, Tagger, chosen_tags, doubtful_tags

CropKind = Literal["body", "face", "none"]
CaptionKind = Literal["own", "blip", "wd14", "blip+wd14", "none"]

_REFUSED = "refused: it names a child or an age under 18"
_YOUNG = "looks under age"
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Settings:
    """Settings of a preparation; sides are in pixels.

    Crops smaller than `min_side` are set aside, larger than `max_side` scaled down. `ground` is a
    colour (`white`, `#d0d0d0`); None: the ground stays. The models are named as in the command's
    options; `person_model` None: no persons are searched for.
    """

    crop: CropKind
    min_side: int
    max_side: int
    ground: str | None
    captions: CaptionKind
    person_model: str | None
    blip: str
    tagger: str

    @property
    def needs_pose(self) -> bool:
        """True if the pose landmarker is needed: for faces and for the mask of a figure."""
        return self.crop == "face" or self.ground is not None


@dataclass(frozen=True)
class Tools:
    """The opened networks that the settings need; the others are None.

    `faces` has those that look for faces under age on photographs.
    """

    persons: PersonDetector | None = None
    pose: PoseLandmarker | None = None
    captioner: Captioner | None = None
    tagger: Tagger | None = None
    faces: Detectors | None = None


@dataclass(frozen=True)
class Crop:
    """A picture to be written; `padding` is the share of it outside the photograph."""

    image: Image
    padding: float


def crops(image: Image, settings: Settings, tools: Tools) -> Iterator[Crop | UnusableError]:
    """Yield the training pictures in a photograph, or the reason against one, person by person.

    Raises UnusableError if the whole photograph cannot be used.
    """
    height, width = image.shape[:2]
    if too_thin(width, height):
        raise UnusableError(f"too long and thin: {width} x {height}")
    boxes = None if tools.persons is None else [person.box for person in tools.persons(image)]
    if boxes is not None and not boxes:
        raise UnusableError("no person")
    if settings.crop == "none":
        if boxes is not None and len(boxes) > 1:
            raise UnusableError(f"several persons: {len(boxes)}")
        yield _whole(image, boxes[0] if boxes else _WHOLE, settings, tools)
        return
    assert boxes is not None, "a crop needs a person detector"
    for index, box in enumerate(boxes):
        others = [*boxes[:index], *boxes[index + 1 :]]
        try:
            yield _cropped(image, box, others, settings, tools)
        except UnusableError as reason:
            yield reason


def caption(image: Image, own: str, settings: Settings, tools: Tools) -> str:
    """Return the caption of a picture. Raises UnusableError if it names a child.

    Doubtful tags are checked too: a missed child is worse than a lost picture.
    """
    if settings.captions == "own":
        return own
    parts: list[str] = []
    checked: list[str] = []
    if tools.captioner is not None:
        parts.append(tools.captioner(image))
        checked.append(parts[0])
    if tools.tagger is not None:
        tags = tools.tagger(image)
        parts += chosen_tags(tags)
        checked += doubtful_tags(tags)
    refuse(", ".join(checked))
    return ", ".join(part for part in parts if part)


def refuse(text: str) -> None:
    """Raise UnusableError if the text names a child or an age under 18."""
    if words := forbidden_words(text):
        raise UnusableError(f"{_REFUSED} ({', '.join(words)})")


def refuse_young(image: Image, tools: Tools) -> None:
    """Raise UnusableError if a face in a photograph clearly looks under age."""
    if tools.faces is None or too_thin(image.shape[1], image.shape[0]):
        return
    sample = Sample(Prompt(""), 0, image)
    score = adult.photographic(sample, Evidence(sample, tools.faces))
    if adult.looks_under_age(score):
        raise UnusableError(
            f"{_YOUNG}: a face of about {score.evidence['years']} years, an estimate wrong on "
            f"{adult.FALSE_ALARMS} adults; if all in it are adults, crop and caption it by hand"
        )


def is_refusal(error: UnusableError) -> bool:
    """Return True if `refuse` or `refuse_young` raised the error."""
    return str(error).startswith((_REFUSED, _YOUNG))


def _whole(image: Image, box: Box, settings: Settings, tools: Tools) -> Crop:
    _check(image, min(image.shape[:2]), settings)
    return Crop(_on_ground(_limited(image, settings), box, settings, tools), 0.0)


def _cropped(image: Image, box: Box, others: list[Box], settings: Settings, tools: Tools) -> Crop:
    height, width = image.shape[:2]
    square, target = body_square(box, width, height), box
    if settings.crop == "face":
        square = _face(image, square, box, others, tools)
        target = head_box(square, width, height)
    elif visible := sum(in_view(other, square, width, height) for other in others):
        raise UnusableError(f"several persons: {visible + 1}")
    _check(inner(image, square), square.side, settings)
    crop, padding = cut(image, square)
    target = within(target, square, width, height)
    return Crop(_on_ground(_limited(crop, settings), target, settings, tools), padding)


def _face(image: Image, body: Square, box: Box, others: list[Box], tools: Tools) -> Square:
    """Return the square of the face in the square of its body, in the photograph's pixels."""
    assert tools.pose is not None, "a face needs the pose landmarker"
    crop, _ = cut(image, body)
    height, width = image.shape[:2]
    people = tools.pose(crop)
    person = best_match(people, within(box, body, width, height))
    face = None if person is None else face_square(person, body.side, body.side)
    if face is None:
        raise UnusableError("no face")
    square = Square(body.left + face.left, body.top + face.top, face.side)
    if inner(image, square).size == 0:
        raise UnusableError("no face")
    # The landmarker misses small figures that the detector finds, and the other way round.
    read = faces_in_view(people, face, body.side, body.side)
    boxed = 1 + sum(head_in_view(other, square, width, height) for other in others)
    if max(read, boxed) > 1:
        raise UnusableError(f"several persons: {max(read, boxed)}")
    return square


def _check(inside: Image, side: int, settings: Settings) -> None:
    """Check size and sharpness, the latter at `min_side`: training needs no more."""
    if side < settings.min_side:
        raise UnusableError(f"too small: {side} px, {settings.min_side} are needed")
    longest = max(inside.shape[:2])
    shown = analysis_picture(inside, settings.min_side) if longest > settings.min_side else inside
    if (blur := blur_effect(shown)) > BLURRED:
        raise UnusableError(f"blurred: {blur:.2f}, at most {BLURRED}")


def _limited(image: Image, settings: Settings) -> Image:
    if max(image.shape[:2]) <= settings.max_side:
        return image
    return analysis_picture(image, settings.max_side)


def _on_ground(image: Image, box: Box, settings: Settings, tools: Tools) -> Image:
    if settings.ground is None or tools.pose is None:
        return image
    person = best_match(tools.pose(image), box)
    if person is None:
        raise UnusableError("no figure to cut out")
    red, green, blue = ImageColor.getrgb(settings.ground)[:3]
    return on_plain_ground(image, person, (red, green, blue))
