from __future__ import annotations

import csv
from pathlib import Path

import pytest
import real_pictures
from PIL import Image
from real_pictures import COLUMNS
from real_tables import SOUND_LABELS, Judged, Row, is_sound, limbs_area, share

from tuner.mannequin import draw
from tuner.mannequin.figure import Figure

SOUND = {"kind": "photo", "framing": "full", "sex": "female"} | SOUND_LABELS


def judged(value: float | None, **labels: str) -> Judged:
    return Judged(SOUND | labels, {"limbs": value}, "full")


def test_alarms_and_abstentions_are_counted_apart() -> None:
    pictures = [judged(0.2), judged(0.9), judged(0.8), judged(None), judged(0.1, limbs="extra")]
    alarms = Row("", is_sound, lambda p: p.alarms("limbs"))
    assert share(pictures, alarms) == "1 of 4, 25 % [5, 70]"
    silent = Row("", is_sound, lambda p: p.abstains("limbs"))
    assert share(pictures, silent) == "1 of 4, 25 % [5, 70]"
    assert share(pictures[4:], silent) == "none"


def test_the_area_says_on_how_many_faults_it_was_not_judged() -> None:
    pictures = [judged(0.9), judged(0.2), judged(0.5, limbs="missing"), judged(None, limbs="extra")]
    assert limbs_area(pictures) == "0.50, 1 of 2 faults not judged"
    assert limbs_area(pictures[:2]) == "none"


def test_without_a_folder_the_reason_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("TUNER_REAL_PICTURES", raising=False)
    real_pictures.main(["--result", str(tmp_path / "x.md")])
    assert "TUNER_REAL_PICTURES not set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,kind\n")
    with pytest.raises(SystemExit, match="no column framing, limbs"):
        real_pictures.read_labels(tmp_path)


@pytest.mark.slow
def test_pictures_are_judged_once_and_told_by_kind(tmp_path: Path) -> None:
    rows = []
    for number, kind in enumerate(("photo", "generated", "generated")):
        figure = Figure("female", clothed=number != 2, jitter=number)
        Image.fromarray(draw(figure, 256)).save(tmp_path / f"{number}.png")
        labels = SOUND | {"file": f"{number}.png", "kind": kind}
        rows.append(labels | ({"clothed": "bare"} if number == 2 else {}))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    result = tmp_path / "result" / "real.md"
    arguments = [str(tmp_path), "--painted", "--result", str(result)]
    real_pictures.main(arguments)
    text = result.read_text()
    assert "| sound: `cloth_share` alarms | 0 of 1, 0 % [0, 79] | 0 of 1, 0 % [0, 79] |" in text
    assert "| bare torsos found by `cloth_share` or `no_explicit_parts` | none | 1 of 1" in text
    assert "| framing as labelled | 1 of 1" in text
    lines = result.with_suffix(".jsonl").read_text()
    assert lines.count("\n") == 3 + 2  # the two sound ones are painted too
    assert "| painted: all wrong limbs, `limbs` | " in text
    real_pictures.main(arguments)
    assert (result.read_text(), result.with_suffix(".jsonl").read_text()) == (text, lines)
