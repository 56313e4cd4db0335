"""Test cases from the user's labels: the pictures in a table that `tuner label` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metrics.contract import Prompt, Sample
from tuner.errors import ConfigError
from tuner.judging.cases import SOUND, Case, with_fault, wrong_sex
from tuner.judging.labelling.labels import Label, read_labels
from tuner.judging.score_folder import find_pictures, judged_pixels

LABELLED = "labelled pictures"
"""Group of the labelled pictures."""

JUDGES_OF_FAULT: dict[str, tuple[str, ...]] = {
    "wrong_limbs": ("limbs", "second_pose"),
    "unreadable_pose": ("pose_readable",),
    "undressed": ("cloth_share", "parsed_clothes"),
    "picture_fault": ("sharp", "clean"),
}
"""The judges that have to find each fault of labels.csv."""

VLM_FAULTS = ("wrong_limbs", "undressed")
"""Faults that the questions of the judge `vlm` are about: it has to find each of them, and a
picture is sound for it without all of them."""


@dataclass(frozen=True)
class LabelledPicture:
    """A picture, its prompt with the sex from the label, and the label itself."""

    path: Path
    prompt: Prompt
    label: Label


def labelled_pictures(table: Path) -> list[LabelledPicture]:
    """Read the pictures of a table; their paths are relative to its folder.

    Raises ConfigError if it is not a table of labels, if it is empty, or if it names files that are
    not pictures, with one line for each such row.
    """
    pictures, problems = [], []
    for name, label in read_labels(table).items():
        try:
            pictures.append(_labelled(table.parent / name, label))
        except ConfigError as error:
            problems.append(f"{table}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    if not pictures:
        raise ConfigError(f"{table} labels no picture; tuner label {table.parent} writes it")
    return pictures


def labelled_cases(rows: Sequence[LabelledPicture]) -> Iterator[Case]:
    """Yield a case for each labelled fault; a file that was removed meanwhile is skipped.

    A picture without a fault is a sound case for the judges of that fault. If the sex is labelled,
    there is a case with a prompt for it and one with a prompt for the other sex.
    """
    for source, row in enumerate(rows):
        try:
            pixels = judged_pixels(row.path)
        except OSError:
            continue
        sample = Sample(row.prompt, source, pixels, row.path)
        case = Case(LABELLED, source, SOUND, (), sample)
        if row.label.faults is not None:
            for fault, judges in JUDGES_OF_FAULT.items():
                kind = fault if fault in row.label.faults else SOUND
                yield replace(case, kind=kind, judges=judges)
            kinds = [fault for fault in VLM_FAULTS if fault in row.label.faults] or [SOUND]
            yield from (replace(case, kind=kind, judges=("vlm",)) for kind in kinds)
        if row.prompt.sex is not None:
            yield with_fault(case, SOUND, "gender")
            yield from wrong_sex(case)


def _labelled(path: Path, label: Label) -> LabelledPicture:
    if not path.is_file():
        raise ConfigError(f"{path} is not there")
    ((_, prompt),) = find_pictures(path).prompted
    # The picture may not follow its prompt: only the label says which sex it shows.
    prompt = replace(prompt, sex=label.sex, text=prompt.text or "a person")
    return LabelledPicture(path, prompt, label)
