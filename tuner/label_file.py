"""The user's own truth: the pictures that a table of `tuner label` names, as cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metrics.contract import Prompt, Sample
from tuner.cases import SOUND, Case, with_fault, wrong_sex
from tuner.data.picture_file import read_pixels
from tuner.errors import ConfigError
from tuner.labels import Label, read_labels
from tuner.score_folder import find_pictures

SEEN_BY: dict[str, tuple[str, ...]] = {
    "wrong_limbs": ("limbs",),
    "unreadable_pose": ("pose_readable",),
    "undressed": ("cloth_share",),
    "picture_fault": ("sharp", "clean"),
}
"""The faults of labels.csv, and the judges that have to say so."""


@dataclass(frozen=True)
class Labelled:
    """A picture, its prompt with the sex that the figure shows, and what was seen in it."""

    path: Path
    prompt: Prompt
    label: Label


def labelled_pictures(table: Path) -> list[Labelled]:
    """The pictures of a table, named from its own folder on.

    Raises ConfigError where it is no such table, labels nothing or names what is no picture: one
    line for each row at fault.
    """
    found, wrong = [], []
    for name, label in read_labels(table).items():
        try:
            found.append(_labelled(table.parent / name, label))
        except ConfigError as error:
            wrong.append(f"{table}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    if not found:
        raise ConfigError(f"{table} labels no picture; tuner label {table.parent} writes it")
    return found


def labelled_cases(rows: Sequence[Labelled]) -> Iterator[Case]:
    """A case for each fault that was looked for; a file that has gone meanwhile is passed over.

    A picture without a fault is a sound one for the judges of that fault. Where the sex is known,
    the picture is judged with a prompt for it and with one for the other.
    """
    for source, row in enumerate(rows):
        try:
            pixels = np.asarray(read_pixels(row.path), np.uint8)
        except OSError:
            continue
        sample = Sample(row.prompt, source, pixels, row.path)
        case = Case("labelled pictures", source, SOUND, (), sample)
        if row.label.faults is not None:
            for fault, judges in SEEN_BY.items():
                kind = fault if fault in row.label.faults else SOUND
                yield replace(case, kind=kind, judges=judges)
        if row.prompt.sex is not None:
            yield with_fault(case, SOUND, "gender")
            yield from wrong_sex(case)


def _labelled(path: Path, label: Label) -> Labelled:
    if not path.is_file():
        raise ConfigError(f"{path} is not there")
    ((_, prompt),) = find_pictures(path).prompted
    # What a prompt asked for is not what was drawn: the sex is known where somebody saw it.
    prompt = replace(prompt, sex=label.sex, text=prompt.text or "a person")
    return Labelled(path, prompt, label)
