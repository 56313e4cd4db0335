"""A study as plain values for programs: its state, its front, its confirmation, its trials.

docs/commands.md lists the fields. The same for people is tuner/report/summary.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuner.judging.calibration import study_marks
from tuner.report.judged import judged_document
from tuner.results import read_confirmation
from tuner.results.confirmation import Confirmation, gain_lines, newer_lines, winner_lines
from tuner.results.course import agreements
from tuner.results.extras import extra_tables
from tuner.results.judged import of_files, read_judged
from tuner.results.results import Result, Results, front, of_recipes
from tuner.results.running import read_running
from tuner.storage import StudyFolder
from tuner.storage.lock import runner

Document = dict[str, object]
"""Names and values; data classes in it are objects of JSON with the names of their fields."""


@dataclass(frozen=True)
class StudyState:
    """The state of a study: `finished` of `budget` trials, the trials on the front.

    `state` is running, finished or not running; `process` is the number of the process that runs
    it, None without one.
    """

    study: str
    folder: Path
    state: str
    process: int | None
    finished: int
    budget: int
    front: tuple[int, ...]


def study_state(folder: StudyFolder, results: Results) -> StudyState:
    """Return the state of one study: trials done, trials on the front, and who runs it."""
    owner = runner(folder.lock)
    finished, budget = results.finished, results.study.budget
    state = "running" if owner else "finished" if results.is_over else "not running"
    process = owner["pid"] if owner else None
    best = tuple(result.trial.number for result in front(results))
    return StudyState(folder.name, folder.root, state, process, finished, budget, best)


def status_document(folder: StudyFolder, results: Results) -> Document:
    """Return all results of one study: state, base, trials with their rungs, confirmation."""
    study = results.study
    trials = [
        vars(trial) | {"rungs": results.rungs.get(trial.number, ())} for trial in results.trials
    ]
    return vars(study_state(folder, results)) | {
        "running": running_document(folder),
        "objectives": study.objectives,
        "constraints": study.constraints,
        "base": study.base,
        "begun": study.begun,
        "uncalibrated": sorted(study_marks(folder)),
        "base_rung": results.base,
        "trials": trials,
        "confirmation": confirmation_document(folder, results),
        "agreements": agreements(results.trials, results.rungs, study.objectives),
        "extras": extra_tables(folder, results),
        "judged": judged_document(folder, read_judged(folder)) if of_files(results) else None,
    }


def running_document(folder: StudyFolder) -> Document | None:
    """Return what the workers of a running study do; None if it is not running."""
    running = read_running(folder)
    if running is None:
        return None
    return vars(running) | {"trials": running.trials, "idle": running.idle}


def front_document(folder: StudyFolder, results: Results) -> Document:
    """Return the trials of the front, the strongest first, each with its last rung, and the base.

    `uncalibrated` are the objectives and rates whose judges have no selfcheck for this base.
    """
    return {
        "trials": [_on_front(result) for result in front(results)],
        "base_rung": results.base,
        "uncalibrated": sorted(study_marks(folder)),
    }


def confirmation_document(folder: StudyFolder, results: Results) -> Document | None:
    """Return the state and the answer of the study's confirmation; None if none was begun.

    `winner` is None until all is measured, and if no candidate may win; `reasons` are sentences.
    """
    if of_recipes(results):
        return None
    confirmation = read_confirmation(folder, results)
    if confirmation is None:
        return None
    return {
        "done": confirmation.done,
        "planned": confirmation.planned,
        **_answer(confirmation),
        "newer": confirmation.newer,
        "limits": confirmation.limits,
        "reasons": _reasons(confirmation, folder),
    }


def _answer(confirmation: Confirmation) -> Document:
    ranking = confirmation.ranking
    if ranking is None:
        return {"winner": None, "tied": (), "gain": None, "ranked": (), "noise": {}}
    return {
        "winner": ranking.winner.candidate if ranking.winner else None,
        "tied": [rival.candidate for rival in ranking.tied],
        "gain": ranking.gain,
        "ranked": ranking.ranked,
        "noise": ranking.noise,
    }


def _reasons(confirmation: Confirmation, folder: StudyFolder) -> list[str]:
    if confirmation.ranking is None:
        return []
    lines = [*winner_lines(confirmation), *gain_lines(confirmation)]
    return [*lines, *newer_lines(confirmation, folder)]


def _on_front(result: Result) -> Mapping[str, object]:
    trial = result.trial
    return {"number": trial.number, "parameters": trial.parameters, "rung": result.rung}
