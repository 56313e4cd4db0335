"""What a published study of recipes says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from publish import END, START, _slim, fill

from metrics.contract import Features, Prompt, Sample, ScoredSample
from tuner.storage import Store, StudyFolder
from tuner.storage.extra_rows import Extra, ExtraRow
from tuner.storage.fresh_rows import FreshRow
from tuner.storage.rows import NO_PIXELS, RungRow

ROOT = Path(__file__).resolve().parents[2]


def test_no_vector_of_a_face_is_published(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    face = np.linspace(-0.5, 0.5, 128).astype(np.float16)
    features = Features("half", np.zeros((8, 8, 3), np.float16), faces=1, face=face)
    sample = Sample(Prompt("1girl", "female"), 0, NO_PIXELS, tmp_path / "0.png")
    scored = [ScoredSample(sample, {}, features)]
    rung = RungRow(0, 80, {}, {}, None, tmp_path / "grid.png")
    with Store(folder.results_db) as store:
        store.put_rung(rung, scored)
        store.put_fresh(FreshRow(rung, 0, None, 1), scored)
        store.put_extra(ExtraRow(Extra("other", "64"), rung), scored)
    assert folder.results_db.read_bytes().count(face.tobytes()) == 3
    _slim(folder.results_db, without_evidence=False)
    assert face.tobytes() not in folder.results_db.read_bytes()
    with Store(folder.results_db, read_only=True) as store:
        assert store.samples(0, 80)[0].features is None


def test_the_verdicts_come_between_the_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = (ROOT / "studies" / "hand_run" / "README.md").read_text(encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(page, encoding="utf-8")
    verdicts = "# Verdicts\n\n| 1 | a | **supported** |\n\nThe rule.\n\n## Means\n\n| base | 1 |\n"
    for _ in range(2):  # once more changes nothing
        fill(readme, verdicts)
        filled = readme.read_text(encoding="utf-8")
        section = filled.split(START)[1].split(END)[0]
        assert section == "| 1 | a | **supported** |\n\nThe rule.\n"
        assert filled.split(START)[0] == page.split(START)[0]
        assert filled.split(END)[1] == page.split(END)[1]
