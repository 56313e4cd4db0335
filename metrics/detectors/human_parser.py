"""A human parser that the user names: every pixel of a person as a garment or a part of the body.

It is a network for semantic segmentation of transformers, such as a SegFormer trained on clothes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from metrics.contract import Image
from metrics.detectors.hub_model import device, load_network
from metrics.detectors.models import ModelUnavailableError
from metrics.preprocess import detector_picture

_KIND = "human parser"

WORDS: Mapping[str, re.Pattern[str]] = {
    "clothes": re.compile(
        r"\b(clothes|clothing|apparel|garment|dress|gown|coat|jacket|jumpsuits?|skirt|pants|trousers|"
        r"shorts|shirt|blouse|top|sweater|sweatshirt|hoodie|cardigan|vest|cape|robe|suit|belt|scarf)\b"
    ),
    "arm": re.compile(r"\b(arms?|hands?)\b"),
    "leg": re.compile(r"\b(legs?|foot|feet)\b"),
    "skin": re.compile(r"\b(skin|torso|face|neck)\b"),
}
"""Words in the names of classes, by group; a name belongs to the first group that has one of its
words. They cover the names of ATR, LIP, CIHP, PASCAL-Person-Part, Fashionpedia and Sapiens."""

BARE = ("arm", "leg", "skin")
"""The groups of bare skin: parsers call a sleeve or a trouser leg a garment."""


@dataclass(frozen=True, eq=False)
class ParsedPicture:
    """A picture's classes: `labels` (H, W), and the numbers of the classes of each group."""

    labels: npt.NDArray[np.int64]
    groups: Mapping[str, tuple[int, ...]]

    def mask(self, *groups: str) -> npt.NDArray[np.uint8]:
        """Return where the classes of these groups are, shape (H, W), 1 inside and 0 outside."""
        numbers = [number for group in groups for number in self.groups[group]]
        return np.isin(self.labels, numbers).astype(np.uint8)


def class_groups(names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Return the numbers of the classes of each group of WORDS; other classes are left out."""
    groups: dict[str, list[int]] = {group: [] for group in WORDS}
    for number, name in names.items():
        words = re.sub(r"[^a-z]+", " ", name.lower())
        own = next((group for group, known in WORDS.items() if known.search(words)), None)
        if own is not None:
            groups[own].append(number)
    return {group: tuple(numbers) for group, numbers in groups.items()}


class HumanParser:
    """Network that names the garment or body part of every pixel. Close it after use."""

    def __init__(self, model: str) -> None:
        """Load `model`, a hub id or a folder.

        Raises ModelUnavailableError if it is missing, cannot be fetched, or has no classes of
        clothes or of bare skin.
        """
        from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

        self._network, self._prepare = load_network(
            _KIND, model, AutoModelForSemanticSegmentation, AutoImageProcessor
        )
        names = {int(number): name for number, name in self._network.config.id2label.items()}
        self._groups = class_groups(names)
        if not self._groups["clothes"] or not any(self._groups[group] for group in BARE):
            raise ModelUnavailableError(
                f"{_KIND} {model} must know clothes and bare skin, such as Upper-clothes and "
                f"Left-arm; its classes are {', '.join(list(names.values())[:5])}, ..."
            )

    def __call__(self, image: Image) -> ParsedPicture:
        """Return the classes of the picture at the size of the detectors' input."""
        picture = detector_picture(image)
        pixels = self._prepare(picture, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            logits = self._network(pixels.to(device())).logits
            whole = torch.nn.functional.interpolate(logits, picture.shape[:2], mode="bilinear")
        return ParsedPicture(whole[0].argmax(dim=0).cpu().numpy(), self._groups)

    def close(self) -> None:
        """Release the weights."""
        del self._network
