"""Where the selfcheck's pictures come from: rendered figures, or the user's own instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metrics.detectors import Detectors
from tuner import score_folder
from tuner.cases import Case
from tuner.config import MANNEQUIN
from tuner.label_file import Labelled, labelled_cases, labelled_pictures
from tuner.mannequin.labelled import rendered_cases
from tuner.photo_cases import photo_cases


@dataclass(frozen=True)
class Truths:
    """What was asked for: `count` figures of each style at `size`, where nothing else was."""

    count: int
    size: int
    photos: score_folder.Pictures | None = None
    labelled: tuple[Labelled, ...] = ()

    @property
    def rendered(self) -> bool:
        """Whether the pictures are figures of the mannequin's renderer."""
        return self.photos is None and not self.labelled

    @property
    def lines(self) -> list[str]:
        """What is measured, and what of the user's pictures is left out."""
        if self.rendered:
            return [f"figures: {self.count} of each style at {self.size} px, and their faults"]
        told = []
        if self.photos:
            told += [f"pictures taken as sound: {len(self.photos.prompted)}, and their faults"]
            told += score_folder.left_out(self.photos)
        if self.labelled:
            told += [f"labelled pictures: {len(self.labelled)}"]
        return told


def read_truths(count: int, size: int, data: Path | None, labels: Path | None) -> Truths:
    """Find the pictures and read the labels. Raises ConfigError for what cannot be used."""
    photos = None if data is None else score_folder.find_pictures(data)
    return Truths(count, size, photos, () if labels is None else tuple(labelled_pictures(labels)))


@contextlib.contextmanager
def open_judges(
    truths: Truths, gender_model: str | None, person_model: str | None
) -> Iterator[Detectors]:
    """The judges' networks: the mannequin's own for figures, those of `tuner score` for others.

    Raises MissingModelError for a model that was named and is not there.
    """
    if truths.rendered:
        gender_model, person_model = gender_model or MANNEQUIN, person_model or MANNEQUIN
    asks_sex = truths.photos is not None and truths.photos.asks_sex
    asks_sex |= any(row.prompt.sex is not None for row in truths.labelled)
    with score_folder.open_judges(asks_sex, gender_model, person_model) as judges:
        yield judges


def cases(truths: Truths, judges: Detectors) -> Iterator[Case]:
    """Every picture with its truth, drawn, read or painted when it is asked for."""
    if truths.rendered:
        yield from rendered_cases(truths.count, truths.size)
    if truths.photos is not None:
        yield from photo_cases(truths.photos, judges)
    yield from labelled_cases(truths.labelled)
