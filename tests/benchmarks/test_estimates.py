from __future__ import annotations

import json
from pathlib import Path

import estimates
import pytest
from estimates import STUDIES, Measured

from tuner.space import load_study


@pytest.mark.parametrize("name", STUDIES)
def test_each_study_is_a_valid_space(name: str) -> None:
    space, *options = STUDIES[name]
    assert load_study(Path(space)).study == name
    assert options[::2] in ([], ["--trials"])


def test_the_table_has_a_row_for_each_study_and_how_to_get_it_again() -> None:
    text = estimates.page({"look": Measured(2, 90.0, 120.0)})
    assert "| `search_spaces/look.yaml --trials 4` | 2 | 1.5 | 2.0 | 0.75 |" in text


def test_other_rows_stay_when_one_study_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "RESULTS", tmp_path)
    monkeypatch.setattr("machine.RESULTS", tmp_path)
    monkeypatch.setattr(estimates, "measured", lambda space, studies: Measured(2, 100.0, 80.0))
    estimates.main(["look"])
    estimates.main(["pose"])
    rows = json.loads((tmp_path / "estimates.json").read_text(encoding="utf-8"))["studies"]
    assert list(rows) == ["look", "pose"]
    assert (tmp_path / "estimates.md").read_text(encoding="utf-8").count("| 1.25 |") == 2
    with pytest.raises(SystemExit):
        estimates.main(["nonsense"])
