from __future__ import annotations

import csv
import errno
from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Prompt, Sample, Score, ScoredSample
from tuner.errors import ConfigError
from tuner.judging import Trust
from tuner.judging.score_folder import FoundPictures
from tuner.judging.score_report import print_scores, write_rows
from tuner.storage import files

ROOT = Path("pictures")
SOUND = {
    "pose_readable": 1.0,
    "limbs": 0.9,
    "one_person": None,
    "gender": 0.8,
    "cloth_share": 1.0,
    "no_explicit_parts": 1.0,
    "sharp": 0.9,
    "clean": 1.0,
}


def scored(name: str, **values: float | None) -> ScoredSample:
    sample = Sample(Prompt("1girl", "female"), 0, np.zeros((0, 1, 3), np.uint8), ROOT / name)
    scores = {
        judge: Score(judge, value, "unset" if value is None else None)
        for judge, value in (SOUND | values).items()
    }
    return ScoredSample(sample, scores)


def of(*samples: ScoredSample) -> FoundPictures:
    prompted = tuple((s.sample.path, s.sample.prompt) for s in samples if s.sample.path)
    return FoundPictures(ROOT, prompted, (), 0)


def test_the_worst_come_first_and_sound_ones_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    bad = [scored(f"{n}.png", limbs=n / 10, gender=None) for n in range(8)]
    pictures = [scored("good.png"), *reversed(bad)]
    print_scores(of(*pictures), pictures, Trust())
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("worst of the 5 in which a judge finds a fault:")
    assert lines[start + 1 :] == [f"  {n}.png: limbs 0.{n}0" for n in range(5)]


def test_the_most_frequent_reason_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [scored("a.png", gender=None), scored("b.png")]
    print_scores(of(*pictures), pictures, Trust())
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["gender", "*", "0.80", "1", "1", "unset"] in rows
    assert ["one_person", "-", "0", "2", "unset"] in rows
    assert "no judge finds a fault in any picture" in out


def test_an_objective_without_values_has_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [scored("a.png", gender=None)]
    print_scores(of(*pictures), pictures, Trust())
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["gender", "-", "0", "of", "1"] in rows


def test_pictures_that_have_all_gone_are_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot be read any more"):
        print_scores(of(scored("a.png")), [], Trust())


def test_a_prompt_of_several_lines_is_one_row(tmp_path: Path) -> None:
    plain = scored("a.png")
    prompt = Prompt('1girl,\n"red", dress')
    picture = ScoredSample(Sample(prompt, 0, plain.sample.image, ROOT / "a.png"), plain.scores)
    write_rows(of(picture), [picture], (tmp_path / "s.csv", None), Trust())
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["prompt"] == '1girl,\n"red", dress'
    assert (row["limbs"], row["one_person"], row["one_person_reason"]) == ("0.9", "", "unset")


@pytest.mark.parametrize(("number", "kind"), [(errno.EACCES, ConfigError), (errno.ENOSPC, OSError)])
def test_a_table_that_cannot_be_written_is_an_error(
    number: int, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError(number, "refused", str(path))

    monkeypatch.setattr(files, "write_text", refuse)
    with pytest.raises(kind, match="refused"):
        write_rows(of(scored("a.png")), [scored("a.png")], (None, tmp_path / "s.json"), Trust())
