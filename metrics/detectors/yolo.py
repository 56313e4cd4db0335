"""An ultralytics YOLO as a person detector: where persons are, and how sure the network is.

ultralytics is opened without its usual side effects: it fetches, sends and installs nothing, opens
no pickle except by its own list of allowed classes, and leaves the process's settings unchanged. It
reads its environment once, when it is imported; no other code in this process may import it
earlier.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file

from metrics.contract import Image
from metrics.detectors.models import ModelUnavailableError
from metrics.preprocess import Box, analysis_picture

if TYPE_CHECKING:
    from ultralytics import YOLO
    from ultralytics.engine.results import Boxes

DESCRIPTION = "yolo.yaml"
WEIGHTS = "yolo.safetensors"
PERSON = "person"
CONFIDENCE = 0.5
"""Least confidence of a person. It is higher than ultralytics' 0.25, because a surplus person harms
a count more than a missing one."""
OVERLAP = 0.45
"""IoU above which two boxes are one person; at 0.6 one soft figure is often boxed twice."""
MIN_SIDE, MAX_SIDE = 192, 640
"""Longest side, in pixels, of the network's input: the mannequin's was trained at the lower one,
ultralytics' own at the upper."""
_SHRUNK = 0.75
"""Scale of a picture between these two sizes: persons worth counting are visible at it, too."""
_STRIDE = 32
_REPLACED = ((Pillow, "open"), (torch, "save"), (cv2, "imread"), (cv2, "imwrite"), (cv2, "imshow"))
"""The functions that ultralytics replaces with its own when it is imported."""


@dataclass(frozen=True)
class PersonBox:
    """One person: its box as shares of the picture, and the network's confidence, up to 1."""

    box: Box
    confidence: float


class PersonDetector:
    """Detector of the persons in a picture. Close it after use."""

    def __init__(self, model: str) -> None:
        """Load `model`: a folder with DESCRIPTION and WEIGHTS, or a `.pt` file of ultralytics.

        Raises ModelUnavailableError if it is missing, does not fit or has no class `person`.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        path = _existing(model)
        self._detector = open_yolo(path, "person detector")
        names = self._detector.names
        self._persons = {index for index, name in names.items() if name == PERSON}
        if not self._persons:
            known = ", ".join(list(names.values())[:5])
            raise ModelUnavailableError(
                f"person detector {model} knows no class {PERSON}, only {known}"
            )

    def __call__(self, image: Image) -> tuple[PersonBox, ...]:
        """Return the persons in the picture, surest first; an empty tuple if there are none."""
        return self.find([image])[0]

    def find(self, images: Sequence[Image]) -> list[tuple[PersonBox, ...]]:
        """Return what a call returns for each of the pictures; those of one size go together.

        What is found does not depend on the pictures beside it but for rounding.
        """
        found: list[tuple[PersonBox, ...]] = [()] * len(images)
        for size in {image.shape for image in images}:
            places = [place for place, image in enumerate(images) if image.shape == size]
            boxes = self._predict([images[place] for place in places])
            for place, persons in zip(places, boxes, strict=True):
                found[place] = persons
        return found

    def close(self) -> None:
        """Release the network."""
        del self._detector

    def _predict(self, images: Sequence[Image]) -> list[tuple[PersonBox, ...]]:
        """Return the persons in pictures of one size."""
        longest = float(np.clip(_SHRUNK * max(images[0].shape[:2]), MIN_SIDE, MAX_SIDE))
        pictures = [analysis_picture(image, _STRIDE * round(longest / _STRIDE)) for image in images]
        results = self._detector.predict(
            [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures],  # it takes BGR
            imgsz=max(pictures[0].shape[:2]),
            conf=CONFIDENCE,
            iou=OVERLAP,
            device=self._device,
            verbose=False,
            save=False,
        )
        return [self._persons_in(result.boxes) for result in results]

    def _persons_in(self, boxes: Boxes) -> tuple[PersonBox, ...]:
        rows: list[list[float]] = torch.cat(
            [boxes.xyxyn.clamp(0.0, 1.0), boxes.conf[:, None], boxes.cls[:, None]], dim=1
        ).tolist()
        persons = [row for row in rows if int(row[5]) in self._persons]
        return tuple(
            PersonBox((left, top, right, bottom), confidence)
            for left, top, right, bottom, confidence, _ in sorted(persons, key=lambda row: -row[4])
        )


def open_yolo(path: Path, kind: str) -> YOLO:
    """Return the network of a folder like the mannequin's or of a `.pt` file, ready to predict.

    `kind` names it in the error: raises ModelUnavailableError if it cannot be loaded.
    """
    try:
        with _contained():
            detector = load_yolo(path) if path.is_dir() else _load_checkpoint(path)
            # The first picture triggers the rest of the set-up.
            detector.predict(
                np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8),
                imgsz=MIN_SIDE,
                device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
                verbose=False,
                save=False,
            )
    except Exception as error:  # a foreign file may fail in any way
        reason = " ".join(str(error).split())[:200]
        raise ModelUnavailableError(f"{kind} {path} could not be loaded ({reason})") from error
    return detector


def load_yolo(folder: Path) -> YOLO:
    """Load a detector from its description and weights, ready to predict; class 0 is `person`.

    Raises ValueError where the two do not fit together.
    """
    from ultralytics import YOLO

    detector = YOLO(folder / DESCRIPTION, task="detect", verbose=False)
    state = {key: value.float() for key, value in load_file(folder / WEIGHTS).items()}
    try:
        missing, unknown = detector.model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # the same names in other shapes
        raise ValueError(f"{folder / WEIGHTS} does not fit {DESCRIPTION}: {error}") from error
    lacking = [key for key in missing if not key.endswith("num_batches_tracked")]
    if lacking or unknown:
        raise ValueError(f"{folder / WEIGHTS} does not fit {DESCRIPTION}: {[*lacking, *unknown]}")
    detector.model.names = {0: PERSON}
    detector.model.eval()
    return detector


def offline_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which ultralytics sends, fetches and installs nothing.

    It keeps its settings below `folder`. Only variables set before its import count.
    """
    return {
        "YOLO_CONFIG_DIR": str(folder),
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "1",
        "ULTRALYTICS_API_KEY": "",
        "WANDB_MODE": "disabled",
    }


def _existing(model: str) -> Path:
    """Return the absolute path, so that ultralytics does not take it for one of its downloads."""
    path = Path(model).expanduser().absolute()
    if path.is_dir():
        lacking = [name for name in (DESCRIPTION, WEIGHTS) if not (path / name).is_file()]
        if lacking:
            raise ModelUnavailableError(f"person detector folder {path} lacks {', '.join(lacking)}")
    elif path.suffix != ".pt" or not path.is_file():
        raise ModelUnavailableError(
            f"person detector {path} was not found; give a folder with {DESCRIPTION} and {WEIGHTS},"
            " or a .pt file of ultralytics"
        )
    return path


def _load_checkpoint(path: Path) -> YOLO:
    from ultralytics import YOLO

    return YOLO(path, verbose=False)


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Import and open ultralytics offline, then restore what it changes in the process.

    That is the environment (of child processes too), the thread counts of torch and OpenCV, which
    would slow training down, how numbers are printed, the random state, and the functions of other
    libraries that it replaces: its `PIL.Image.open` tries to install packages for a broken file.
    """
    environment = dict(os.environ)
    replaced = [(place, name, getattr(place, name)) for place, name in _REPLACED]
    threads = torch.get_num_threads(), cv2.getNumThreads()
    if "ultralytics" not in sys.modules:
        config = tempfile.TemporaryDirectory(prefix="tuner-ultralytics-")
        atexit.register(config.cleanup)
        os.environ.update(offline_environment(Path(config.name)))
    try:
        with np.printoptions(), torch.random.fork_rng(devices=[]), _only_known_classes():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
        torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]
        for place, name, function in replaced:
            setattr(place, name, function)


@contextlib.contextmanager
def _only_known_classes() -> Iterator[None]:
    """Load safely even if ultralytics was imported earlier without ULTRALYTICS_SAFE_LOAD."""
    from ultralytics.nn import tasks

    before, tasks.SAFE_LOAD = tasks.SAFE_LOAD, True
    try:
        yield
    finally:
        tasks.SAFE_LOAD = before
