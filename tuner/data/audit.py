"""The audit: what a training set can and cannot teach, before any GPU time is spent on it.

Sex and framing are read from captions, copies and explicit parts from pictures. Nothing is refused
here, only reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from metrics.contract import Image, Prompt, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.judges import adult
from metrics.judges.clothing import no_explicit_parts
from tuner.data.captions import FRAMING_TAGS, GENDER_TAGS, apply_policy, tags_of
from tuner.data.folder import TrainingImage, TrainingSet, load_pixels
from tuner.data.near_copies import Fingerprint, fingerprint, near_copies
from tuner.data.picture_file import LONGEST
from tuner.data.prompt_words import read_prompt

SEXES = ("woman", "man", "several", "unnamed")
FRAMINGS = ("full", "half", "face", "unnamed")

_FULL = frozenset({"full body", "wide shot", "very wide shot"})
_FACE = frozenset({"portrait", "close-up", "close up"})
_HALF = FRAMING_TAGS - _FULL - _FACE - {"head out of frame", "feet out of frame"}

_ALWAYS = 0.95
_BOUND_FROM, _BOUND_CHANCE = 5, 0.001
_FEW_PICTURES = 10  # below it, nothing is reported about tags of all or of one sex


@dataclass(frozen=True)
class Wanted:
    """Prompts that a study will sample and sizes (width, height) that it will train at."""

    prompts: tuple[Prompt, ...]
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Look:
    """Findings in one picture's pixels; `young`: a face clearly looks under age."""

    image: TrainingImage
    fingerprint: Fingerprint
    explicit: bool
    young: bool = False


@dataclass(frozen=True)
class SizeFit:
    """Fit of the pictures to a training size (width, height).

    `enlarged` pictures are smaller, the smallest by the factor `most`; `cut` is the mean share of a
    picture outside the centre cut.
    """

    size: tuple[int, int]
    enlarged: int
    most: float
    cut: float


@dataclass(frozen=True)
class Audit:
    """Findings over the pictures to train on; copies also over the held-out ones.

    `groups` has the pictures by sex and framing (words of SEXES and FRAMINGS). `always` are tags
    of nearly every caption; `bound` are tags that occur with one sex only, as (tag, sex, count).
    `copies` has (first, near copy); `cut` the number of tokens of each caption that is cut. `young`
    are pictures in which a face looks under age.
    """

    data: TrainingSet
    wanted: Wanted
    groups: Mapping[tuple[str, str], tuple[TrainingImage, ...]]
    fits: tuple[SizeFit, ...]
    always: tuple[str, ...]
    bound: tuple[tuple[str, str, int], ...]
    empty_captions: int
    copies: tuple[tuple[Path, Path], ...]
    explicit: tuple[Path, ...]
    young: tuple[Path, ...] = ()
    cut: Mapping[Path, int] = field(default_factory=dict)

    @property
    def people(self) -> Mapping[tuple[str, str], int]:
        """Number of pictures in each group."""
        return {key: len(images) for key, images in self.groups.items()}


def look(data: TrainingSet, judges: Detectors) -> Iterator[Look]:
    """Examine every picture, held-out ones last; files deleted meanwhile are skipped."""
    for image in (*data.images, *data.held_out):
        try:
            pixels = np.asarray(load_pixels(image), np.uint8)
        except OSError:
            continue
        sample = Sample(Prompt(""), 0, _not_too_long(pixels))
        evidence = Evidence(sample, judges)
        score = no_explicit_parts(sample, evidence).value
        age = adult.JUDGE.answer(judges.settings.domain)(sample, evidence)
        explicit = score is not None and score < 0.5
        yield Look(image, fingerprint(pixels), explicit, adult.looks_under_age(age))


def audit(
    data: TrainingSet, wanted: Wanted, looks: Iterable[Look], cut: Mapping[Path, int]
) -> Audit:
    """Combine captions and looks into the audit of the data.

    `cut` has the number of tokens of each caption that is longer than training reads.
    """
    examined = list(looks)
    groups: dict[tuple[str, str], list[TrainingImage]] = {}
    for image in data.images:
        groups.setdefault((sex_of(image.caption), framing_of(image.caption)), []).append(image)
    return Audit(
        data=data,
        wanted=wanted,
        groups={key: tuple(images) for key, images in groups.items()},
        fits=tuple(_fit(data.images, size) for size in wanted.sizes),
        always=_always(data.images),
        bound=_bound(data.images),
        empty_captions=sum(not tags_of(image.caption) for image in data.images),
        copies=tuple(
            (examined[first].image.path, examined[copy].image.path)
            for first, copy in near_copies([each.fingerprint for each in examined])
        ),
        explicit=tuple(each.image.path for each in examined if each.explicit),
        young=tuple(each.image.path for each in examined if each.young),
        cut=cut,
    )


def sex_of(caption: str) -> str:
    """Return the one of SEXES that the caption names."""
    tags = set(apply_policy(caption, "gender").split(", ")) - {"solo", ""}
    if not tags:
        return "unnamed"
    return {frozenset({"1girl"}): "woman", frozenset({"1boy"}): "man"}.get(
        frozenset(tags), "several"
    )


def framing_of(caption: str) -> str:
    """Return the one of FRAMINGS that the caption names: how much of the person is visible."""
    tags = set(tags_of(caption))
    for name, words in (("full", _FULL), ("half", _HALF), ("face", _FACE)):
        if tags & words:
            return name
    return read_prompt(caption).framing or "unnamed"


def _not_too_long(image: Image) -> Image:
    """Return the middle of a picture that is too long for the detectors, else all of it."""
    height, width = image.shape[:2]
    tall, wide = min(height, LONGEST * width), min(width, LONGEST * height)
    top, left = (height - tall) // 2, (width - wide) // 2
    return np.ascontiguousarray(image[top : top + tall, left : left + wide])


def _fit(images: Sequence[TrainingImage], size: tuple[int, int]) -> SizeFit:
    scales = np.array([max(size[0] / image.width, size[1] / image.height) for image in images])
    areas = np.array([image.width * image.height for image in images])
    kept = size[0] * size[1] / (areas * scales**2)
    most = float(scales.max())
    return SizeFit(size, int((scales > 1).sum()), max(1.0, most), float(1 - kept.mean()))


def _always(images: Sequence[TrainingImage]) -> tuple[str, ...]:
    if len(images) < _FEW_PICTURES:
        return ()
    counts = Counter(tag for image in images for tag in tags_of(image.caption))
    least = _ALWAYS * len(images)
    return tuple(
        tag for tag, count in counts.most_common() if count >= least and tag not in GENDER_TAGS
    )


def _bound(images: Sequence[TrainingImage]) -> tuple[tuple[str, str, int], ...]:
    """Return the tags that occur with one sex only and hardly by chance, as (tag, sex, count).

    If a share s of the pictures shows that sex, the n pictures with an unrelated tag all show it
    with probability s ** n.
    """
    sexes = [(sex_of(image.caption), tags_of(image.caption)) for image in images]
    single = [(sex, tags) for sex, tags in sexes if sex in ("woman", "man")]
    shares = Counter(sex for sex, _ in single)
    if len(shares) < 2:
        return ()
    counts = Counter((tag, sex) for sex, tags in single for tag in tags)
    other = {"woman": "man", "man": "woman"}
    return tuple(
        (tag, sex, count)
        for (tag, sex), count in counts.most_common()
        if count >= _BOUND_FROM
        and (tag, other[sex]) not in counts
        and (shares[sex] / len(single)) ** count < _BOUND_CHANCE
        and tag not in GENDER_TAGS | FRAMING_TAGS
    )
