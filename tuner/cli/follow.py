"""A study at the terminal: shown while it runs, and what it found, however it ends."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING

from tuner.cli.live import View, recall, show
from tuner.events import Event, Phase
from tuner.judging.calibration import study_marks
from tuner.report import write_report
from tuner.report.summary import print_confirmation, print_front, print_next, print_rungs
from tuner.results import read_results
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.storage.folder import DEFAULT_STUDIES
from tuner.terminal import plain_warnings, stopping

if TYPE_CHECKING:
    from tuner.study.confirm import Asked


def follow(config: StudyConfig, folder: StudyFolder, plain: bool, workers: int = 1) -> None:
    """Show the study as it runs on so many workers, then its front, and write its report; a stopped
    one says how it goes on. Confirms the strongest trials where the study asks for it.

    Raises what `tuner.study.run_study` raises, with what was found so far already told.
    """
    view = View(config.study, config.budget.trials, config.objectives)
    if folder.exists():
        recall(view, read_results(folder))
    _watch(view, folder, _study_events(config, folder, workers), plain)
    _conclude(folder, front=True, plain=plain)


def follow_confirm(folder: StudyFolder, asked: Asked, plain: bool) -> None:
    """Show a confirmation as it runs, then what it found, and write the report anew.

    Raises what `tuner.study.confirm.run_confirm` raises.
    """
    results = read_results(folder)
    view = View(folder.name, results.study.budget, results.study.objectives)
    recall(view, results)
    _watch(view, folder, _confirm_events(folder, asked), plain)
    _conclude(folder, front=False, plain=plain)


def _watch(
    view: View, folder: StudyFolder, events: Generator[Event, None, None], plain: bool
) -> None:
    try:
        with stopping(), plain_warnings(), contextlib.closing(events):
            show(view, events, plain)
    except BaseException as error:
        if view.trial is not None or view.best:
            with contextlib.suppress(Exception):  # the error on its way up is the one to tell
                print_front(folder, read_results(folder), study_marks(folder), plain)
        if view.trial is not None or isinstance(error, KeyboardInterrupt):
            line = f"stopped; the same command goes on where it was ({folder.root})"
            print(line, file=sys.stderr, flush=True)
        raise


def _conclude(folder: StudyFolder, front: bool, plain: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the judges doubt was told while it ran
        results = read_results(folder)
        if front:
            print_front(folder, results, study_marks(folder), plain)
            print_rungs(results)
        print_confirmation(folder, results)
        write_report(folder)
    print_next(folder, results, DEFAULT_STUDIES)


def _study_events(
    config: StudyConfig, folder: StudyFolder, workers: int
) -> Generator[Event, None, None]:
    """The study's events; the first comes before the seconds that the libraries take to load."""
    yield Phase("load")
    from tuner.study import run_confirm, run_study
    from tuner.study.confirm import Asked, NothingToConfirmError

    yield from run_study(config, folder, workers=workers)
    if config.budget.confirm:
        with contextlib.suppress(NothingToConfirmError):  # the front says that there is no trial
            yield from run_confirm(folder, Asked(trials=config.budget.confirm))


def _confirm_events(folder: StudyFolder, asked: Asked) -> Generator[Event, None, None]:
    yield Phase("load")
    from tuner.study import run_confirm

    yield from run_confirm(folder, asked)
