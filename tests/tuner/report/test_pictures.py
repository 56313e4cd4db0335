from __future__ import annotations

from pathlib import Path

import pytest

from metrics.contract import Prompt, Score
from tests.tuner.report_studies import new_study, put_samples, put_trial
from tuner.report.findings import drawing, findings
from tuner.report.pictures import Shown, extremes, pictures, spread
from tuner.report.thumbnails import Thumbnail
from tuner.results import read_study_data
from tuner.storage.rows import SampleRow


def row(cell: int, value: float | None, prompt: str = "1girl") -> SampleRow:
    score = Score("sharp", value, None if value is not None else "why")
    return SampleRow(cell, Prompt(prompt), cell, Path(f"{cell}.png"), {"sharp": score})


def test_each_prompt_comes_once_before_any_comes_again() -> None:
    rows = [row(cell, 1.0, f"prompt {cell // 4}") for cell in range(12)]
    assert [row.cell for row in spread(rows, 3)] == [0, 4, 8]
    assert [row.cell for row in spread(rows, 5)] == [0, 1, 4, 5, 8]
    assert spread(rows, 99) == rows


def test_the_worst_come_from_many_trials() -> None:
    samples = {
        None: [row(0, 0.9), row(1, 0.8)],
        **{n: [row(0, 0.5 + n / 100), row(1, None), row(2, 0.4 + n / 100)] for n in range(6)},
        6: [row(cell, 0.0) for cell in range(9)],
    }
    best, worst = extremes(samples, "sharp")
    assert [who for who, _ in worst] == [6, 0, 1, 2, 3]
    assert [(who, row.cell) for who, row in best[:2]] == [(None, 0), (5, 0)]
    assert len(best) == 5


def test_of_one_trial_all_ends_are_taken_and_none_twice() -> None:
    best, worst = extremes({0: [row(cell, cell / 10) for cell in range(8)]}, "sharp")
    assert [row.cell for _, row in best] == [7, 6, 5, 4, 3]
    assert [row.cell for _, row in worst] == [0, 1, 2]
    assert extremes({0: [row(0, None)]}, "sharp") == ([], [])


def test_the_wall_has_the_base_and_the_front_and_the_rest_share_the_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.5)
    for number in range(5):
        put_trial(folder, number, good=0.3 + 0.1 * number)
    put_trial(folder, 5, "pruned", good=0.1, reason="collapsed")
    data = read_study_data(folder)
    monkeypatch.setattr("tuner.report.pictures.MOST_ROWS", 2)
    monkeypatch.setattr("tuner.report.pictures.MOST_PICTURES", 26)
    shown = pictures(data, data.front[0])
    assert list(shown.wall) == [None, *data.front[:2]]
    assert all(len(of) == 6 for of in shown.wall.values())
    assert set(shown.others) == set(range(6)) - set(shown.wall)
    assert {len(of) for of in shown.others.values()} == {(26 - 18) // len(shown.others)}
    assert all(sample.picture for of in shown.wall.values() for sample in of)
    # Another rule may name a trial that is not the front's first.
    assert list(pictures(data, data.front[-1]).wall)[1] == data.front[-1]


def test_what_is_drawn_follows_the_picture_s_shape() -> None:
    limbs = Score("limbs", 0.1, None, {"worst": "extra limb", "part": [0.0, 0.5, 1.0, 0.75]})
    scores = {"limbs": limbs}
    sample = SampleRow(0, Prompt("1girl"), 0, Path("0.png"), scores)
    wide = Thumbnail("data:", 128, 64)
    shown = Shown("0", sample, wide, findings(scores), drawing(scores))
    assert shown.view == "0 0 128 64"
    assert shown.boxes == "M0.0 32.0H128.0V48.0H0.0Z"
    assert shown.of("clean").boxes == ""
    assert shown.of("limbs").words == shown.words == "extra limb"
