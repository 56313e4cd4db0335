from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from metrics.contract import Measure, Objective
from tuner.errors import ConfigError
from tuner.report.tables import (
    front_table,
    measure_notes,
    measures_tables,
    parameter_lines,
    trials_table,
)
from tuner.results import read_results
from tuner.results.results import Result, Results, front, recommended
from tuner.storage import StudyFolder
from tuner.storage.folder import study_name
from tuner.storage.rows import RungRow, StudyRow, TrialRow

STUDY = StudyRow(
    "pose", "mannequin", "ab", 12, ("pose", "gender"), {"undressed_rate": 0.15}, {}, ""
)


def numbers(pose: tuple[float, float], gender: tuple[float, float]) -> dict[str, Objective]:
    """Each as (value, lower bound)."""
    return {
        name: Objective(name, value, low, 1.0, 10, 10)
        for name, (value, low) in {"pose": pose, "gender": gender}.items()
    }


def rung(trial: int | None, objectives: dict[str, Objective]) -> RungRow:
    rates = {"undressed_rate": Objective("undressed_rate", 0.1, 0.05, 0.2, 10, 10)}
    return RungRow(trial, 20, objectives, rates, None, Path("grid.png"))


def results(*states: str) -> Results:
    found = [
        numbers((0.9, 0.2), (0.5, 0.4)),
        numbers((0.8, 0.7), (0.6, 0.5)),
        numbers((0.7, 0.6), (0.5, 0.4)),
    ]
    trials = tuple(
        TrialRow(i, state, None if state == "complete" else "why", {"rank": 8}, None, "", 1.0)
        for i, state in enumerate(states)
    )
    scored = tuple(Result(one, rung(one.number, found[one.number])) for one in trials)
    return Results(STUDY, trials, scored, rung(None, numbers((0.3, 0.2), (0.9, 0.8))))


def text(table: object) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_front_has_what_none_beats_the_strongest_first() -> None:
    assert [one.trial.number for one in front(results(*["complete"] * 3))] == [1, 0]


def test_only_complete_trials_are_on_the_front() -> None:
    assert [one.trial.number for one in front(results("complete", "infeasible", "pruned"))] == [0]


def test_the_recommendation_says_why() -> None:
    choice = recommended(results(*["complete"] * 3))
    assert choice.result.trial.number == 1
    assert "lower bounds, 0.59, of the 2 on the front" in choice.why


def test_no_feasible_trial_is_no_recommendation() -> None:
    found = results("infeasible", "infeasible", "pruned")
    with pytest.raises(ConfigError, match=r"undressed_rate <= 0\.15"):
        recommended(found)
    shown = text(front_table(found))
    assert "no trial keeps the constraints" in shown
    assert "0.90 [0.20, 1.00]" in shown
    assert "0.70 [0.60" not in shown


def test_the_table_has_intervals_and_the_bases_row() -> None:
    shown = text(front_table(results(*["complete"] * 3)))
    assert "Pareto front" in shown
    assert "0.80 [0.70, 1.00]" in shown
    assert "undressed_rate" in shown
    assert shown.index("base") > shown.index("0.80 [0.70, 1.00]")
    assert "0.30 [0.20, 1.00]" in shown
    assert parameter_lines(results(*["complete"] * 3))[0] == "trial 1: rank 8"


def test_every_trial_is_listed_with_its_reason() -> None:
    shown = text(trials_table(results("complete", "infeasible", "pruned"), plain=True))
    assert shown.count("why") == 2
    assert "device" not in shown


def test_devices_are_listed_where_they_differ() -> None:
    known = results("complete", "complete", "pruned")
    names = ("NVIDIA L4", "cpu", None)
    trials = [replace(each, device=of) for each, of in zip(known.trials, names, strict=True)]
    shown = text(trials_table(replace(known, trials=tuple(trials)), plain=True))
    assert "NVIDIA L4" in shown
    assert "cpu" in shown


def test_a_folder_without_a_study_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no study in"):
        read_results(StudyFolder(tmp_path))


def test_the_next_commands_name_a_study_that_they_will_find(tmp_path: Path) -> None:
    assert study_name(StudyFolder(Path("studies/pose")), Path("studies")) == "pose"
    assert study_name(StudyFolder(tmp_path / "pose"), Path("studies")) == str(tmp_path / "pose")


def test_the_fronts_measures_are_shown_with_the_bases_and_why_some_are_missing() -> None:
    found = results("complete", "infeasible")
    assert measures_tables(found) == []
    measures = {
        "effect": Measure("effect", 0.01, 0.0, 0.015, 8, 8, "does nothing"),
        "layout": Measure("layout", None, None, None, 0, 8, "no reference"),
        "loss_gap": Measure("loss_gap", 0.2, 0.1, 0.3, 8, 8),
    }
    assert found.base is not None
    scored = tuple(replace(one, rung=replace(one.rung, measures=measures)) for one in found.scored)
    found = replace(found, scored=scored, base=replace(found.base, measures=measures))
    table, over_fitting = measures_tables(found, plain=True)
    assert "loss_gap" in text(over_fitting)
    head, *rows = [line.split() for line in text(table).splitlines()][1:]
    assert head == ["trial", "effect"]
    assert [row for row in rows if row] == [
        ["0", "0.01", "[0.00,", "0.01]", "does", "nothing"],
        ["base", "0.01", "[0.00,", "0.01]"],
    ]
    assert measure_notes(found) == ["layout is not measured: no reference"]
