"""What is printed of a study: how far it is, its front, its trials, and what to do next."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from tuner.calibration import ABOUT, study_marks
from tuner.config import MANNEQUIN
from tuner.confirmed import later, read_confirmation, sentences, unconfirmed
from tuner.course import agreements, rung_lines
from tuner.process import runner
from tuner.recipes import RECIPE
from tuner.results_table import (
    Results,
    front,
    front_table,
    measure_notes,
    measures_tables,
    parameter_lines,
    read_results,
    trials_table,
)
from tuner.study_folder import DEFAULT_STUDIES, StudyFolder, study_name

_WIDTH = 160
"""Columns where there is no terminal: rich would take 80 and fold the table's cells."""


def state_line(folder: StudyFolder) -> str:
    """One line: trials done, size of the front, whether it runs."""
    results = read_results(folder)
    done, budget = results.finished, results.study.budget
    owner = runner(folder.lock)
    state = "finished" if done >= budget else "not running"
    if owner:
        state = f"running (process {owner['pid']})"
    return f"{folder.name}: {done} of {budget} trials, {len(front(results))} on the front, {state}"


def print_front(folder: StudyFolder, plain: bool = False) -> None:
    """The Pareto front with intervals, the base's row, and each trial's parameters.

    What no selfcheck stands behind is marked.
    """
    results, marks = read_results(folder), study_marks(folder)
    console().print(front_table(results, plain, marks))
    if marks & {*results.study.objectives, *results.study.constraints}:
        name = folder.name if folder.root.parent == DEFAULT_STUDIES else str(folder.root)
        pictures = "" if results.study.base == MANNEQUIN else " --labels TABLE (or --data PHOTOS)"
        print(f"{ABOUT};\n  tuner selfcheck --study {name}{pictures} makes one\n")
    for line in parameter_lines(results):
        print(line)


def print_trials(folder: StudyFolder, plain: bool = False) -> None:
    """Every trial with its state and reason."""
    console().print(trials_table(read_results(folder), plain, study_marks(folder)))


def print_rungs(folder: StudyFolder) -> None:
    """How many trials each rung stopped, and how well it foretells the last one."""
    results = read_results(folder)
    found = agreements(results.trials, results.rungs, results.study.objectives)
    for line in rung_lines(found):
        print(line)


def print_measures(folder: StudyFolder, plain: bool = False) -> None:
    """What the front's samples are like beside the objectives, and what could not be measured."""
    results = read_results(folder)
    for table in measures_tables(results, plain):
        console().print(table)
    for line in measure_notes(results):
        print(line)


def print_confirmation(folder: StudyFolder) -> None:
    """What fresh noise said of the strongest trials; nothing where none is complete yet."""
    results = read_results(folder)
    if not front(results) or of_recipes(results):
        return
    found = read_confirmation(folder, results)
    if found is None or found.verdict is None:
        lines = [unconfirmed(folder, found)]
    else:
        lines = [*sentences(found), *later(found, folder)]
    print()
    for line in lines:
        print(line)


def of_recipes(results: Results) -> bool:
    """Whether the study compares named recipes, so that no trial is sought for its own sake."""
    return any(RECIPE in one.parameters for one in results.trials)


def print_next(folder: StudyFolder, default: Path) -> None:
    """Where the study is and the commands that follow; `default` is where studies are sought."""
    name = study_name(folder, default)
    print(f"\nstudy folder: {folder.root}")
    if folder.report.is_file():
        print(f"report: {folder.report}")
    print("next:")
    print(f"  tuner dashboard {name}")
    results = read_results(folder)
    if of_recipes(results):
        print(f"  tuner verdicts {name}")
        return
    found = read_confirmation(folder, results)
    if front(results) and (found is None or found.verdict is None):
        print(f"  tuner confirm {name}")
    print(f"  tuner export {name} -o {folder.name}.safetensors")


def console() -> Console:
    """Where tables are printed: stdout, wide enough for them where it is no terminal."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH)
