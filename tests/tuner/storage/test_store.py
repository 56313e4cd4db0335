from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Features, Measure, Objective, Prompt, Sample, Score, ScoredSample
from tuner.errors import DiskError, TunerError
from tuner.storage import Store, StudyFolder, store as store_module
from tuner.storage.rows import RungRow, StudyRow
from tuner.storage.sqlite import database_error

PIXELS = np.zeros((4, 4, 3), np.uint8)
POSE = Objective("pose", 0.75, 0.6, 0.9, 15, 16)
UNDRESSED = Objective("undressed_rate", 0.1, 0.0, 0.2, 16, 16)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "pose")
    folder.create()
    return folder


def rung(folder: StudyFolder, trial: int | None = 0, step: int = 80) -> RungRow:
    files = folder.trial(trial or 0).rung(step)
    return RungRow(
        trial, step, {"pose": POSE}, {"undressed_rate": UNDRESSED}, files.lora, files.grid
    )


def scored(folder: StudyFolder, count: int = 2, value: float | None = 0.5) -> list[ScoredSample]:
    files = folder.trial(0).rung(80)
    score = Score("limbs", value, None if value else "no person", {"arms": np.int64(2)})  # type: ignore[dict-item]
    prompt = Prompt("1girl, solo", "female", "full", names_clothes=True)
    return [
        ScoredSample(Sample(prompt, seed, PIXELS, files.sample(seed)), {"limbs": score})
        for seed in range(count)
    ]


def test_a_rung_comes_back_as_it_went_in(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder), scored(folder))
    with Store(folder.results_db) as store:
        (back,) = store.rungs(0)
        samples = store.samples(0, 80)
    assert back == rung(folder)
    assert [one.seed for one in samples] == [0, 1]
    assert samples[0].prompt == Prompt("1girl, solo", "female", "full", True)
    assert samples[1].path == folder.trial(0).rung(80).sample(1)
    assert samples[0].scores["limbs"] == Score("limbs", 0.5, None, {"arms": 2})


def test_the_rungs_of_a_step_come_by_trial_with_their_seeds_and_cells(folder: StudyFolder) -> None:
    few = replace(rung(folder, step=80), seeds=1)
    with Store(folder.results_db) as store:
        store.put_rung(replace(rung(folder, step=80), trial=2), scored(folder))
        store.put_rung(few, scored(folder), [3, 7])
        store.put_rung(rung(folder, step=160), scored(folder))
        store.put_rung(rung(folder, None, 80), scored(folder))
    with Store(folder.results_db) as store:
        found = store.rungs_at(80)
        assert store.rungs_at(80, {0}) == found[1:]
        cells = [one.cell for one in store.samples(0, 80)]
        with pytest.raises(ValueError, match="1 cells for 2 samples"):
            store.put_rung(few, scored(folder), [3])
    assert [(one.trial, one.seeds) for one in found] == [(0, 1), (2, None)]
    assert (found[0].objectives, found[0].rates) == (few.objectives, few.rates)
    assert cells == [3, 7]


def test_measures_and_features_come_back_as_they_went_in(folder: StudyFolder) -> None:
    rng = np.random.default_rng(0)
    measures = {
        "layout": Measure("layout", 0.5, 0.25, 0.75, 6, 8),
        "effect": Measure("effect", 0.01, 0.0, 0.015, 8, 8, "does nothing"),
        "likeness": Measure("likeness", None, None, None, 0, 8, "there is no reference"),
    }
    somebody = Features(
        "knee-up",
        rng.random((8, 8, 3)).astype(np.float16),
        rng.random(4).astype(np.float16),
        rng.normal(size=(13, 2)).astype(np.float16),
        rng.normal(size=64).astype(np.float16),
        2,
        rng.normal(size=128).astype(np.float16),
    )
    nobody = Features("none", somebody.thumbnail)
    samples = scored(folder, 3)
    samples[:2] = [
        replace(one, features=of) for one, of in zip(samples, (somebody, nobody), strict=False)
    ]
    with Store(folder.results_db) as store:
        store.put_rung(replace(rung(folder), measures=measures), samples)
        store.put_rung(replace(rung(folder), measures=measures), samples)  # again: replaced
        store.put_rung(rung(folder, step=160), samples[2:])
    with Store(folder.results_db) as store:
        first, later = store.rungs(0)
        back, empty, none = (row.features for row in store.samples(0, 80))
    assert dict(first.measures) == measures
    assert list(first.measures) == list(measures)
    assert later.measures == {}
    assert none is None
    assert back is not None
    assert empty is not None
    assert (back.framing, empty.framing) == ("knee-up", "none")
    assert (back.faces, empty.faces, empty.face) == (2, None, None)
    for name in ("thumbnail", "box", "joints", "embedding", "face"):
        assert np.array_equal(getattr(back, name), getattr(somebody, name)), name
        assert getattr(back, name).dtype == np.float16
    assert np.array_equal(empty.thumbnail, somebody.thumbnail)
    assert (empty.box, empty.joints, empty.embedding) == (None, None, None)


def test_a_study_of_a_version_without_measures_is_read(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder), scored(folder))
    database = sqlite3.connect(folder.results_db)
    database.executescript("drop table measures; drop table features")
    database.close()
    with Store(folder.results_db) as store:
        assert store.rungs(0)[0].measures == {}
        assert store.samples(0, 80)[0].features is None


def test_writing_a_rung_again_replaces_it(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder), scored(folder, 3))
        store.put_rung(rung(folder, step=160), scored(folder, 3))
        store.put_rung(rung(folder), scored(folder, 2, None))
        assert len(store.samples(0, 80)) == 2
        assert store.samples(0, 80)[0].scores["limbs"].reason == "no person"
        assert len(store.samples(0, 160)) == 3
        assert [one.step for one in store.rungs(0)] == [80, 160]


def test_the_base_is_no_trial(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder, None, 0), scored(folder))
        assert store.trials() == []
        assert store.rungs(None)[0].trial is None
        assert store.rungs(0) == []


def test_a_rung_is_written_whole_or_not_at_all(folder: StudyFolder) -> None:
    outside = ScoredSample(Sample(Prompt("x"), 0, PIXELS, Path("/etc/x")), {})
    with Store(folder.results_db) as store:
        with pytest.raises(ValueError, match="not in the subpath"):
            store.put_rung(rung(folder), [outside])
        with pytest.raises(ValueError, match="samples in 2 folders"):
            store.put_rung(rung(folder), [*scored(folder), outside])
        assert store.rungs(0) == []
        assert store.samples(0, 80) == []


def test_paths_in_the_database_are_relative(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder), scored(folder))
    assert str(folder.root.parent).encode() not in folder.results_db.read_bytes()


def test_a_moved_study_is_read_where_it_is(folder: StudyFolder, tmp_path: Path) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder), scored(folder))
    moved = StudyFolder(tmp_path / "elsewhere" / "pose")
    moved.root.parent.mkdir()
    folder.root.rename(moved.root)
    with Store(moved.results_db) as store:
        assert store.rungs(0)[0].grid == moved.trial(0).rung(80).grid


def test_trials_begin_and_end(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.begin_trial(0, {"alias": None, "rank": 8, "captions": "gender"})
        store.begin_trial(1, {"rank": 4}, retry_of=0)
        store.put_device(0, "NVIDIA H100")
        store.end_trial(0, "pruned", "collapsed", 12.5)
        store.end_trial(0, "pruned", "collapsed")
        store.add_phase(0, "train", "2026-01-01T00:00:00+00:00", 10.0)
        first, second = store.trials()
        assert store.phases(0) == [("train", 10.0)]
    assert first.parameters == {"alias": None, "rank": 8, "captions": "gender"}
    assert (first.state, first.reason, first.seconds) == ("pruned", "collapsed", 12.5)
    assert (second.state, second.retry_of) == ("running", 0)
    assert (first.device, second.device) == ("NVIDIA H100", None)


def test_the_study_keeps_the_time_of_its_beginning(folder: StudyFolder) -> None:
    row = StudyRow("pose", "mannequin", "ab", 12, ("pose",), {"undressed_rate": 0.1}, {}, "first")
    with Store(folder.results_db) as store:
        assert store.study() is None
        store.put_study(row)
        store.put_study(StudyRow(**{**row.__dict__, "budget": 20, "begun": "later"}))
        again = store.study()
    assert again == StudyRow(**{**row.__dict__, "budget": 20})


def test_evidence_that_is_not_finite_becomes_null(folder: StudyFolder) -> None:
    sample = scored(folder, 1)[0].sample
    score = Score("blur", 0.1, None, {"effect": float("nan"), "box": [0.5, float("inf")]})
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder), [ScoredSample(sample, {"blur": score})])
        evidence = store.samples(0, 80)[0].scores["blur"].evidence
    assert evidence == {"effect": None, "box": [0.5, None]}


def test_a_locked_database_is_reported_in_one_line(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.1)
    with Store(folder.results_db):
        pass
    other = sqlite3.connect(folder.results_db)
    other.execute("begin exclusive")
    try:
        with (
            pytest.raises(TunerError, match="was locked by another program"),
            Store(folder.results_db) as store,
        ):
            store.begin_trial(0, {})
    finally:
        other.close()


def test_a_reader_changes_nothing(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.put_rung(rung(folder), scored(folder))
    before = folder.results_db.read_bytes()
    with Store(folder.results_db, read_only=True) as store:
        assert len(store.samples(0, 80)) == 2
        with pytest.raises(TunerError, match="readonly"):
            store.begin_trial(1, {})
    assert folder.results_db.read_bytes() == before


def test_a_reader_waits_for_no_writer_that_has_not_yet_written(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.begin_trial(0, {"rank": 8})
    with sqlite3.connect(folder.results_db) as writer:
        writer.execute("begin immediate")
        writer.execute("update trials set state = 'pruned'")
        with Store(folder.results_db, read_only=True) as store:
            assert store.trials()[0].state == "running"


def test_a_reader_finds_no_rows_where_no_table_is_yet(folder: StudyFolder) -> None:
    folder.results_db.touch()
    with Store(folder.results_db, read_only=True) as store:
        assert (store.study(), store.trials(), store.rungs(None)) == (None, [], [])
    assert folder.results_db.read_bytes() == b""


def test_a_reader_after_a_kill_in_the_middle_of_a_write(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store.begin_trial(0, {"rank": 8})
    killed = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
        "db.execute('pragma cache_size = 1'); db.execute('begin immediate'); "
        'db.execute("update trials set reason = hex(zeroblob(200000))"); '
        "db.execute('create table more as select * from trials'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(folder.results_db)], check=False)
    assert folder.results_db.with_name("results.db-journal").stat().st_size > 0
    with Store(folder.results_db, read_only=True) as store:
        assert store.trials()[0].reason is None


def test_a_file_that_is_no_database_is_reported(folder: StudyFolder) -> None:
    folder.results_db.write_text("hello, I am no database, and I am long enough to say so")
    with pytest.raises(TunerError, match="not a database"), Store(folder.results_db):
        pass


def test_a_full_disk_has_its_exit_code(folder: StudyFolder) -> None:
    # A database that may not grow is how SQLite says that a disk is full.
    with Store(folder.results_db) as store:
        store._db.execute("pragma max_page_count = 20")
        with pytest.raises(DiskError, match="no space left to write") as caught:
            store.begin_trial(0, {"text": "x" * 200_000})
        assert store.trials() == []
    assert caught.value.exit_code == 74


def test_another_error_keeps_its_words(folder: StudyFolder) -> None:
    error = database_error(sqlite3.OperationalError("no such column"), folder.results_db)
    assert str(error).endswith("results.db cannot be used: no such column")
