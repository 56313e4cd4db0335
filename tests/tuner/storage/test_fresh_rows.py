from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Features, Measure, Objective, Prompt, Sample, Score, ScoredSample
from tuner.space import SuiteConfig
from tuner.storage import Store, StudyFolder
from tuner.storage.fresh_rows import FreshRow, FreshSample, PlanRow
from tuner.storage.rows import RungRow

PLAN = [PlanRow(7, 150, 2, 8, "2026-01-01T00:00:00+00:00"), PlanRow(3, 300, 2, 8, "x")]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "pose")
    folder.create()
    return folder


def row(folder: StudyFolder, repeat: int, trial: int | None = 7) -> FreshRow:
    files = folder.repeat(trial or 0, 150, repeat).rung(150)
    pose = {"pose": Objective("pose", 0.7 + 0.01 * repeat, 0.6, 0.9, 100, 104)}
    measures = {"effect": Measure("effect", 0.4, 0.3, 0.5, 104, 104)}
    lora = None if trial is None else files.lora
    rung = RungRow(trial, 0 if trial is None else 150, pose, {}, lora, files.grid, measures)
    return FreshRow(rung, repeat, None if trial is None else 7000 + repeat, 8)


def scored(folder: StudyFolder, repeat: int, count: int = 2) -> list[ScoredSample]:
    files = folder.repeat(7, 150, repeat).rung(150)
    features = Features("full", np.full((8, 8, 3), 0.5, np.float16))
    return [
        ScoredSample(
            Sample(Prompt("1girl"), 4 + at, np.zeros((1, 1, 3), np.uint8), files.sample(at)),
            {"limbs": Score("limbs", 0.1 * (repeat + 1))},
            features,
        )
        for at in range(count)
    ]


def test_what_was_confirmed_comes_back_as_it_went_in(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.put_plan(PLAN)
        for repeat in (1, 0):
            store.put_fresh(row(folder, repeat), scored(folder, repeat))
        store.put_fresh(row(folder, 0, None), [])
    with Store(folder.results_db, read_only=True) as store:
        assert store.plan() == PLAN
        assert store.fresh() == [row(folder, 0, None), row(folder, 0), row(folder, 1)]
        samples = store.fresh_samples(FreshSample(7, 150, 1))
        assert [one.seed for one in samples] == [4, 5]
        assert samples[0].scores["limbs"].value == pytest.approx(0.2)
        assert samples[0].features is not None
        assert samples[1].path == folder.repeat(7, 150, 1).rung(150).sample(1)
        assert store.rungs(7) == []
        assert store.samples(7, 150) == []


def test_written_again_it_replaces_only_itself(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        for repeat in (0, 1):
            store.put_fresh(row(folder, repeat), scored(folder, repeat, 3))
        store.put_rung(row(folder, 0).rung, scored(folder, 0))
        failed = replace(row(folder, 1), reason="diverged: the loss is nan")
        store.put_fresh(failed, [])
        assert store.fresh() == [row(folder, 0), failed]
        assert len(store.fresh_samples(FreshSample(7, 150, 0))) == 3
        assert store.fresh_samples(FreshSample(7, 150, 1)) == []
        assert len(store.samples(7, 150)) == 2
        store.put_plan(PLAN[1:])
        assert store.plan() == PLAN[1:]


def test_a_study_of_a_version_without_confirmation_is_read_and_completed(
    folder: StudyFolder,
) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(row(folder, 0).rung, scored(folder, 0))
    names = ("rungs", "measures", "samples", "features", "scores")
    old = sqlite3.connect(folder.results_db)
    old.executescript("".join(f"drop table fresh_{one};" for one in names))
    old.execute("drop table confirmations")
    old.close()
    with Store(folder.results_db, read_only=True) as store:
        assert store.plan() == store.fresh() == store.fresh_samples(FreshSample(7, 150, 0)) == []
        assert len(store.samples(7, 150)) == 2
    with Store(folder.results_db) as store:
        store.put_fresh(row(folder, 0), scored(folder, 0))
        assert store.fresh() == [row(folder, 0)]


def test_fresh_seeds_are_none_of_the_suites() -> None:
    suite = SuiteConfig(seeds=4)
    assert suite.seeds_for(104) == 8
    assert suite.seeds_for(105) == 9
    fresh = suite.fresh(8)
    assert {seed for _, seed in fresh.cells()} == set(range(4, 12))
    assert len(fresh.cells()) == 104
    assert fresh.prompts == suite.prompts
    assert (fresh.steps, fresh.size, fresh.negative) == (suite.steps, suite.size, suite.negative)
    assert not set(suite.cells()) & set(fresh.cells())
