"""Settings that are timed for an estimate: those that most trials of a space have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuner.space.test_recipes import read
from tuner.space import load_study
from tuner.space.templates import shipped_spaces
from tuner.study.cost import rough_units
from tuner.study.timed import _timed, busy_note, timed_units, usual_settings


def test_the_middle_of_a_search_is_timed() -> None:
    values = ["train.batch_size={choices: [32, 4, 16]}", "train.rank={low: 4, high: 64}"]
    settings = usual_settings(load_study(shipped_spaces()["pose"], set_values=values))
    assert (settings.resolution, settings.batch_size, settings.rank) == (64, 16, 34)
    assert settings.captions == "all"


def test_what_most_recipes_use_is_timed(tmp_path: Path) -> None:
    settings = usual_settings(read(tmp_path))
    assert (settings.rank, settings.alias) == (4, "mi_cv")


def test_a_base_that_is_not_here_is_not_timed() -> None:
    sizes = ["train.resolution=512", "suite.size=512"]
    config = load_study(shipped_spaces()["pose"], base="owner/no-such-name", set_values=sizes)
    timed = timed_units(config, 1)
    assert timed.units is None
    assert "not on this machine" in timed.note


@pytest.mark.slow
def test_loading_and_judging_are_timed_where_the_judges_are_here() -> None:
    config = load_study(shipped_spaces()["pose"])
    timed = timed_units(config, 2)
    assert timed.units is not None
    rough = rough_units(config)
    assert timed.units.load not in (0.0, rough.load)
    assert timed.units.score not in (0.0, rough.score)
    assert timed.note.partition(";")[0].endswith(" to judge")
    away = config.model_copy(
        update={"judges": config.judges.model_copy(update={"parser_model": "owner/none"})}
    )
    guessed = timed_units(away, 2)
    assert guessed.units is not None
    assert (guessed.units.load, guessed.units.score) == (rough.load, rough.score)
    assert "judging is a guess" in guessed.note


@pytest.mark.slow
def test_judge_processes_are_timed_with_a_thread_each() -> None:
    config = load_study(shipped_spaces()["pose"])
    took = _timed(config, usual_settings(config), workers=1, most=2)
    assert took.judges == 2
    assert took.score is not None
    assert took.score > 0
    assert _timed(config, usual_settings(config), workers=1, most=1).judges == 0


def test_a_busy_machine_is_noted() -> None:
    assert busy_note(0.4, 2) == ""
    assert "load 5.2 of 2" in busy_note(5.2, 2)
