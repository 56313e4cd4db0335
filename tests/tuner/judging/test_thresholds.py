from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.contract import JudgeSettings, Prompt, Sample, Score
from metrics.detectors import Detectors
from metrics.evidence import Evidence, Judge
from metrics.judges import artefacts
from tuner.errors import ConfigError
from tuner.judging.thresholds import (
    FEWEST,
    SCALED,
    Values,
    conformal_threshold,
    read_thresholds,
    set_thresholds,
    views,
    write_thresholds,
)


def pictures(values: list[float], judge: str = "limbs") -> list[Values]:
    return [{judge: [value]} for value in values]


@pytest.mark.parametrize("count", [20, 39, 100, 200])
def test_a_further_sound_picture_raises_an_alarm_in_at_most_one_of_twenty(count: int) -> None:
    rng = np.random.default_rng(count)
    alarms = []
    for _ in range(400):
        cut = conformal_threshold(rng.random(count).tolist())
        assert cut is not None
        alarms.append(cut)  # of further uniform values, this share lies below
    assert np.mean(alarms) <= 0.05 + 0.005


def test_too_few_pictures_set_no_threshold() -> None:
    assert conformal_threshold([0.1] * (FEWEST - 2)) is None
    few = set_thresholds(pictures([0.1] * (FEWEST - 1)), "here")
    assert not few.values()
    assert f"{FEWEST} are needed" in few.line


def test_thresholds_are_lowered_and_never_raised() -> None:
    values = [0.2] * 5 + [0.9] * 35
    assert set_thresholds(pictures(values), "here").values() == {"limbs": pytest.approx(0.2)}
    assert not set_thresholds(pictures([0.9] * 40), "here").values()


def test_alarms_are_counted_on_the_pictures_themselves() -> None:
    sound = [{"limbs": [0.9, 0.1, 0.1]} for _ in range(30)]
    (limbs,) = (each for each in set_thresholds(sound, "here").judges if each.judge == "limbs")
    assert (limbs.alarms.value, limbs.alarms.n) == (0.0, 30)
    assert limbs.threshold == pytest.approx(0.1)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    assert read_thresholds(file) is None
    written = set_thresholds(pictures([0.2] * 40), "my photographs")
    write_thresholds(written, file)
    assert read_thresholds(file) == written
    assert {each.judge for each in written.judges} == set(SCALED)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 2}', '{"format": 1, "judges": 3}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"thresholds\.json holds no thresholds"):
        read_thresholds(file)


def test_thresholds_of_another_version_do_not_count() -> None:
    own = set_thresholds(pictures([0.2] * 40), "here")
    other = [vars(each) | {"version": "another"} for each in own.judges]
    assert not type(own)(
        40, "here", "", tuple(type(own.judges[0])(**row) for row in other)
    ).values()


def test_few_pictures_are_looked_at_from_three_sides() -> None:
    image = np.arange(20 * 10 * 3, dtype=np.uint8).reshape(20, 10, 3)
    whole, mirrored, middle = views(image, 20)
    assert (mirrored == image[:, ::-1]).all()
    assert middle.shape == (18, 10, 3) or middle.shape == (18, 8, 3)
    assert whole is image
    assert len(list(views(image, 200))) == 1


def test_a_judge_moves_its_values_by_its_threshold() -> None:
    def score(sample: Sample, evidence: Evidence) -> Score:
        return Score("own", 0.2)

    judge = Judge("own", score)
    sample = Sample(Prompt("a person"), 0, np.zeros((8, 8, 3), np.uint8))
    settings = JudgeSettings(thresholds={"own": 0.2, artefacts.NAME: 0.1})
    moved = judge.score(sample, Evidence(sample, Detectors(settings)))
    assert moved.value == pytest.approx(0.5)
    assert moved.evidence["unmoved"] == 0.2
    plain = judge.score(sample, Evidence(sample, Detectors(JudgeSettings())))
    assert (plain.value, dict(plain.evidence)) == (0.2, {})
