"""Judge pictures that came from anywhere: find them, read their prompts, ask every judge.

Nothing beside the pictures is changed or written. What cannot be judged is named or counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import metrics
from metrics.contract import JudgeSettings, Prompt, Sample, ScoredSample
from metrics.models import ModelUnavailableError
from tuner.data.adults import forbidden_words
from tuner.data.picture_file import (
    SUFFIXES,
    UnusableError,
    decoded_size,
    opened,
    read_pixels,
    too_thin,
)
from tuner.errors import ConfigError, MissingModelError
from tuner.image_prompt import prompts_of
from tuner.judge_models import judge_settings
from tuner.prompt_words import read_prompt

if TYPE_CHECKING:
    from metrics.detectors import Detectors


@dataclass(frozen=True)
class Pictures:
    """The pictures at a path: those to judge, each with its prompt, and those left out.

    An empty prompt is that of a picture that came with none. `refused` counts the pictures whose
    prompt names a child or an age under 18.
    """

    root: Path
    prompted: tuple[tuple[Path, Prompt], ...]
    unreadable: tuple[tuple[Path, str], ...]
    refused: int

    @property
    def asks_sex(self) -> bool:
        """Whether a prompt asks for a sex."""
        return any(prompt.sex is not None for _, prompt in self.prompted)

    def name(self, path: Path) -> str:
        """A picture's name as it is shown: from the folder on, without what breaks a terminal."""
        text = os.fsencode(path.relative_to(self.root)).decode("utf-8", "replace")
        return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def find_pictures(path: Path, prompt: str | None = None, recursive: bool = False) -> Pictures:
    """The pictures in a folder, or the one that `path` is, each decoded once.

    `prompt` is that of all of them; without it each is asked for its own. Raises ConfigError
    where there is nothing to judge, and for a prompt that names a child.
    """
    if prompt is not None and (words := forbidden_words(prompt)):
        raise ConfigError(f"--prompt names a child or an age under 18 ({', '.join(words)})")
    paths = _paths(path, recursive)
    given = None if prompt is None else read_prompt(prompt)
    prompted: list[tuple[Path, Prompt]] = []
    unreadable: list[tuple[Path, str]] = []
    refused = 0
    for each in paths:
        try:
            own = _own_prompts(each)
        except UnusableError as reason:
            unreadable.append((each, str(reason)))
            continue
        if any(forbidden_words(text) for text in own):
            refused += 1
        else:
            prompted.append((each, given or read_prompt(own[0] if own else "")))
    root = path if os.path.isdir(path) else path.parent
    found = Pictures(root, tuple(prompted), tuple(unreadable), refused)
    if not prompted:
        raise ConfigError(f"{path}: nothing to judge; " + "; ".join(left_out(found)))
    return found


def left_out(found: Pictures, shown: int = 10) -> list[str]:
    """A line for the pictures that cannot be judged, naming some, and one for those refused."""
    lines = []
    if found.unreadable:
        named = [f"{found.name(path)} ({why})" for path, why in found.unreadable[:shown]]
        more = ", ..." if len(found.unreadable) > shown else ""
        lines.append(f"{len(found.unreadable)} cannot be judged: {', '.join(named)}{more}")
    if found.refused:
        lines.append(f"{found.refused} left out: the prompt names a child or an age under 18")
    return lines


@contextlib.contextmanager
def open_judges(
    asks_sex: bool, gender_model: str | None, person_model: str | None
) -> Iterator[Detectors]:
    """The judges' networks, those that the user named already opened.

    Without `gender_model` the usual one is taken where a prompt asks for a sex (`asks_sex`), and
    none elsewhere; where it cannot be had, a warning says so and gender is not judged. Raises
    MissingModelError for a model that was named and is not there.
    """
    usual = JudgeSettings().gender_model if asks_sex else None
    settings = judge_settings(gender_model or usual, person_model)
    with contextlib.ExitStack() as opened_judges:
        judges = opened_judges.enter_context(metrics.open_detectors(settings))
        try:
            if gender_model or asks_sex:
                _open_gender(judges)
        except ModelUnavailableError as error:
            if gender_model:
                raise MissingModelError(str(error)) from error
            warnings.warn(
                f"gender is not judged: {error}; `tuner models` says where to put the model, "
                "--gender-model names another",
                stacklevel=1,  # the caller's line would be contextlib's
            )
            settings = replace(settings, gender_model=None)
            judges = opened_judges.enter_context(metrics.open_detectors(settings))
        if person_model:
            _ = judges.persons
        yield judges


def judge(found: Pictures, judges: Detectors) -> Iterator[ScoredSample]:
    """Each picture's scores, one after the other; a file that has gone meanwhile is passed over.

    The samples keep their prompt, path and size and lose their pixels (all black): those of a
    whole folder would not fit in memory. Raises metrics.models.ModelUnavailableError for a missing
    model.
    """
    for index, (path, prompt) in enumerate(found.prompted):
        try:
            pixels = np.asarray(read_pixels(path), np.uint8)
        except OSError:
            continue
        (scored,) = metrics.score([Sample(prompt, index, pixels, path)], judges)
        black = np.broadcast_to(np.uint8(0), pixels.shape)  # of any size one byte
        yield replace(scored, sample=replace(scored.sample, image=black))


def _paths(path: Path, recursive: bool) -> Sequence[Path]:
    if os.path.isfile(path):  # unlike Path.is_file, it bears names of any length
        return [path]
    if not os.path.isdir(path):
        raise ConfigError(f"{path} is not there; name a folder of pictures, or one picture")
    found = []
    for folder, deeper, names in os.walk(path):
        deeper[:] = sorted(name for name in deeper if recursive and not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    pictures = [each for each in found if each.suffix.lower() in SUFFIXES]
    if not pictures:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        hint = "" if recursive else "; --recursive also looks into its folders"
        raise ConfigError(f"{path} has no pictures ({kinds}){hint}")
    return pictures


def _own_prompts(path: Path) -> list[str]:
    with opened(path) as image:
        width, height = decoded_size(image)
        if too_thin(width, height):
            raise UnusableError(f"{width} x {height}: too long and thin")
        return prompts_of(path, image)


def _open_gender(judges: Detectors) -> None:
    """Open the model without the hub's log, which tells of each of its tries."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        _ = judges.zero_shot
    finally:
        logging.disable(before)
