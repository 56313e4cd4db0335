"""A real study on the mannequin in which the trial that undresses its figures stops at a rung."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.events import TrialEnded
from tuner.export.verify import stored_cells
from tuner.mannequin import draw
from tuner.mannequin.figure import common_figure
from tuner.report import write_report
from tuner.results import read_results
from tuner.results.results import front
from tuner.space import load_study
from tuner.storage import Store, StudyFolder
from tuner.study import run_study

pytestmark = pytest.mark.slow

SPACE = """
study: rungs
base: mannequin
data: {undressed: undressed, dressed: dressed}
budget: {trials: 2, rungs: [30, 40], keep: 0.5, low_rung_seeds: 6}
objectives: [pose, clothing]
constraints: {undressed_rate: 0.15}
suite: {name: bare, prompts: [{text: 1girl, sex: female}, {text: "1girl, solo", sex: female}],
  seeds: 8, size: 64, steps: 10}
train:
  data: {choices: [undressed, dressed]}
  captions: gender
  rank: 16
  learning_rate: 3e-3
  resolution: 64
  batch_size: 8
start_from: [{data: undressed}, {data: dressed}]
"""


def pictures(folder: Path, clothed: bool) -> None:
    """Sixteen women; unclothed they are shop-window mannequins."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(16):
        figure = common_figure(rng, sex="female", clothed=clothed)
        Image.fromarray(draw(figure, 64)).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text("1girl, solo")


def test_a_trial_that_undresses_stops_at_the_low_rung(tmp_path: Path) -> None:
    pictures(tmp_path / "undressed", clothed=False)
    pictures(tmp_path / "dressed", clothed=True)
    (tmp_path / "rungs.yaml").write_text(SPACE)
    config = load_study(tmp_path / "rungs.yaml")
    folder = StudyFolder(tmp_path / "studies" / "rungs")
    events = list(run_study(config, folder))
    bad, good = (one for one in events if isinstance(one, TrialEnded))
    assert bad.state == "stopped"
    assert str(bad.reason).startswith("over a limit at step 30: undressed_rate is at least")
    assert good.state != "stopped"
    with Store(folder.results_db) as store:
        stopped, whole = store.rungs(0), store.rungs(1)
        cells = [one.cell for one in store.samples(0, 30)]
        base = [(one.prompt, one.seed) for one in store.samples(None, 0)]
        drawn = [(one.prompt, one.seed) for one in store.samples(0, 30)]
    assert [(one.step, one.seeds) for one in stopped] == [(30, 6)]
    assert [(one.step, one.seeds) for one in whole] == [(30, 6), (40, None)]
    assert cells == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]
    assert drawn == [base[cell] for cell in cells]
    assert stopped[0].objectives["pose"].total == 12
    assert whole[1].objectives["pose"].total == 16
    assert set(stored_cells(folder, stopped[0], config.base)) <= set(cells)
    assert 0 not in [one.trial.number for one in front(read_results(folder))]
    assert "stopped at a rung" in write_report(folder).read_text(encoding="utf-8")
    assert list(run_study(config, folder)) == []
