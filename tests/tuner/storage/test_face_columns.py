"""The faces of samples in results.db, and studies of versions that kept none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from metrics.contract import Features, Prompt, Sample, ScoredSample
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import NO_PIXELS, RungRow

THUMBNAIL = np.zeros((8, 8, 3), np.float16)


def test_a_study_of_a_version_without_faces_is_read_and_completed(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    rung = RungRow(0, 80, {}, {}, None, tmp_path / "grid.png")
    sample = Sample(Prompt("1girl"), 0, NO_PIXELS, tmp_path / "0.png")
    face = np.arange(128).astype(np.float16)
    with Store(folder.results_db) as store:
        store.put_rung(rung, [ScoredSample(sample, {}, Features("none", THUMBNAIL))])
    database = sqlite3.connect(folder.results_db)
    for name in ("faces", "face"):
        database.execute(f"alter table features drop column {name}")
    database.commit()
    database.close()
    with Store(folder.results_db, read_only=True) as store:
        features = store.samples(0, 80)[0].features
    assert features is not None
    assert (features.faces, features.face) == (None, None)
    known = Features("none", THUMBNAIL, faces=3, face=face)
    with Store(folder.results_db) as store:
        store.put_rung(rung, [ScoredSample(sample, {}, known)])
        again = store.samples(0, 80)[0].features
    assert again is not None
    assert again.faces == 3
    assert again.face is not None
    assert np.array_equal(again.face, face)
