"""Run a study or a confirmation at the terminal: show its progress, then print its results."""

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
from tuner.report.summary import (
    print_confirmation,
    print_front,
    print_next,
    print_rungs,
    print_time,
)
from tuner.results import read_results
from tuner.results.results import is_begun
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.storage.address import Address
from tuner.storage.folder import DEFAULT_STUDIES
from tuner.terminal import plain_warnings, say, stopping
from tuner.worker.count import planned_workers

if TYPE_CHECKING:
    from tuner.study.confirm import ConfirmOptions


def follow(
    config: StudyConfig,
    folder: StudyFolder,
    plain: bool,
    needed_bytes: int,
    workers: int | None = None,
    server: Address | None = None,
) -> None:
    """Run the study on `workers` workers, show its progress, print its front, write its report.

    Without `workers` their number is that of `auto_workers` for the trials that are left, each
    worker needing `needed_bytes` of memory. `server` keeps Optuna's study in place of optuna.db.
    Confirms the strongest trials if the study's budget says so. If the study stops early, the
    results so far and how to continue are printed, and what `tuner.study.run_study` raised is
    raised again.
    """
    view = View(config.study, config.budget.trials, config.objectives)
    left = config.budget.trials
    if is_begun(folder):
        results = read_results(folder)
        left -= results.finished
        recall(view, results)
    plan = planned_workers(workers, needed_bytes, left)
    if left > 0:
        say(plan.line)
    _watch(view, folder, _study_events(config, folder, plan.count, server), plain)
    _conclude(folder, front=True, plain=plain)


def follow_confirm(folder: StudyFolder, options: ConfirmOptions, plain: bool) -> None:
    """Run a confirmation, show its progress, print its results, and write the report again.

    Raises what `tuner.study.confirm.run_confirm` raises.
    """
    results = read_results(folder)
    view = View(folder.name, results.study.budget, results.study.objectives)
    recall(view, results)
    _watch(view, folder, _confirm_events(folder, options), plain)
    _conclude(folder, front=False, plain=plain)


def _watch(
    view: View, folder: StudyFolder, events: Generator[Event, None, None], plain: bool
) -> None:
    """Show `events` to their end; after an error print the results so far and how to continue."""
    try:
        with stopping(), plain_warnings(), contextlib.closing(events):
            show(view, events, plain)
    except BaseException as error:
        if view.trial is not None or view.best:
            with contextlib.suppress(Exception):  # the original error is the one to show
                print_front(folder, read_results(folder), study_marks(folder), plain)
        if view.trial is not None or isinstance(error, KeyboardInterrupt):
            line = f"stopped; run the same command again to continue ({folder.root})"
            print(line, file=sys.stderr, flush=True)
        raise


def _conclude(folder: StudyFolder, front: bool, plain: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the judges' warnings were printed during the run
        results = read_results(folder)
        if front:
            print_front(folder, results, study_marks(folder), plain)
            print_rungs(results)
        print_confirmation(folder, results)
        write_report(folder)
    print_time(results)
    print_next(folder, results, DEFAULT_STUDIES)


def _study_events(
    config: StudyConfig, folder: StudyFolder, workers: int, server: Address | None
) -> Generator[Event, None, None]:
    """Yield the study's events; the first comes before the libraries load, which takes seconds."""
    yield Phase("load")
    from tuner.study import run_confirm, run_study
    from tuner.study.confirm import ConfirmOptions, NothingToConfirmError

    yield from run_study(config, folder, workers=workers, server=server)
    if config.budget.confirm:
        with contextlib.suppress(NothingToConfirmError):  # the printed front shows it already
            options = ConfirmOptions(config.budget.confirm, repeats=config.budget.confirm_repeats)
            yield from run_confirm(folder, options)


def _confirm_events(folder: StudyFolder, options: ConfirmOptions) -> Generator[Event, None, None]:
    yield Phase("load")
    from tuner.study import run_confirm

    yield from run_confirm(folder, options)
