"""A small study that was really trained and sampled, for what comes after a study.

The judges' word is the picture's brightness, as they have tests of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metrics.contract import Objective, Prompt, Sample, Score, ScoredSample
from metrics.detectors import Detectors
from metrics.judges import JUDGES
from tuner.config import StudyConfig, SuiteConfig, TrainConfig
from tuner.outcomes import Rung
from tuner.rows import RungRow
from tuner.store import Store
from tuner.study_folder import RungFolder, StudyFolder
from tuner.study_record import record_study
from tuner.trial import Workbench, run_trial
from tuner.workbench import base_scored

SUITE = SuiteConfig(
    prompts=(Prompt("1girl", "female"), Prompt("1boy", "male")), seeds=2, size=64, steps=2
)


def by_brightness(samples: Sequence[Sample], detectors: Detectors) -> list[ScoredSample]:
    """Every judge's word is the picture's brightness: the judges have tests of their own."""
    return [
        ScoredSample(
            sample,
            {judge.name: Score(judge.name, float(sample.image.mean()) / 255) for judge in JUDGES},
        )
        for sample in samples
    ]


def train_study(config: StudyConfig, bench: Workbench, parent: Path) -> StudyFolder:
    """A study of two complete trials of two rungs in `parent`, really trained."""
    folder = StudyFolder(parent / "small")
    folder.create()
    with Store(folder.results_db) as store:
        record_study(config, folder, store, {"data": "abc"})
        for outcome in base_scored(bench, folder):
            if isinstance(outcome, Rung):
                store.put_rung(outcome.row(None, RungFolder(folder.base).grid), outcome.scored)
        for number in (0, 1):
            store.begin_trial(number, {"rank": 2})
            train = TrainConfig(
                rank=2, batch_size=2, resolution=32, learning_rate=3e-2, seed=1000 * number
            )
            for rung in run_trial(bench, number, train, (1, 2), folder.trial(number)):
                if isinstance(rung, Rung):
                    # The later rung and the later trial are the stronger ones.
                    low = 0.1 * (1 + number + rung.step)
                    store.put_rung(as_strong(folder, number, rung, low), rung.scored)
            store.end_trial(number, "complete")
    return folder


def as_strong(folder: StudyFolder, number: int, rung: Rung | RungRow, low: float) -> RungRow:
    """The rung's row, its objectives' lower bounds set."""
    told = {name: Objective(name, 0.9, low, 1.0, 4, 4) for name in rung.objectives}
    grid = folder.trial(number).rung(rung.step).grid
    return RungRow(number, rung.step, told, rung.rates, rung.lora, grid)
