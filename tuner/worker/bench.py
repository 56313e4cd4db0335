"""What the worker of a study does with a piece of work, once all that it needs is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from functools import partial

from tuner.data import TrainingSets
from tuner.space import StudyConfig
from tuner.storage import Store, StudyFolder
from tuner.trial import RepeatWork, TrialWork, Workbench, open_bench, run_trial
from tuner.trial.extra import Extras, extras_of, sample_bases, sample_extras
from tuner.trial.messages import Outcome, Work
from tuner.trial.recipe import recipe_runner
from tuner.trial.repeat import run_repeat

DoWork = Callable[[Work], Generator[Outcome, None, None]]
"""Does a piece of work and yields what comes of it."""


def open_work(
    config: StudyConfig, folder: StudyFolder, data: TrainingSets, models: contextlib.ExitStack
) -> Generator[Outcome, None, DoWork]:
    """Open the bench as `open_bench` does, and return what does a piece of work on it.

    The base is sampled beside the suite too, where the study asks for it. results.db is read.
    """
    bench = yield from open_bench(config, folder, data, models)
    store = models.enter_context(Store(folder.results_db, read_only=True))
    trial: Callable[[TrialWork], Generator[Outcome, None, None]]
    if config.recipes:
        trial = recipe_runner(bench, config, folder, store)
    else:
        extras = extras_of(config, folder, store)
        yield from sample_bases(bench, extras)
        trial = partial(_searched, bench, extras)

    def do(work: Work) -> Generator[Outcome, None, None]:
        match work:
            case TrialWork():
                yield from trial(work)
            case RepeatWork():
                yield from run_repeat(bench, folder, work)

    return do


def _searched(bench: Workbench, extras: Extras, work: TrialWork) -> Generator[Outcome, None, None]:
    files, last = extras.folder.trial(work.number), work.rungs[-1]
    yield from run_trial(bench, work.number, work.config, work.rungs, files)
    yield from sample_extras(bench, extras, work.number, work.config, (last, files.rung(last)))
