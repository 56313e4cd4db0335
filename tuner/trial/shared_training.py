"""Trainings that trials share: recipes that differ only in sampling are trained once."""

from __future__ import annotations

import contextlib

from tuner.errors import ConfigError
from tuner.events import COUNTED
from tuner.space import TrainConfig
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import TrialFolder


def trained_before(
    train: TrainConfig, steps: tuple[int, ...], folder: StudyFolder, store: Store
) -> TrialFolder | None:
    """Return the folder of a finished trial with the same training and files of all `steps`.

    Returns None if there is none.
    """
    for row in store.trials():
        other = folder.trial(row.number)
        if row.state not in COUNTED or not other.train_yaml.is_file():
            continue
        if not all(other.rung(step).trained(train.method).is_file() for step in steps):
            continue
        with contextlib.suppress(ConfigError):  # the file is from an older version of tuner
            if read_yaml(other.train_yaml) == train:
                return other
    return None
