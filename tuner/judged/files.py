"""Find the files to judge, tell them apart by their content, and keep them in the study's folder.

What cannot be read is left out with its reason, and the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tuner.data import forbidden_words
from tuner.errors import ConfigError, UnusableFileError
from tuner.storage import StudyFolder, replacing
from tuner.storage.content import content_digest
from tuner.text import show

_ENDING = ".safetensors"
_ADAPTER = "adapter_model.safetensors"
_INDEX = "model_index.json"
_DIGITS = 16


@dataclass(frozen=True)
class JudgedFile:
    """A LoRA or checkpoint that exists already.

    `name` is unique among the files that were found with it, `sha256` (16 digits) that of its
    content. Files with the same `run` were written by one training, at `step` (optimizer steps)
    or after `epoch`; None: not known. `alias` is the word to prompt with that its header names,
    and `alias_from` the key. `notes` are lines for the user.
    """

    path: Path
    name: str
    sha256: str
    run: str
    step: int | None = None
    epoch: int | None = None
    alias: str | None = None
    alias_from: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A file that is not judged, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """The files to judge in the order of their runs and steps, those left out, and lines on both.

    `place` is the folder in which the first of them was named.
    """

    files: tuple[JudgedFile, ...]
    refused: tuple[Refused, ...]
    place: Path


def find_files(places: Sequence[Path], as_base: bool = False) -> Found:
    """Return the files that `places` name: files, folders of them, folders of peft's adapters.

    With `as_base` they are whole checkpoints, files or folders in diffusers' layout. Of
    files with the same content the first counts. Raises ConfigError for a place that is not there,
    and if nothing can be judged.
    """
    paths = [path for place in places for path in _paths(place, as_base)]
    files: dict[str, JudgedFile] = {}
    refused: list[Refused] = []
    for path in dict.fromkeys(paths):
        try:
            file = _checkpoint(path) if as_base else _lora(path)
        except UnusableFileError as error:
            refused.append(Refused(path, str(error)))
            continue
        if (same := files.get(file.sha256)) is not None:
            refused.append(Refused(path, f"{path.name}: has the same content as {same.name}"))
            continue
        files[file.sha256] = file
    if not files:
        lines = [each.reason for each in refused] or [_nothing(places)]
        raise ConfigError("\n".join(lines))
    ordered = sorted(_named_apart(files.values()), key=_order)
    first = Path(os.path.abspath(places[0]))
    return Found(tuple(ordered), tuple(refused), first if first.is_dir() else first.parent)


def keep_file(file: JudgedFile, folder: StudyFolder) -> Path:
    """Return the file's place in the study, where it stays when the trainer's folder is gone.

    It is a hard link, which takes no space, or a copy where the file system has none. Of a folder
    it is the file that stands for it: a checkpoint's index, an adapter's weights.
    """
    kept = folder.judged_file(file.sha256)
    if not file.path.is_dir():
        _keep(file.path, kept)
        return kept
    for source in sorted(file.path.rglob("*")):
        if source.is_file():
            _keep(source, kept.with_suffix("") / source.relative_to(file.path))
    named = _INDEX if (file.path / _INDEX).is_file() else _ADAPTER
    return kept.with_suffix("") / named


def _keep(source: Path, kept: Path) -> None:
    if kept.exists():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links
            temporary.write_bytes(source.read_bytes())


def _paths(place: Path, as_base: bool) -> list[Path]:
    place = Path(os.path.expanduser(place))
    if not os.path.lexists(place):
        raise ConfigError(f"{place} is not there; name {_ENDING} files, or folders of them")
    if not place.is_dir():
        return [place]
    if as_base:
        whole = [place] if (place / _INDEX).is_file() else []
        return whole or sorted(
            [path.parent for path in place.glob(f"*/{_INDEX}")] + [*place.glob(f"*{_ENDING}")]
        )
    from tuner.models.foreign.file import lora_paths  # slow: it loads torch

    return [place] if (place / _ADAPTER).is_file() else lora_paths(place)


def _lora(path: Path) -> JudgedFile:
    from tuner.models.foreign.file import read_foreign  # slow: it loads torch

    lora = read_foreign(path)
    if words := forbidden_words(", ".join(lora.triggers)):
        raise UnusableFileError(
            f"{path.name}: its words to prompt with name a child or an age under 18 "
            f"({', '.join(words)}); allowed: adults"
        )
    return JudgedFile(
        path,
        path.name if path.is_dir() else path.stem,
        lora.sha256[:_DIGITS],
        lora.run,
        lora.step,
        lora.epoch,
        lora.alias,
        lora.alias_from,
        lora.notes,
    )


def _checkpoint(path: Path) -> JudgedFile:
    if path.suffix != _ENDING and not path.is_dir():
        raise UnusableFileError(f"{path.name}: found {show(path.suffix)}, allowed: {_ENDING}")
    digest = content_digest(path)
    if digest is None:
        raise UnusableFileError(f"{path.name} cannot be read")
    name = path.name if path.is_dir() else path.stem
    return JudgedFile(path, name, digest[:_DIGITS], name)


def _named_apart(files: Iterable[JudgedFile]) -> list[JudgedFile]:
    """Return the files with the names of their folders before names that several have."""
    files = list(files)
    names = [file.name for file in files]
    apart = [
        replace(file, name=f"{file.path.absolute().parent.name}/{file.name}")
        if names.count(file.name) > 1
        else file
        for file in files
    ]
    twice = [file.name for file in apart]
    return [
        replace(file, name=f"{file.name}@{file.sha256[:6]}") if twice.count(file.name) > 1 else file
        for file in apart
    ]


def _order(file: JudgedFile) -> tuple[str, float, float, str]:
    """Return the key for the order: by run, then by step or epoch, those without one last."""
    last = float("inf")
    step = last if file.step is None else file.step
    return (file.run, step, last if file.epoch is None else file.epoch, file.name)


def _nothing(places: Sequence[Path]) -> str:
    return f"{', '.join(map(str, places))}: no {_ENDING} file is there"
