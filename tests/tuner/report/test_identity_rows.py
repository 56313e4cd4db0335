"""Whose faces the samples show, in the numbers of a trial on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from metrics.contract import Measure
from tests.tuner.report.test_write import Page
from tests.tuner.report_studies import new_study, put_samples, put_trial
from tuner.storage import Store

MEASURES = {
    "identity": Measure("identity", 0.5, 0.25, 0.75, 6, 8),
    "one_face": Measure("one_face", None, None, None, 0, 8, "drawn faces carry no identity"),
    "effect": Measure("effect", 0.01, 0.0, 0.015, 8, 8, "does nothing"),
}


def test_a_trials_numbers_have_its_identity_or_why_there_is_none(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.6)
    put_trial(folder, 0)
    with Store(folder.results_db) as store:
        for trial, step in ((None, 0), (0, 20)):
            row = store.rungs(trial)[-1]
            samples = [sample.scored() for sample in store.samples(trial, step)]
            store.put_rung(replace(row, measures=MEASURES), samples)
    facts = Page(folder).facts["trials"]
    for who in ("0", "base"):
        assert facts[who]["numbers"][-2:] == [
            ["identity", "0.50 [0.25, 0.75]", "6 of 8"],
            ["one_face", "-", "drawn faces carry no identity"],
        ]
