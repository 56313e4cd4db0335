from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Score
from metrics.judges import gender
from metrics.logistic import from_coefficients
from tuner.judging.fitting import faces as fit_faces
from tuner.judging.fitting.faces import Row


def rows(shift: float = 4.0) -> list[Row]:
    """Forty faces of four sources; women's log odds are higher, and both are shifted."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(40):
        sex = ("female", "male")[index % 2]
        odds = shift + (6.0 if sex == "female" else -6.0) + float(rng.normal(0, 2))
        labels = {"file": f"{index}.png", "kind": "photo", "sex": sex, "repo": f"r{index // 10}"}
        years = Score("adult", 0.2 if index == 0 else 0.9, None, {"years": 20.0 + index})
        made.append(Row(labels, None if index == 39 else odds, years))
    return made


def test_the_shift_of_the_network_is_taken_out(tmp_path: Path) -> None:
    whole = fit_faces.write(rows(), tmp_path / "gender.json")
    assert json.loads((tmp_path / "gender.json").read_text()) == whole
    assert (whole["pictures"], whole["sources"]) == (39, 4)
    model = from_coefficients(whole["coefficients"])
    assert model({gender.FACE: 4.0})["female"] == pytest.approx(0.5, abs=0.1)
    assert model({gender.FACE: 10.0})["female"] > 0.9
    assert whole["sex_held_out"]["photo"].startswith("judged 39 of 40")
    assert whole["sex_held_out"]["generated"] == "judged none; right none"
    assert whole["under_age_false_alarms"]["both"].startswith("1 of 40, 2.5 %")


def test_a_source_is_judged_by_the_others() -> None:
    """Where one source's labels are swapped, its own fit does not help it."""
    other = {"female": "male", "male": "female"}
    swapped = [
        replace(row, labels={**row.labels, "sex": other[row.labels["sex"]]})
        if row.labels["repo"] == "r0"
        else row
        for row in rows()
        if row.face is not None
    ]
    found = fit_faces.held_out(swapped)
    right = [
        (female > 0.5) == (row.labels["sex"] == "female")
        for row, female in zip(swapped, found, strict=True)
    ]
    own = [fine for fine, row in zip(right, swapped, strict=True) if row.labels["repo"] == "r0"]
    assert sum(own) <= 1


def test_a_folder_without_labels_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has no labels\.csv"):
        fit_faces.read_labels(tmp_path)
    (tmp_path / "labels.csv").write_text("file,sex\n")
    with pytest.raises(SystemExit, match="no column kind, repo"):
        fit_faces.read_labels(tmp_path)
