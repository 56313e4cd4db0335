"""Record a study before any model is loaded: read its data, write study.yaml and its row.

A database that has the record of another study is refused.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner import __version__
from tuner.data import TrainingSets, read_folder
from tuner.data.regularisation import with_regularisation
from tuner.errors import ConfigError
from tuner.judging.models import model_names, study_judges
from tuner.mannequin import named_folder
from tuner.space import StudyConfig, space_hash, to_yaml
from tuner.space.config import OF_BASE, ORIGINALS
from tuner.space.load import load_recorded
from tuner.space.suite import DRAWING
from tuner.space.write import differences
from tuner.storage import Store, StudyFolder
from tuner.storage.address import Address
from tuner.storage.columns import utc_now
from tuner.storage.files import write_text
from tuner.storage.rows import StudyRow

_NAMED = ("torch", "diffusers", "transformers", "peft", "optuna", "mediapipe", "open_clip_torch")
"""Packages whose versions are recorded with a study."""

_DRAWING = "drawing"
"""Key of `DRAWING` among the versions."""


def read_data(config: StudyConfig) -> TrainingSets:
    """Return every training set of the study by name, with regularisation pictures from a folder.

    Regularisation pictures that the base draws are not included. Raises ConfigError for a folder
    that cannot be used.
    """
    sets = {name: read_folder(named_folder(data)) for name, data in config.data_folders.items()}
    prior = config.regularisation
    if prior is None or prior == OF_BASE:
        return sets
    folder = None if prior == ORIGINALS else named_folder(prior)
    return {name: with_regularisation(data, folder) for name, data in sets.items()}


def data_hashes(sets: TrainingSets) -> dict[str, str]:
    """Return the hash of each training set by name; a nameless set is called `data`."""
    return {name or "data": data.sha256 for name, data in sets.items()}


def record_study(
    config: StudyConfig, folder: StudyFolder, store: Store, hashes: Mapping[str, str]
) -> None:
    """Write study.yaml and the study's row: the configuration, package versions and data hashes."""
    versions = {"tuner": __version__, _DRAWING: DRAWING} | {
        name: importlib.metadata.version(name) for name in _NAMED
    }
    header = [f"# {name} {version}" for name, version in versions.items()]
    header += [f"# data {name}: sha256 {sha}" for name, sha in hashes.items()]
    write_text(folder.study_yaml, "\n".join(header) + "\n" + to_yaml(config))
    store.put_study(
        StudyRow(
            name=config.study,
            base=config.base,
            space_hash=space_hash(config),
            budget=config.budget.trials,
            objectives=config.objectives,
            constraints=config.constraints,
            versions=versions,
            begun=utc_now(),
            side=min(config.suite.image_size),
            models=model_names(study_judges(config)),
            data=dict(hashes),
            hours=config.budget.hours,
            gpu_hours=config.budget.gpu_hours,
        )
    )


@dataclass(frozen=True)
class Begun:
    """The record that the database `place` has of the study that was begun in it."""

    place: Path | Address
    space_hash: str
    objectives: Sequence[str]
    data: Mapping[str, str]


def refuse_changed(
    begun: Begun, config: StudyConfig, folder: StudyFolder, data: Mapping[str, str]
) -> None:
    """Raise ConfigError if `begun` is not the study of `config` on `data` (hashes by name)."""
    another = f"give this one another name (`study:` in its file), or move {folder.root} away"
    objectives = list(config.objectives)
    if list(begun.objectives) != objectives:
        raise ConfigError(
            f"{begun.place} was begun with the objectives {list(begun.objectives)}, not "
            f"{objectives}; {another}"
        )
    if begun.space_hash != space_hash(config):
        raise ConfigError(
            f"{begun.place} was begun with another search space ({_changes(config, folder)}); "
            f"results cannot be mixed: {another}"
        )
    changed = sorted(name for name, sha in data.items() if begun.data.get(name, sha) != sha)
    if changed:
        raise ConfigError(
            f"the training pictures of {', '.join(changed)} changed since {begun.place} was begun; "
            f"put them back, name their folder with --data, or {another}"
        )


def refuse_other(
    row: StudyRow, config: StudyConfig, folder: StudyFolder, data: Mapping[str, str]
) -> None:
    """Raise ConfigError if results.db, with the study's `row`, is not the study of `config`.

    A study that a later version of tuner wrote is refused too, and one whose pictures were drawn in
    another way: its trials could not be compared with new ones.
    """
    writer = row.versions.get("tuner", "")
    if _numbers(writer) > _numbers(__version__):
        raise ConfigError(
            f"{folder.results_db} was written by tuner {writer}, and this is tuner {__version__}; "
            "go on with that version, or a later one"
        )
    drawing = row.versions.get(_DRAWING, "1")
    if drawing != DRAWING:
        raise ConfigError(
            f"{folder.results_db}: its pictures were drawn with drawing version {drawing}, "
            f"and this tuner draws others, with version {DRAWING}; go on with the tuner that began "
            f"it, or move {folder.root} away and begin anew (its report and its files stay usable)"
        )
    begun = Begun(folder.results_db, row.space_hash, row.objectives, row.data)
    refuse_changed(begun, config, folder, data)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _changes(config: StudyConfig, folder: StudyFolder) -> str:
    """Return in words what differs from the study in study.yaml."""
    with contextlib.suppress(ConfigError):
        if names := differences(load_recorded(folder), config):
            return f"{', '.join(names)} differ from {folder.study_yaml.name} there"
    return f"see {folder.study_yaml.name} there, or an earlier version of tuner began it"
