"""What a study is about, before any model is loaded: its data, study.yaml and its row."""

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
from tuner.storage.files import write_text
from tuner.storage.rows import StudyRow
from tuner.storage.store import utc_now

_NAMED = ("torch", "diffusers", "transformers", "peft", "optuna", "mediapipe", "open_clip_torch")
"""The packages whose versions are kept with a study."""


def read_data(config: StudyConfig) -> TrainingSets:
    """Every training set of the study, with regularisation pictures that lie in a folder.

    Raises ConfigError for a folder that cannot be used.
    """
    sets = {name: read_folder(named_folder(data)) for name, data in config.data_folders.items()}
    prior = config.regularisation
    if prior is None or prior == OF_BASE:
        return sets
    folder = None if prior == ORIGINALS else named_folder(prior)
    return {name: with_regularisation(one, folder) for name, one in sets.items()}


def data_hashes(data: TrainingSets) -> dict[str, str]:
    """The hash of each training set by its name; the only one is called `data`."""
    return {name or "data": one.sha256 for name, one in data.items()}


def record_study(
    config: StudyConfig, folder: StudyFolder, store: Store, hashes: Mapping[str, str]
) -> None:
    """Write study.yaml and the study's row: what is asked for, with which versions and data."""
    versions = {"tuner": __version__} | {name: importlib.metadata.version(name) for name in _NAMED}
    about = [f"# {name} {version}" for name, version in versions.items()]
    about += [f"# data {name}: sha256 {sha}" for name, sha in hashes.items()]
    write_text(folder.study_yaml, "\n".join(about) + "\n" + to_yaml(config))
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
        )
    )
