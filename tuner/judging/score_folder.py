"""Judge any folder of pictures: find them, read their prompts, run every judge.

The folder is only read. Pictures that cannot be judged are named or counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import metrics
from metrics.contract import (
    OPTIONAL_MODELS,
    Domain,
    Image as Pixels,
    JudgeSettings,
    Prompt,
    Sample,
    ScoredSample,
)
from metrics.detectors.models import ModelUnavailableError
from tuner.data import forbidden_words
from tuner.data.picture_file import (
    SUFFIXES,
    UnusableError,
    decoded_size,
    opened,
    read_pixels,
    too_thin,
)
from tuner.data.prompt_words import read_prompt
from tuner.errors import ConfigError, JudgeLostError, MissingModelError, TunerError
from tuner.judging.image_prompt import read_prompts
from tuner.judging.models import judge_settings, refuse_broken
from tuner.space.config import MANNEQUIN
from tuner.text import readable

if TYPE_CHECKING:
    from metrics.detectors import Detectors
    from tuner.judging.pool import JudgePool

MAX_JUDGED = 25_000_000
"""Pixels of the largest picture that is judged at its own size; larger ones are reduced to it."""


_AHEAD = 2
"""Pictures that are read ahead for each judge process, so that none waits: more fill the memory."""


@dataclass(frozen=True)
class FoundPictures:
    """The pictures at a path: those to judge, each with its prompt, and those left out.

    The prompt is empty for a picture without one. `refused` counts the pictures whose texts name
    a child or an age under 18; negative prompts do not count.
    """

    root: Path
    prompted: tuple[tuple[Path, Prompt], ...]
    unreadable: tuple[tuple[Path, str], ...]
    refused: int

    @property
    def names_sex(self) -> bool:
        """True if any prompt names a sex."""
        return any(prompt.sex is not None for _, prompt in self.prompted)

    def name(self, path: Path) -> str:
        """Return a picture's path relative to the folder, safe to print on a terminal."""
        text = os.fsencode(path.relative_to(self.root)).decode("utf-8", "replace")
        return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def find_pictures(path: Path, prompt: str | None = None, recursive: bool = False) -> FoundPictures:
    """Find the pictures of a folder, or a single picture, and decode each once.

    `prompt` is used for all of them; without it, each picture's own prompt is read. Raises
    ConfigError if there is nothing to judge, and for a prompt that names a child.
    """
    if prompt is not None and (words := forbidden_words(prompt)):
        raise ConfigError(f"--prompt names a child or an age under 18 ({', '.join(words)})")
    paths = _paths(path, recursive)
    given = None if prompt is None else read_prompt(readable(prompt))
    prompted: list[tuple[Path, Prompt]] = []
    unreadable: list[tuple[Path, str]] = []
    refused = 0
    for file in paths:
        try:
            own, others = _own_texts(file)
        except UnusableError as reason:
            unreadable.append((file, str(reason)))
            continue
        if any(forbidden_words(text) for text in (*own, *others)):
            refused += 1
        else:
            prompted.append((file, given or read_prompt(own[0] if own else "")))
    root = path if os.path.isdir(path) else path.parent
    pictures = FoundPictures(root, tuple(prompted), tuple(unreadable), refused)
    if not prompted:
        raise ConfigError(f"{path}: nothing to judge; " + "; ".join(left_out(pictures)))
    return pictures


def left_out(pictures: FoundPictures, shown: int = 10) -> list[str]:
    """Return a line for the unreadable pictures, naming up to `shown`, and one for the refused."""
    lines = []
    if pictures.unreadable:
        named = [f"{pictures.name(path)} ({why})" for path, why in pictures.unreadable[:shown]]
        more = ", ..." if len(pictures.unreadable) > shown else ""
        lines.append(f"{len(pictures.unreadable)} cannot be judged: {', '.join(named)}{more}")
    if pictures.refused:
        lines.append(f"{pictures.refused} left out: the prompt names a child or an age under 18")
    return lines


@contextlib.contextmanager
def open_judges(
    needs_gender: bool,
    gender_model: str | None,
    person_model: str | None,
    domain: Domain,
    optional: Mapping[str, str | None] = MappingProxyType({}),
    thresholds: Mapping[str, float] | None = None,
) -> Iterator[Detectors]:
    """Open the judges' networks; models that the user named are loaded at once.

    Without `gender_model`, the default model is loaded if a prompt names a sex (`needs_gender`). If
    it is not available, a warning says so, and gender is judged by the face alone on photographs,
    on drawings not at all; without a person model persons are not counted, and without one of the
    models of `optional`, by setting, its judge is left out. Raises MissingModelError if a named
    gender model is not available.
    """
    default = JudgeSettings().gender_model if needs_gender else None
    settings = judge_settings(
        gender_model or default, person_model, domain=domain, optional=optional
    )
    settings = replace(settings, thresholds=thresholds or {})
    if domain == "drawn" and gender_model not in (None, MANNEQUIN):
        warnings.warn(
            f"the gender model {gender_model} was made for photographs; tuner selfcheck measures "
            "it on drawings",
            stacklevel=1,
        )
    refuse_broken(settings.gender_model)
    with contextlib.ExitStack() as opened_judges:
        judges = opened_judges.enter_context(metrics.open_detectors(settings))
        try:
            _ = judges.persons
        except ModelUnavailableError as error:
            warnings.warn(f"persons are not counted: {error}", stacklevel=1)
            settings = replace(settings, person_model=None)
            judges = opened_judges.enter_context(metrics.open_detectors(settings))
        try:
            if gender_model or needs_gender:
                _open_gender(judges)
        except ModelUnavailableError as error:
            if gender_model:
                raise MissingModelError(str(error)) from error
            alone = domain == "photographic" and judges.faces is not None
            warnings.warn(
                f"gender is {'judged by the face alone' if alone else 'not judged'}: {error}; "
                "`tuner models` says where to put the model, --gender-model names another",
                stacklevel=1,  # the caller's line would be in contextlib
            )
            settings = replace(settings, gender_model=None)
            judges = opened_judges.enter_context(metrics.open_detectors(settings))
        _open_optional(judges)
        yield judges


def judge(
    pictures: FoundPictures, judges: Detectors, pool: JudgePool | None = None
) -> Iterator[ScoredSample]:
    """Yield each picture with its scores, by the processes of `pool` or, without, in this one.

    A file that was removed meanwhile is skipped. The samples keep their prompt, path and size, but
    their pixels are black: the pixels of a whole folder would not fit in memory. Raises
    ModelUnavailableError for a missing model.
    """
    for scored in _scored(_samples(pictures), judges, pool):
        black = np.broadcast_to(np.uint8(0), scored.sample.image.shape)  # one byte of memory
        yield replace(scored, sample=replace(scored.sample, image=black))


def _samples(pictures: FoundPictures) -> Iterator[Sample]:
    for index, (path, prompt) in enumerate(pictures.prompted):
        try:
            pixels = judged_pixels(path)
        except OSError:
            continue
        yield Sample(prompt, index, pixels, path)


def _scored(
    samples: Iterator[Sample], judges: Detectors, pool: JudgePool | None
) -> Iterator[ScoredSample]:
    if pool is None:
        for sample in samples:
            yield from metrics.score([sample], judges)
        return
    waiting: deque[Future[list[ScoredSample]]] = deque()
    try:
        for sample in samples:
            waiting += pool.submit([sample], judges.settings)
            if len(waiting) > _AHEAD * pool.count:
                yield from pool.scored([waiting.popleft()])
        yield from pool.scored(waiting)
    except JudgeLostError as error:
        raise TunerError(f"{error}; free some memory or give --jobs 1, and run it again") from error


def judged_pixels(path: Path) -> Pixels:
    """Read a picture as the judges get it: upright, RGB, at most MAX_JUDGED pixels.

    Raises OSError if the file can no longer be read.
    """
    image = read_pixels(path)
    if (excess := image.width * image.height / MAX_JUDGED) > 1:
        # Sharpness takes 24 bytes of memory for each pixel.
        size = [max(1, int(side / excess**0.5)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    return np.asarray(image, np.uint8)


def _paths(path: Path, recursive: bool) -> Sequence[Path]:
    if os.path.isfile(path):  # unlike Path.is_file, it accepts names of any length
        return [path]
    if not os.path.isdir(path):
        fault = "is a device, a pipe or a socket" if os.path.exists(path) else "is not there"
        raise ConfigError(f"{path} {fault}; name a folder of pictures, or one picture")
    files: list[Path] = []
    for folder, subfolders, names in os.walk(path, onerror=_raise):
        subfolders[:] = sorted(n for n in subfolders if recursive and not n.startswith("."))
        files += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not pictures:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        hint = "" if recursive else "; --recursive searches its subfolders too"
        raise ConfigError(f"{path} has no pictures ({kinds}){hint}")
    return pictures


def _raise(error: OSError) -> None:
    raise error  # a folder that may not be read would be left out without a word


def _own_texts(path: Path) -> tuple[list[str], list[str]]:
    with opened(path) as image:
        width, height = decoded_size(image)
        if too_thin(width, height):
            raise UnusableError(f"{width} x {height}: too long and thin")
        return read_prompts(path, image)


def _open_optional(judges: Detectors) -> None:
    """Load the models of the optional judges; a missing one ends its judge, with a warning."""
    for name in OPTIONAL_MODELS:
        try:
            getattr(judges, name)
        except ModelUnavailableError as error:
            warnings.warn(f"{name} is not used: {error}", stacklevel=1)
            changes: dict[str, Any] = {name: None}
            judges.settings = replace(judges.settings, **changes)


def _open_gender(judges: Detectors) -> None:
    """Load the gender model without the Hub's log, which reports each of its attempts."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        _ = judges.zero_shot
    finally:
        logging.disable(before)
