"""Print a study on the terminal: its state, its front, its trials, and what to do next."""

from __future__ import annotations

from pathlib import Path

from tuner.judging.calibration import ABOUT, study_marks
from tuner.report.documents import StudyState, study_state
from tuner.report.judged import print_judged
from tuner.report.tables import (
    front_table,
    measure_notes,
    measures_tables,
    parameter_lines,
    print_extras,
    trials_table,
)
from tuner.results import read_confirmation, read_results
from tuner.results.confirmation import gain_lines, newer_lines, unconfirmed_line, winner_lines
from tuner.results.course import agreements, rung_lines
from tuner.results.judged import of_files, read_judged
from tuner.results.results import Results, front, of_recipes
from tuner.space.config import MANNEQUIN
from tuner.storage import StudyFolder
from tuner.storage.folder import DEFAULT_STUDIES, study_name
from tuner.terminal import console
from tuner.text import counted, duration


def print_status(folder: StudyFolder, plain: bool = False) -> None:
    """Print all results of one study: state, front, confirmation, measures, extras, trials.

    Raises ConfigError if no study was begun in the folder.
    """
    results, marks = read_results(folder), study_marks(folder)
    print(state_line(study_state(folder, results)))
    print_time(results)
    if of_files(results):
        print_judged_study(folder, results, plain)
        return
    print_front(folder, results, marks, plain)
    print_confirmation(folder, results)
    for table in measures_tables(results, plain):
        console().print(table)
    for line in measure_notes(results):
        print(line)
    print_extras(folder, results, plain)
    print_rungs(results)
    console().print(trials_table(results, plain, marks))


def print_judged_study(folder: StudyFolder, results: Results, plain: bool = False) -> None:
    """Print what a study of existing files found, and its confirmation if one was begun."""
    print_judged(folder, read_judged(folder), plain)
    if read_confirmation(folder, results) is not None:
        print_confirmation(folder, results)


def state_line(now: StudyState) -> str:
    """Return one line: trials done, size of the front, and if the study is running or not."""
    process = "" if now.process is None else f" (process {now.process})"
    done = f"{now.finished} of {counted(now.budget, 'trial')}, {len(now.front)} on the front"
    return f"{now.study}: {done}, {now.state}{process}"


def print_time(results: Results) -> None:
    """Print the time that all runs took, the budget's hours, and why no further trial was begun."""
    if not results.runs:
        return
    study = results.study
    spent = sum(run.seconds for run in results.runs)
    busy = sum(run.busy for run in results.runs)
    ended = results.runs[-1].ended
    print(
        f"time: {_of_hours(spent, study.hours)}; of workers at work: "
        f"{_of_hours(busy, study.gpu_hours)}" + (f"; {ended}" if ended else "")
    )


def _of_hours(seconds: float, limit: float | None) -> str:
    return duration(seconds) + ("" if limit is None else f" of {duration(limit * 3600)}")


def print_front(
    folder: StudyFolder, results: Results, marks: frozenset[str], plain: bool = False
) -> None:
    """Print the Pareto front with intervals, the base's row, and each trial's parameters.

    `marks` are the objectives and rates whose judges have no selfcheck for this base.
    """
    console().print(front_table(results, plain, marks))
    if marks & {*results.study.objectives, *results.study.constraints}:
        name = folder.name if folder.root.parent == DEFAULT_STUDIES else str(folder.root)
        pictures = "" if results.study.base == MANNEQUIN else " --labels TABLE (or --data PHOTOS)"
        print(f"{ABOUT};\n  tuner selfcheck --study {name}{pictures} makes one\n")
    for line in parameter_lines(results):
        print(line)


def print_rungs(results: Results) -> None:
    """Print how many trials each rung stopped, and how well it predicts the last one."""
    for line in rung_lines(agreements(results.trials, results.rungs, results.study.objectives)):
        print(line)


def print_confirmation(folder: StudyFolder, results: Results) -> None:
    """Print the results on fresh noise of the strongest trials; nothing if no trial is complete."""
    if not front(results) or of_recipes(results):
        return
    confirmation = read_confirmation(folder, results)
    if confirmation is None or confirmation.ranking is None:
        lines = [unconfirmed_line(confirmation, folder)]
    else:
        lines = [*winner_lines(confirmation), *gain_lines(confirmation)]
        lines += newer_lines(confirmation, folder)
    print()
    for line in lines:
        print(line)


def print_next(folder: StudyFolder, results: Results, default: Path) -> None:
    """Print the study's folder and the next commands; `default` is the default studies folder."""
    name = study_name(folder, default)
    print(f"\nstudy folder: {folder.root}")
    if folder.report.is_file():
        print(f"report: {folder.report}")
    print("next:")
    if not of_files(results):
        print(f"  tuner dashboard {name}")
    if of_recipes(results):
        print(f"  tuner verdicts {name}")
        return
    confirmation = read_confirmation(folder, results)
    if not front(results):
        return
    if confirmation is None or confirmation.ranking is None:
        print(f"  tuner confirm {name}")
    print(f"  tuner export {name} -o {folder.name}.safetensors")
