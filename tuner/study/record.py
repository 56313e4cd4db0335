"""Record a study before any model is loaded: read its data, write study.yaml and its row."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from tuner import __version__
from tuner.data import TrainingSets, read_folder
from tuner.data.regularisation import with_regularisation
from tuner.judging.models import model_names, study_judges
from tuner.mannequin import named_folder
from tuner.space import StudyConfig, space_hash, to_yaml
from tuner.space.config import OF_BASE, ORIGINALS
from tuner.storage import Store, StudyFolder
from tuner.storage.columns import utc_now
from tuner.storage.files import write_text
from tuner.storage.rows import StudyRow

_NAMED = ("torch", "diffusers", "transformers", "peft", "optuna", "mediapipe", "open_clip_torch")
"""Packages whose versions are recorded with a study."""


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
    versions = {"tuner": __version__} | {name: importlib.metadata.version(name) for name in _NAMED}
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
        )
    )
