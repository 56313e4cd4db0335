"""The pictures of a selfcheck: rendered figures, or the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metrics.contract import Domain
from metrics.detectors import Detectors
from tuner.judging import score_folder
from tuner.judging.cases import Case
from tuner.judging.labelled_cases import LabelledPicture, labelled_cases, labelled_pictures
from tuner.judging.photo_cases import photo_cases
from tuner.judging.picture_domain import picture_domain
from tuner.judging.rendered_cases import rendered_cases
from tuner.space.config import MANNEQUIN


@dataclass(frozen=True)
class Truths:
    """The pictures of a selfcheck.

    Without `photos` and `labelled` they are `count` rendered figures of each style, `size` px wide.
    """

    count: int
    size: int
    photos: score_folder.FoundPictures | None = None
    labelled: tuple[LabelledPicture, ...] = ()

    @property
    def rendered(self) -> bool:
        """True if the pictures are figures of the mannequin's renderer."""
        return self.photos is None and not self.labelled

    @property
    def lines(self) -> list[str]:
        """Lines for the user: the pictures that are measured, and those left out."""
        if self.rendered:
            return [f"figures: {self.count} of each style at {self.size} px, and their faults"]
        lines = []
        if self.photos:
            lines += [f"pictures taken as sound: {len(self.photos.prompted)}, and their faults"]
            lines += score_folder.left_out(self.photos)
        if self.labelled:
            lines += [f"labelled pictures: {len(self.labelled)}"]
        return lines


def read_truths(count: int, size: int, data: Path | None, labels: Path | None) -> Truths:
    """Find the pictures and read the labels. Raises ConfigError if one of them cannot be used."""
    photos = None if data is None else score_folder.find_pictures(data)
    return Truths(count, size, photos, () if labels is None else tuple(labelled_pictures(labels)))


def truths_domain(
    truths: Truths, drawn: bool | None, study_domain: Domain | None
) -> tuple[Domain, str]:
    """Return the kind of the pictures, and a line that says so.

    Rendered figures are drawn; otherwise the user's word counts, then the study's, then the
    pictures.
    """
    if truths.rendered:
        return "drawn", "pictures: drawn"
    if drawn is None and study_domain is not None:
        return study_domain, f"pictures: {study_domain}, as the study's"
    paths = [path for path, _ in truths.photos.prompted] if truths.photos else []
    paths += [picture.path for picture in truths.labelled]
    domain, why = picture_domain(paths, drawn)
    return domain, f"pictures: {why}"


@contextlib.contextmanager
def open_judges(
    truths: Truths,
    gender_model: str | None,
    person_model: str | None,
    domain: Domain,
    optional: Mapping[str, str | None],
) -> Iterator[Detectors]:
    """Open the judges' networks: the mannequin's for figures, those of `tuner score` for others.

    `optional` are the models of the optional judges, by setting. Raises MissingModelError if a
    named gender model is not available.
    """
    if truths.rendered:
        gender_model, person_model = gender_model or MANNEQUIN, person_model or MANNEQUIN
    needs_gender = truths.photos is not None and truths.photos.names_sex
    needs_gender |= any(picture.prompt.sex is not None for picture in truths.labelled)
    with score_folder.open_judges(
        needs_gender, gender_model, person_model, domain, optional
    ) as judges:
        yield judges


def make_cases(truths: Truths, judges: Detectors) -> Iterator[Case]:
    """Yield every test case; pictures are drawn, read or painted one at a time."""
    if truths.rendered:
        yield from rendered_cases(truths.count, truths.size)
    if truths.photos is not None:
        yield from photo_cases(truths.photos, judges)
    yield from labelled_cases(truths.labelled)
