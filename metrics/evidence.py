"""The detectors' results for one sample, computed when a judge first needs them, then kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from metrics.contract import Domain, FramingClass, Image, JudgeSettings, Sample, Score
from metrics.figure.body import Body, read_body
from metrics.figure.figure import Figure, head_box, read_figure
from metrics.figure.framing_class import framing_class
from metrics.figure.looks import DRAWN_VIEWS, PHOTO_VIEWS, Reading, read_people
from metrics.figure.photo_framing import photo_framing_class
from metrics.figure.posture import pose_evidence
from metrics.figure.repainted_limbs import Repainted, lower_limbs, repaint
from metrics.figure.second_look import SecondLook, look_again
from metrics.logistic import rebalanced
from metrics.preprocess import detector_picture, overlap, square_crop

if TYPE_CHECKING:
    import torch

    from metrics.detectors import Detectors
    from metrics.detectors.faces import Face
    from metrics.detectors.human_parser import ParsedPicture
    from metrics.detectors.mediapipe import Hand, Person
    from metrics.detectors.nudenet import Part
    from metrics.detectors.second_pose import Skeleton
    from metrics.detectors.vision_language import Answer
    from metrics.detectors.yolo import PersonBox


WHOLE = 0.4
"""IoU of a figure and a person's box above which they are the same: a part of it has less."""

_TIGHT = -0.05
"""Margin of the crop of a figure with nothing around it: its outermost pixels are faint."""

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
    def _picture(self) -> Image:
        """The picture at the detectors' size."""
        return detector_picture(self._image)

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Every figure that the pose landmarker reads, largest mask first."""
        return self._reading.people

    @cached_property
    def _reading(self) -> Reading:
        photographic = self.settings.domain == "photographic"
        views = PHOTO_VIEWS if photographic else DRAWN_VIEWS
        return read_people(self._detectors.pose, self._image, views, self._is_whole)

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
        """The framing class of the main figure, `none` where no pose is read."""
        if self.figure is None or self.person is None:
            return "none"
        if self.settings.domain == "photographic":
            return photo_framing_class(self.person, self._image)
        return framing_class(self.figure)

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
    def faces(self) -> tuple[Face, ...]:
        """The faces of all figures that show one, the main figure's first."""
        return tuple(face for face in self._faces if face is not None)

    @cached_property
    def face(self) -> Face | None:
        """The main figure's face; None where none is seen and where no networks can be had."""
        return self._faces[0] if self._faces else None

    @cached_property
    def _faces(self) -> tuple[Face | None, ...]:
        reader = self._detectors.faces
        if reader is None:
            return ()
        scale = max(self._image.shape[:2]) / max(self._picture.shape[:2])
        faces = (reader.find(self._picture, person) for person in self.people)
        return tuple(face and face.scaled(scale) for face in faces)

    @property
    def reads_faces(self) -> bool:
        """True if the networks of faces can be had."""
        return self._detectors.faces is not None

    def female_log_odds(self, face: Face) -> float:
        """Return the log odds that a face of this picture shows a woman, not calibrated."""
        assert self._detectors.faces is not None
        return self._detectors.faces.female_log_odds(self._image, face)

    def ages(self, face: Face) -> npt.NDArray[np.float64]:
        """Return the probability of each apparent age of a face of this picture, 0 to 80 years."""
        assert self._detectors.faces is not None
        return self._detectors.faces.ages(self._image, face)

    @cached_property
    def hands(self) -> tuple[Hand, ...]:
        """The hands found anywhere in the picture."""
        return self._detectors.hands(self._picture)

    @cached_property
    def parts(self) -> Mapping[str, float]:
        """NudeNet's best score of each class, over the picture and a small figure's crop."""
        parts = list(self.whole_parts)
        picture = self._picture
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
    def whole_parts(self) -> tuple[Part, ...]:
        """The parts that NudeNet finds in the whole picture."""
        return self._detectors.parts.find(self._picture)

    @cached_property
    def second_look(self) -> SecondLook | None:
        """The main figure read again in the mirror image, None where no pose is read."""
        return look_again(self._reading, self._detectors.pose) if self.people else None

    def repainted(self, arms: bool, legs: bool) -> Repainted:
        """Read the main figure again with its forearms, its shins or both painted over."""
        if self.figure is None:
            return {}
        limbs = lower_limbs(self.figure, arms, legs)
        return repaint(self._reading, limbs, self._detectors.pose)

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
        head = None if self.figure is None else head_box(self.figure)
        crops = [tight] if head is None else [tight, square_crop(self._image, head, margin=0.0)]
        return tuple(classifier.embed(np.ascontiguousarray(crop)) for crop in crops)

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

    @cached_property
    def second_pose(self) -> Skeleton | None:
        """The main figure's pose as the second pose network reads it.

        None where none is set, where no pose is read, and where that network finds nobody there.
        """
        network = self._detectors.pose_model
        if network is None or self.person is None:
            return None
        return network(self._image, self.person.box)

    @cached_property
    def parsed(self) -> ParsedPicture | None:
        """The garments and body parts of the picture, None where no human parser is set."""
        parser = self._detectors.parser_model
        return None if parser is None else parser(self._image)

    def answer(self, question: str) -> Answer | None:
        """Return the vision-language model's answer about the main figure's crop, yes or no.

        None where no such model is set and where no pose is read.
        """
        model = self._detectors.vlm
        if model is None or self.person_crop is None:
            return None
        return model(self.person_crop, question)


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
