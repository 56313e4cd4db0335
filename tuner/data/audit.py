"""What a training set can and cannot teach, before a GPU second is spent on it.

Sex and framing are read from the captions, copies and explicit parts from the pictures. What is
found does not stop anybody: it is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metrics.contract import Image, Prompt, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
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
_FEW_PICTURES = 10  # below it, nothing is said of what tags have in common


@dataclass(frozen=True)
class Wanted:
    """Prompts that a study will sample and sizes (width, height) that it will train at."""

    prompts: tuple[Prompt, ...]
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Look:
    """What was seen in one picture itself."""

    image: TrainingImage
    fingerprint: Fingerprint
    explicit: bool


@dataclass(frozen=True)
class SizeFit:
    """How the pictures fit a training size (width, height).

    `enlarged` of them are smaller than it, the smallest by the factor `most`; `cut` is the share of
    a picture that lies outside the centre cut, in the mean.
    """

    size: tuple[int, int]
    enlarged: int
    most: float
    cut: float


@dataclass(frozen=True)
class Audit:
    """What was found, over the pictures to train on; copies over the held-out ones too.

    `groups` has the pictures by sex and framing (words of SEXES and FRAMINGS). `always` are tags
    of nearly every caption; `bound` has the tags that come with one sex alone, with that sex and
    their number. `copies` has (first, near copy).
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

    @property
    def people(self) -> Mapping[tuple[str, str], int]:
        """How many pictures there are of each group."""
        return {key: len(images) for key, images in self.groups.items()}


def look(data: TrainingSet, judges: Detectors) -> Iterator[Look]:
    """Look at every picture, held-out ones last; a file that has gone meanwhile is passed over."""
    for image in (*data.images, *data.held_out):
        try:
            pixels = np.asarray(load_pixels(image), np.uint8)
        except OSError:
            continue
        sample = Sample(Prompt(""), 0, _not_too_long(pixels))
        score = no_explicit_parts(sample, Evidence(sample, judges)).value
        yield Look(image, fingerprint(pixels), score is not None and score < 0.5)


def audit(data: TrainingSet, wanted: Wanted, looks: Iterable[Look]) -> Audit:
    """Everything that captions and looks tell of the data."""
    seen = list(looks)
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
            (seen[first].image.path, seen[copy].image.path)
            for first, copy in near_copies([one.fingerprint for one in seen])
        ),
        explicit=tuple(one.image.path for one in seen if one.explicit),
    )


def sex_of(caption: str) -> str:
    """One of SEXES: whom the caption names."""
    tags = set(apply_policy(caption, "gender").split(", ")) - {"solo", ""}
    if not tags:
        return "unnamed"
    return {frozenset({"1girl"}): "woman", frozenset({"1boy"}): "man"}.get(
        frozenset(tags), "several"
    )


def framing_of(caption: str) -> str:
    """One of FRAMINGS: how much of the person the caption says the picture shows."""
    tags = set(tags_of(caption))
    for name, words in (("full", _FULL), ("half", _HALF), ("face", _FACE)):
        if tags & words:
            return name
    return read_prompt(caption).framing or "unnamed"


def _not_too_long(image: Image) -> Image:
    """The middle of a picture that is longer than the detectors bear."""
    height, width = image.shape[:2]
    tall, wide = min(height, LONGEST * width), min(width, LONGEST * height)
    top, left = (height - tall) // 2, (width - wide) // 2
    return np.ascontiguousarray(image[top : top + tall, left : left + wide])


def _fit(images: Sequence[TrainingImage], size: tuple[int, int]) -> SizeFit:
    scales = np.array([max(size[0] / one.width, size[1] / one.height) for one in images])
    areas = np.array([one.width * one.height for one in images])
    kept = size[0] * size[1] / (areas * scales**2)
    most = float(scales.max())
    return SizeFit(size, int((scales > 1).sum()), max(1.0, most), float(1 - kept.mean()))


def _always(images: Sequence[TrainingImage]) -> tuple[str, ...]:
    if len(images) < _FEW_PICTURES:
        return ()
    counts = Counter(tag for image in images for tag in tags_of(image.caption))
    least = _ALWAYS * len(images)
    return tuple(t for t, n in counts.most_common() if n >= least and t not in GENDER_TAGS)


def _bound(images: Sequence[TrainingImage]) -> tuple[tuple[str, str, int], ...]:
    """Tags that come with one sex alone, where chance alone would hardly have it so.

    With a share s of that sex, n pictures with a tag that has nothing to do with it are all of
    that sex with the probability s ** n.
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
