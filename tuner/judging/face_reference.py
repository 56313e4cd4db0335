"""The faces of the person's photographs, with which `identity` compares samples; kept in a file."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metrics.contract import Prompt, Sample
from metrics.evidence import Evidence
from metrics.known_faces import NO_FACES, read_faces, reason_unread
from metrics.sets.identity import FaceReference
from tuner.data import TrainingSet
from tuner.data.folder import TrainingImage, load_pixels
from tuner.data.picture_file import too_thin
from tuner.data.prompt_words import read_prompt
from tuner.judging.models import model_names
from tuner.storage import replacing

if TYPE_CHECKING:
    from metrics.detectors import Detectors

MOST = 100
"""Photographs that are looked at: more change the mean distances little and take longer."""

_VECTORS, _PLACES = "vectors", "places"
_NONE: npt.NDArray[np.float32] = np.zeros((0, 1), np.float32)


def face_reference(sets: Iterable[TrainingSet], judges: Detectors, file: Path) -> FaceReference:
    """Return the faces of up to MOST pictures of the training sets, held-out ones among them.

    They are written to `file`, and read from there while pictures and model are the same. The
    captions say which sex they show. Raises ModelUnavailableError for a model that cannot be
    opened.
    """
    images = _chosen(sets)
    why = reason_unread(judges.settings)
    if why is None and judges.faces is None and judges.settings.identity_model != "sface":
        why = NO_FACES
    if why is not None:
        return FaceReference(_NONE.astype(np.float64), (), len(images), why)
    model = model_names(judges.settings)["identity_model"]
    names = " ".join(image.sha256 for image in images)
    key = hashlib.sha256(f"{model} {names}".encode()).hexdigest()
    kept = _read(file, key)
    if kept is None:
        kept = _looked_at(images, judges)
        with replacing(file) as temporary:
            parts: dict[str, npt.NDArray[Any]] = {_VECTORS: kept[0], _PLACES: kept[1]}
            temporary.write_bytes(save(parts, {"key": key}))
    vectors, places = kept
    sexes = tuple(read_prompt(images[place].caption).sex for place in places)
    return FaceReference(vectors.astype(np.float64), sexes, len(images))


def _chosen(sets: Iterable[TrainingSet]) -> list[TrainingImage]:
    """Return up to MOST pictures, each once, in the order of their hashes, a chance order."""
    every = [image for images in sets for image in (*images.images, *images.held_out)]
    once = {image.sha256: image for image in every if not too_thin(image.width, image.height)}
    return [once[sha256] for sha256 in sorted(once)][:MOST]


def _looked_at(
    images: Sequence[TrainingImage], judges: Detectors
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the vectors (faces, d) of the pictures' largest faces, and the pictures' places."""
    vectors, places = [], []
    for place, image in enumerate(images):
        with contextlib.suppress(OSError):  # a file that cannot be read any more
            pixels = np.asarray(load_pixels(image), np.uint8)
            sample = Sample(Prompt(image.caption), place, pixels)
            known = read_faces(sample, Evidence(sample, judges))
            if known is not None and known.vector is not None:
                vectors.append(known.vector)
                places.append(place)
    return (np.stack(vectors) if vectors else _NONE), np.array(places, np.int64)


def _read(file: Path, key: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]] | None:
    try:
        with safe_open(file, framework="numpy") as kept:
            if (kept.metadata() or {}).get("key") != key:
                return None
            return kept.get_tensor(_VECTORS), kept.get_tensor(_PLACES)
    except (OSError, SafetensorError):
        return None
