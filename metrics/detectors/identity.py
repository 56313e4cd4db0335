"""Faces as vectors that tell persons apart: those of one person lie nearer than those of two.

A network is named as

- `dlib`: dlib's ResNet (Davis King 2017, public domain), from the packages of `tuner[identity]`;
- `sface`: OpenCV's YuNet, which finds the faces, and SFace (Zhong et al. 2021), both downloaded;
- an `.onnx` file of the user's own that takes faces as InsightFace aligns them: RGB, shape
  (1, 3, 112, 112), values -1 to 1, with one vector as its output.

For `dlib` and an own file the faces are those that the judges of photographs find. Vectors are
compared by their Euclidean distance; those of dlib are as long as the network makes them, others
have length 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import DLIB, SFACE, Image
from metrics.detectors.models import ModelUnavailableError, dlib_weights, fetch_file
from metrics.preprocess import detector_picture, straightened

if TYPE_CHECKING:
    from metrics.detectors.faces import Face

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

OWN = ".onnx"

LEAST_SIDE = 40.0
"""Side of the square around a face, in pixels, below which its person is not told: with dlib pairs
of one person are then as far apart as of large faces, and at 32 px farther."""

_SAME = 0.25
"""Distance of two faces, as a share of the smaller one's side, below which they are one."""
_DLIB_SIDE, _DLIB_PADDING = 150, 0.25
_DLIB_FACE: Points = np.array([(0.227, 0.2214), (0.753, 0.2212), (0.4901, 0.5156), (0.4901, 0.785)])
"""Left eye, right eye, nose tip and mouth on the mean face of dlib's `get_face_chip_details`."""
_OWN_SIDE = 112
_OWN_FACE: Points = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (56.1396, 92.2848)]
)
"""The same points in InsightFace's square; the mouth is the middle of its two corners."""
_YUNET_SCORE, _YUNET_OVERLAP, _YUNET_MOST = 0.9, 0.3, 50
"""Least score, largest overlap and number of faces: the values that OpenCV itself has."""
_ROOM = 1.4
"""Side of the square around a face that `LEAST_SIDE` means, over that of YuNet's box."""


@dataclass(frozen=True, eq=False)
class KnownFaces:
    """The number of faces in a picture, and the vector (d,) of the largest one.

    None where there is no face, or only smaller ones than LEAST_SIDE.
    """

    count: int
    vector: Floats | None


class FaceEmbedder(Protocol):
    """A network that tells faces apart; `finds_faces` is True if it needs nobody to find them."""

    finds_faces: bool

    def __call__(self, image: Image, faces: Sequence[Face]) -> KnownFaces:
        """Return the faces of a picture; `faces` are those that the judges found in it."""


@functools.cache
def face_embedder(model: str) -> FaceEmbedder:
    """Open the network that `model` names in one of the forms above, once per process.

    Raises ModelUnavailableError if it is missing, cannot be fetched or does not fit.
    """
    if model == DLIB:
        return AlignedFaces(_dlib(), _dlib_places(), _DLIB_SIDE)
    if model == SFACE:
        return SFace(fetch_file("yunet"), fetch_file("sface"))
    if Path(model).suffix == OWN:
        return AlignedFaces(_own(Path(model).expanduser()), _OWN_FACE, _OWN_SIDE)
    raise ModelUnavailableError(
        f"identity model {model!r} is not known; give {DLIB}, {SFACE} or an {OWN} file"
    )


class AlignedFaces:
    """A network for faces that are turned and scaled so that their points lie at given places."""

    finds_faces = False

    def __init__(self, embed: Callable[[Image], Floats], places: Points, side: int) -> None:
        """Keep the network, and where (4, 2) in its input of `side` pixels the points lie."""
        self._embed, self._places, self._side = embed, places, side

    def __call__(self, image: Image, faces: Sequence[Face]) -> KnownFaces:
        """Return the number of `faces`, and the vector of the largest one."""
        faces = _distinct(faces)
        if not faces or faces[0].side < LEAST_SIDE:
            return KnownFaces(len(faces), None)
        # cv2 counts from the middle of the first pixel.
        matrix = similarity(faces[0].points - 0.5, self._places - 0.5)
        vector = self._embed(straightened(image, matrix, self._side))
        return KnownFaces(len(faces), vector)


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Return the faces, largest first, each once: two figures may be read on one person."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.side, reverse=True):
        middle = face.points.mean(axis=0)
        apart = [np.linalg.norm(middle - other.points.mean(axis=0)) for other in kept]
        if all(way > _SAME * face.side for way in apart):
            kept.append(face)
    return kept


class SFace:
    """OpenCV's detector and recogniser of faces, as OpenCV uses them."""

    finds_faces = True

    def __init__(self, detector: Path, recogniser: Path) -> None:
        """Open both files. Raises ModelUnavailableError if OpenCV cannot read them."""
        # OpenCV 5 warns at each opening that it runs on the processor.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        limits = (_YUNET_SCORE, _YUNET_OVERLAP, _YUNET_MOST)
        try:
            self._find: Any = cv2.FaceDetectorYN.create(str(detector), "", (320, 320), *limits)
            self._tell: Any = cv2.FaceRecognizerSF.create(str(recogniser), "")
        except cv2.error as error:
            raise ModelUnavailableError(
                f"OpenCV cannot open {detector} and {recogniser} ({_line(error)}); delete them, "
                "and they are fetched again"
            ) from error

    def __call__(self, image: Image, faces: Sequence[Face]) -> KnownFaces:
        """Return the number of faces that YuNet finds, and the vector of the largest one."""
        small = np.ascontiguousarray(detector_picture(image)[..., ::-1])  # it takes BGR
        height, width = small.shape[:2]
        self._find.setInputSize((width, height))
        _, found = self._find.detect(small)
        rows = np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32)
        if not len(rows):
            return KnownFaces(0, None)
        scale = max(image.shape[:2]) / max(height, width)
        largest = max(rows, key=lambda row: float(row[2] * row[3]))
        largest[:14] *= scale
        if _ROOM * float(max(largest[2:4])) < LEAST_SIDE:
            return KnownFaces(len(rows), None)
        crop = self._tell.alignCrop(np.ascontiguousarray(image[..., ::-1]), largest[None])
        return KnownFaces(len(rows), _unit(self._tell.feature(crop)[0]))


def similarity(source: Points, target: Points) -> Points:
    """Return the matrix (2, 3) that turns, scales and shifts points (n, 2) best onto others.

    Least squares without a mirror image.
    """
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    own, wanted = source - middle, target - aim
    spread = max(float((own**2).sum()), 1e-9)
    along = float((own * wanted).sum()) / spread
    across = float((own[:, 0] * wanted[:, 1] - own[:, 1] * wanted[:, 0]).sum()) / spread
    turned = np.array([[along, -across], [across, along]])
    return np.asarray(np.c_[turned, aim - turned @ middle], np.float64)


def _dlib() -> Callable[[Image], Floats]:
    weights = dlib_weights()
    if weights is None:
        raise ModelUnavailableError(
            "identity model dlib needs the packages dlib-bin and face_recognition_models: "
            "pip install 'tuner[identity]'"
        )
    import dlib

    network: Any = dlib.face_recognition_model_v1(str(weights))

    def embed(crop: Image) -> Floats:
        # The mean with the mirror image tells persons apart no better, and takes twice the time.
        return np.asarray(network.compute_face_descriptor(crop), np.float32)

    return embed


def _dlib_places() -> Points:
    return (_DLIB_FACE + _DLIB_PADDING) / (1.0 + 2.0 * _DLIB_PADDING) * _DLIB_SIDE


def _own(file: Path) -> Callable[[Image], Floats]:
    """Open the user's own network, and try it once."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not file.is_file():
        raise ModelUnavailableError(f"identity model {file}: no such file")

    def embed(crop: Image) -> Floats:
        pixels = (crop.astype(np.float32) - 127.5) / 127.5
        (vectors, *_) = session.run(None, {name: pixels.transpose(2, 0, 1)[None]})
        return _unit(np.asarray(vectors, np.float32).reshape(-1))

    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        vector = embed(np.zeros((_OWN_SIDE, _OWN_SIDE, 3), np.uint8))
    except Exception as error:  # a foreign file may fail in any way
        raise ModelUnavailableError(
            f"identity model {file} does not take faces of shape (1, 3, {_OWN_SIDE}, {_OWN_SIDE}) "
            f"({_line(error)})"
        ) from error
    if len(vector) < 2 or not np.isfinite(vector).all():
        raise ModelUnavailableError(f"identity model {file} does not give a vector for a face")
    return embed


def _unit(vector: npt.ArrayLike) -> Floats:
    row = np.asarray(vector, np.float64).reshape(-1)
    return np.asarray(row / max(float(np.linalg.norm(row)), 1e-12), np.float32)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
