"""A study at the terminal: shown while it runs, and what it found, however it ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator

from tuner.config import StudyConfig
from tuner.events import Event, Phase
from tuner.live import View, plain_warnings, recall, show
from tuner.process import stopping
from tuner.report import write_report
from tuner.results_table import read_results
from tuner.study_folder import DEFAULT_STUDIES, StudyFolder
from tuner.summary import print_front, print_next, print_rungs


def follow(config: StudyConfig, folder: StudyFolder, plain: bool) -> None:
    """Show the study as it runs, then its front, and write its report; a stopped one says how it
    goes on.

    Raises what `tuner.study.run_study` raises, with what was found so far already told.
    """
    view = View(config.study, config.budget.trials, config.objectives)
    if folder.exists():
        recall(view, read_results(folder))
    try:
        with (
            stopping(),
            plain_warnings(),
            contextlib.closing(_events(config, folder)) as events,
        ):
            show(view, events, plain)
    except BaseException as error:
        if view.trial is not None:
            with contextlib.suppress(Exception):  # the error on its way up is the one to tell
                print_front(folder, plain)
        if view.trial is not None or isinstance(error, KeyboardInterrupt):
            line = f"stopped; the same command goes on where it was ({folder.root})"
            print(line, file=sys.stderr, flush=True)
        raise
    print_front(folder, plain)
    print_rungs(folder)
    write_report(folder)
    print_next(folder, DEFAULT_STUDIES)


def _events(config: StudyConfig, folder: StudyFolder) -> Generator[Event, None, None]:
    """The study's events; the first comes before the seconds that the libraries take to load."""
    yield Phase("load")
    from tuner.study import run_study

    yield from run_study(config, folder)
