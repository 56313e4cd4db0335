"""Trials that are plain generators of real events and rungs, and studies to run them in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from metrics.contract import Objective, Prompt, Sample, Score, ScoredSample
from tuner.events import Event, Phase, Progress, TrialEnded
from tuner.space import StudyConfig, TrainConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.study.optuna_db import opened
from tuner.study.record import record_study
from tuner.study.study import RunTrial, Session
from tuner.trial import Rung
from tuner.trial.collapse import hard_failure

SPACE = """
study: pose
base: mannequin
data: mannequin
budget: {trials: 3, rungs: [10, 20]}
objectives: [pose, gender]
constraints: {undressed_rate: 0.15}
train:
  rank: {choices: [4, 8, 16]}
  learning_rate: {low: 1e-4, high: 1e-2, log: true}
"""
DATA = {"data": "abc"}
NOISE = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
BLACK = np.zeros((8, 8, 3), np.uint8)


def study_config(folder: Path) -> StudyConfig:
    """The study of SPACE, read from a file in `folder`."""
    path = folder / "pose.yaml"
    path.write_text(SPACE)
    return load_study(path)


def new_folder(parent: Path) -> StudyFolder:
    folder = StudyFolder(parent / "pose")
    folder.create()
    return folder


@contextlib.contextmanager
def session(config: StudyConfig, folder: StudyFolder) -> Iterator[Session]:
    with opened(config, folder, DATA) as memory, Store(folder.results_db) as store:
        record_study(config, folder, store, DATA)
        yield Session(config, folder, memory, store)


def rung(
    folder: StudyFolder,
    number: int,
    step: int,
    pose: float = 0.5,
    undressed: float = 0.0,
    image: np.ndarray = NOISE,
) -> Rung:
    files = folder.trial(number).rung(step)
    files.root.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(image).save(files.grid)
    scored = [
        ScoredSample(
            Sample(Prompt("1girl", "female"), seed, image, files.sample(seed)),
            {"limbs": Score("limbs", pose)},
        )
        for seed in range(2)
    ]
    objectives = {
        "pose": Objective("pose", pose, pose - 0.1, pose + 0.1, 2, 2),
        "gender": Objective("gender", 1 - pose, 0.9 - pose, 1.0, 2, 2),
    }
    rates = {"undressed_rate": Objective("undressed_rate", undressed, undressed, 1.0, 2, 2)}
    return Rung(step, files.lora, scored, objectives, rates, failure=hard_failure(scored))


def good(folder: StudyFolder) -> RunTrial:
    """A trial of two rungs, which is better the higher its number."""

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        yield Phase("train", number)
        yield Progress(10, 20, 5.0, 0.1)
        yield rung(folder, number, 10, 0.1)
        yield Phase("sample", number)
        yield rung(folder, number, 20, 0.3 + 0.1 * number)

    return run


def raising(folder: StudyFolder, error: BaseException, at: int = 0) -> RunTrial:
    """`good`, but trial `at` raises after its first rung."""

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        for outcome in good(folder)(number, train):
            yield outcome
            if number == at and isinstance(outcome, Rung):
                raise error

    return run


def ends(events: list[Event]) -> list[tuple[int, str, str | None]]:
    return [(one.trial, one.state, one.reason) for one in events if isinstance(one, TrialEnded)]
