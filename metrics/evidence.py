"""The detectors' results for one sample, computed when a judge first needs them, then kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from metrics.contract import Domain, FramingClass, Image, JudgeSettings, Sample, Score
from metrics.figure.body import Body, read_body
from metrics.figure.figure import NOSE, Figure, read_figure
from metrics.figure.framing_class import framing_class
from metrics.figure.photo_framing import photo_framing_class, with_border, without_border
from metrics.figure.posture import pose_evidence
from metrics.logistic import rebalanced
from metrics.preprocess import analysis_picture, detector_picture, overlap, square_crop

if TYPE_CHECKING:
    import torch

    from metrics.detectors import Detectors
    from metrics.detectors.mediapipe import Hand, Person
    from metrics.detectors.nudenet import Part
    from metrics.detectors.yolo import PersonBox


SOFT_SIDE = 64
"""Longest side, in pixels, of the softened picture, at which flat drawings are read best."""

WHOLE = 0.4
"""IoU of a figure and a person's box above which they are the same: a part of it has less."""

HEAD_REACH = 2.0
"""Half the side of the crop of head and shoulders, in units of the figure (about one head)."""

_TIGHT = -0.05
"""Margin of the crop of a figure with nothing around it: its outermost pixels are faint."""

FACES = ("FACE_FEMALE", "FACE_MALE")
"""NudeNet's classes of faces."""

SAME_FACE = 0.3
"""IoU of two faces above which they are the same one, found as a woman's and as a man's."""

SMALL_PERSON = 0.5
"""Longer side of a figure, as a share of the picture's, below which NudeNet gets the crop too."""


class Evidence:
    """The detectors' outputs for one sample, shared by its judges."""

    def __init__(self, sample: Sample, detectors: Detectors) -> None:
        """Keep the sample and the detectors; nothing is computed yet."""
        self._image = sample.image
        self._detectors = detectors
        self._embedding: torch.Tensor | None = None

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Every figure that the pose landmarker reads, largest mask first.

        Drawings with hard edges are sometimes read only after softening: without it the landmarker
        finds nobody, or takes a part of the figure, such as an arm, for all of it.
        """
        sharp = _largest_first(self._detectors.pose(self._image))
        if max(self._image.shape[:2]) <= SOFT_SIDE or (sharp and self._is_whole(sharp[0])):
            return sharp
        softened = analysis_picture(self._image, SOFT_SIDE)
        soft = _largest_first(self._detectors.pose(softened))
        return soft if soft and (not sharp or self._is_whole(soft[0])) else sharp

    def _is_whole(self, person: Person) -> bool:
        """Return True if the figure is one of the person detector's persons, or there are none."""
        if not self.persons:
            return True
        return max(overlap(person.box, other.box) for other in self.persons) >= WHOLE

    @property
    def person(self) -> Person | None:
        """The main figure, None where no pose is read."""
        return self.people[0] if self.people else None

    @cached_property
    def figure(self) -> Figure | None:
        """The main figure on its working picture, None where no pose is read."""
        return None if self.person is None else read_figure(self._image, self.person)

    @cached_property
    def framing(self) -> FramingClass:
        """The framing class of the main figure, `none` where no pose is read.

        A photograph without a pose is read once more with a border around it: the landmarker
        misses people who fill the frame.
        """
        if self.settings.domain == "drawn":
            return "none" if self.figure is None else framing_class(self.figure)
        if self.person is not None:
            return photo_framing_class(self.person, self._image)
        bordered = self._detectors.pose(with_border(self._image))
        if not bordered:
            return "none"
        return photo_framing_class(without_border(_largest_first(bordered)[0]), self._image)

    @cached_property
    def body(self) -> Body | None:
        """The regions of the main figure, None where no pose is read."""
        return None if self.figure is None else read_body(self.figure)

    @cached_property
    def posture(self) -> Mapping[str, float] | None:
        """Measurements of the readability of the main figure's pose, None where none is read."""
        return None if self.body is None else pose_evidence(self.body)

    @cached_property
    def persons(self) -> tuple[PersonBox, ...] | None:
        """The persons that the person detector finds, None where none is set."""
        detector = self._detectors.persons
        return None if detector is None else detector(self._image)

    @cached_property
    def hands(self) -> tuple[Hand, ...]:
        """The hands found anywhere in the picture."""
        return self._detectors.hands(self._image)

    @cached_property
    def parts(self) -> Mapping[str, float]:
        """NudeNet's best score of each class, over the picture and a small figure's crop."""
        parts = list(self._whole_parts)
        picture = detector_picture(self._image)
        if self.person is not None:
            left, top, right, bottom = self.person.box
            height, width = picture.shape[:2]
            longest = max((right - left) * width, (bottom - top) * height)
            if longest < SMALL_PERSON * max(height, width):
                parts += self._detectors.parts.find(square_crop(picture, self.person.box))
        return {
            name: max(part.score for part in parts if part.name == name)
            for name in sorted({part.name for part in parts})
        }

    @cached_property
    def faces(self) -> tuple[Part, ...]:
        """The faces that NudeNet finds in the whole picture, surest first, each once."""
        faces: list[Part] = []
        for part in sorted(self._whole_parts, key=lambda part: -part.score):
            if part.name in FACES and all(
                overlap(part.box, other.box) < SAME_FACE for other in faces
            ):
                faces.append(part)
        return tuple(faces)

    @cached_property
    def _whole_parts(self) -> tuple[Part, ...]:
        return self._detectors.parts.find(detector_picture(self._image))

    @cached_property
    def person_crop(self) -> Image | None:
        """The square around the main figure, None where no pose is read."""
        if self.person is None:
            return None
        return square_crop(self._image, self.person.box)

    @cached_property
    def embedding(self) -> torch.Tensor | None:
        """The open_clip embedding of the main figure's crop, shape (1, d), of length 1.

        None where no pose is read and where no open_clip model is set.
        """
        crop = None if self._detectors.settings.gender_model is None else self.person_crop
        classifier = None if crop is None else self._detectors.zero_shot
        if classifier is None or crop is None:
            return None
        return classifier.embed(np.ascontiguousarray(crop))

    @cached_property
    def closer_embeddings(self) -> tuple[torch.Tensor, ...]:
        """Embeddings of two closer crops: the figure with nothing around it, head and shoulders.

        The second only with a face in the frame; an empty tuple where `embedding` is None.
        """
        classifier = None if self.embedding is None else self._detectors.zero_shot
        if classifier is None or self.person is None:
            return ()
        tight = square_crop(self._image, self.person.box, margin=_TIGHT)
        crops = [tight, *self._head_crops()]
        return tuple(classifier.embed(np.ascontiguousarray(crop)) for crop in crops)

    def _head_crops(self) -> list[Image]:
        figure = self.figure
        if figure is None or not figure.in_frame(NOSE):
            return []
        height, width = figure.soft_mask.shape
        x, y = (float(value) for value in figure.joints[NOSE])
        reach = HEAD_REACH * figure.unit
        box = ((x - reach) / width, (y - reach) / height, (x + reach) / width, (y + reach) / height)
        return [square_crop(self._image, box, margin=0.0)]

    @property
    def settings(self) -> JudgeSettings:
        """The models of the detectors, and the limits measured for them."""
        return self._detectors.settings

    def sentence_probabilities(
        self, groups: Mapping[str, tuple[str, ...]], closer: bool = False
    ) -> Mapping[str, float] | None:
        """Return how well each group of sentences describes the main figure's crop, adding up to 1.

        With `closer`, the closer crops count too, log odds averaged. None where no open_clip model
        is set. Raises ValueError where no pose is read: check `person` first.
        """
        if self.person is None:
            raise ValueError("no figure to describe")
        classifier = None if self.embedding is None else self._detectors.zero_shot
        if classifier is None or self.embedding is None:
            return None
        views = [self.embedding, *(self.closer_embeddings if closer else ())]
        return classifier.compare(views, groups)


@dataclass(frozen=True)
class Judge:
    """One question about a sample, answered with a Score of the judge's name.

    `drawn` answers it for drawings and `photographic` for photographs; None: one answer holds for
    both. `models` names the fields of JudgeSettings whose networks the judge uses: with another
    network there, it is another judge.
    """

    name: str
    drawn: Callable[[Sample, Evidence], Score]
    photographic: Callable[[Sample, Evidence], Score] | None = None
    models: tuple[str, ...] = ()

    def answer(self, domain: Domain) -> Callable[[Sample, Evidence], Score]:
        """Return the function that judges pictures of this kind."""
        return self.drawn if domain == "drawn" else self.photographic or self.drawn

    def score(self, sample: Sample, evidence: Evidence) -> Score:
        """Judge the sample as the settings say: by its domain, moved by the judge's threshold.

        A moved score keeps its value before as `unmoved` among its evidence.
        """
        score = self.answer(evidence.settings.domain)(sample, evidence)
        threshold = evidence.settings.thresholds.get(self.name)
        if score.value is None or threshold is None:
            return score
        evidences = {**score.evidence, "unmoved": score.value}
        return replace(score, value=rebalanced(score.value, threshold), evidence=evidences)


def _largest_first(people: tuple[Person, ...]) -> tuple[Person, ...]:
    return tuple(sorted(people, key=lambda person: -float(person.mask.sum())))
