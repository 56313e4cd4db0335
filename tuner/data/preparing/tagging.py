"""Automatic captions: a BLIP sentence, and the tags of a WD14 tagger.

Both models come from a hub or a folder, as safetensors and ONNX, which cannot run code.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import huggingface_hub
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch

from metrics.contract import Image
from metrics.detectors.hub_model import quiet_hub
from tuner.data.captions import GENDER_TAGS
from tuner.errors import MissingModelError

TAGGED = 0.35
"""Smallest probability of a written tag: the default of the tagger's own demo."""

DOUBTFUL = 0.1
"""Smallest probability at which a tag that names a child sets its picture aside."""

_TAGGER_FILES = ("model.onnx", "selected_tags.csv")
_GENERAL = "0"  # the other categories are names of characters (4) and ratings (9)
_LONGEST_SENTENCE = 40  # tokens


class Captioner:
    """A BLIP captioning model (Li et al. 2022): one sentence for a picture."""

    def __init__(self, model: str) -> None:
        """Load `model`, a folder or a hub id. Raises MissingModelError if that fails."""
        from transformers import BlipForConditionalGeneration, BlipProcessor

        model = os.path.expanduser(model)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with _missing(f"BLIP model {model}", model, "--blip"), quiet_hub():
            self._processor = BlipProcessor.from_pretrained(model)
            network = BlipForConditionalGeneration.from_pretrained(model, use_safetensors=True)
        self._network = network.to(self._device).eval()

    @torch.no_grad()
    def __call__(self, image: Image) -> str:
        """Describe the picture in a sentence without full stop; it may be empty."""
        pixels = self._processor(images=image, return_tensors="pt").to(self._device)
        tokens = self._network.generate(**pixels, max_new_tokens=_LONGEST_SENTENCE)
        text: str = self._processor.decode(tokens[0], skip_special_tokens=True)
        return " ".join(text.split()).rstrip(".")


class Tagger:
    """A WD14 tagger (SmilingWolf's, v2 and v3, ONNX): booru tags with their probabilities."""

    def __init__(self, model: str) -> None:
        """Load `model`, a folder or a hub id. Raises MissingModelError if that fails."""
        with _missing(f"WD14 tagger {model}", model, "--tagger"), quiet_hub():
            network, tags = (_model_file(model, name) for name in _TAGGER_FILES)
            self._session = onnxruntime.InferenceSession(
                str(network), providers=["CPUExecutionProvider"]
            )
            with tags.open(encoding="utf-8", newline="") as file:
                self._tags = [(row["name"], row["category"]) for row in csv.DictReader(file)]
            (self._input,), (output,) = self._session.get_inputs(), self._session.get_outputs()
            if output.shape[-1] != len(self._tags):
                raise ValueError(f"{output.shape[-1]} outputs for {len(self._tags)} tags")

    def __call__(self, image: Image) -> dict[str, float]:
        """Return every general tag, spelt as in captions, with its probability."""
        side = self._input.shape[1]
        (outputs,) = self._session.run(None, {self._input.name: _squared(image, side)[None]})
        probabilities = [float(output) for output in outputs[0]]
        return {
            _spelt(name): probability
            for (name, category), probability in zip(self._tags, probabilities, strict=True)
            if category == _GENERAL
        }


def chosen_tags(tags: dict[str, float]) -> list[str]:
    """Return the tags of probability TAGGED and more: persons first, then by probability."""
    likely = [tag for tag, probability in tags.items() if probability >= TAGGED]
    return sorted(likely, key=lambda tag: (tag not in GENDER_TAGS, -tags[tag]))


def doubtful_tags(tags: dict[str, float]) -> list[str]:
    """Return the tags of probability DOUBTFUL and more, none of which may name a child."""
    return [tag for tag, probability in tags.items() if probability >= DOUBTFUL]


def _squared(image: Image, side: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Return BGR, float32 0 to 255, padded with white to a square, as in the taggers' training."""
    height, width = image.shape[:2]
    longest = max(height, width)
    square = np.full((longest, longest, 3), 255, np.uint8)
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = image
    method = cv2.INTER_AREA if longest > side else cv2.INTER_CUBIC
    scaled = cv2.resize(square, (side, side), interpolation=method)
    return np.ascontiguousarray(scaled[..., ::-1], np.float32)


def _spelt(name: str) -> str:
    """Replace underscores by spaces, except in emoticons such as `^_^`, which have no word."""
    return name.replace("_", " ") if re.search(r"[a-z]{2}", name) else name


def _model_file(model: str, name: str) -> Path:
    folder = Path(os.path.expanduser(model))
    if not folder.is_dir():
        return Path(huggingface_hub.hf_hub_download(model, name))
    if not (folder / name).is_file():
        raise FileNotFoundError(f"the folder lacks {name}")
    return folder / name


@contextlib.contextmanager
def _missing(what: str, model: str, option: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # hubs and foreign files raise errors of any kind
        reason = " ".join(str(error).split())[:160]
        raise MissingModelError(
            f"{what} does not load ({reason}); `hf download {model}` elsewhere and name its folder "
            f"with {option}, or choose other --captions"
        ) from error
