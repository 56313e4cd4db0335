"""What a confirmation trains anew: whatever the method, as far into a run as the trial was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tuner.trained_study import (
    ASKED,
    PLAN,
    begun,
    confirming,
    parts,
    train_study,
)
from tuner.models import read_file
from tuner.results.confirmation import chosen
from tuner.space import StudyConfig
from tuner.space.train_config import read_yaml
from tuner.storage import Store
from tuner.storage.folder import TrialFolder
from tuner.study.confirm import planned
from tuner.training import train
from tuner.trial import Workbench

pytestmark = pytest.mark.slow


def test_what_dreambooth_trained_is_confirmed_from_its_own_files(
    config: StudyConfig, bench: Workbench, tmp_path: Path
) -> None:
    settings = {"method": "dreambooth", "learning_rate": 1e-4}
    folder = train_study(config, bench, tmp_path, **settings)
    with Store(folder.results_db) as store:
        plan = begun(store, folder, config)
        assert parts(list(confirming(bench, folder, store, plan))) == PLAN
        rows = {(row.rung.trial, row.repeat): row.rung.lora for row in store.fresh()}
    assert rows[1, 0] == folder.trial(1).rung(2).weights.resolve()
    assert rows[1, 1] == folder.repeat(1, 2, 1).rung(2).weights.resolve()
    assert chosen(folder).winner is not None


def test_a_repeat_of_an_early_rung_is_in_the_same_stage_of_its_captions(
    config: StudyConfig, bench: Workbench, tmp_path: Path
) -> None:
    folder = train_study(config, bench, tmp_path, first_captions="none", first_share=0.5)
    with Store(folder.results_db) as store:
        plan = [replace(row, step=1) for row in planned(store, folder, config, ASKED)]
        list(confirming(bench, folder, store, plan))
    again, twin = folder.repeat(1, 1, 1), TrialFolder(tmp_path / "twin")
    recipe = read_yaml(again.train_yaml)
    list(train(bench.base, bench.training_sets[None], recipe, [1, 2], twin.root))
    known, own = (read_file(trial.rung(1).lora).modules for trial in (twin, again))
    assert all(torch.equal(module.up, own[name].up) for name, module in known.items())
    assert not again.rung(2).lora.exists()
