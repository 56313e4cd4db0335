"""Run the trials of a study of recipes: the suite of each recipe, and shared trainings.

The base is sampled on every suite that a recipe uses, so that a trial is compared with the base on
the same prompts, size and noise. Recipes that differ only in sampling are trained once for each
training seed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

from metrics.contract import ScoredSample
from tuner.events import Event, Phase
from tuner.space import StudyConfig, SuiteConfig, TrainConfig
from tuner.space.load import recipe_train
from tuner.space.recipes import RECIPE
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.trial.alias_leak import has_alias, with_alias
from tuner.trial.base_samples import base_samples
from tuner.trial.keep import trained_before, write_pictures
from tuner.trial.messages import BaseNeeded, Rung, TrialWork
from tuner.trial.trial import run_trial
from tuner.trial.workbench import Workbench


def recipe_runner(
    bench: Workbench, config: StudyConfig, folder: StudyFolder, store: Store
) -> Callable[[TrialWork], Generator[Event | Rung | BaseNeeded, None, None]]:
    """Return the function that runs a trial of a study of recipes; the store has its recipe."""
    bases: dict[SuiteConfig, list[ScoredSample]] = {}

    def run(work: TrialWork) -> Generator[Event | Rung | BaseNeeded, None, None]:
        train, files = work.config, folder.trial(work.number)
        row = next(trial for trial in store.trials() if trial.number == work.number)
        suite = recipe_suite(config, str(row.parameters[RECIPE]))
        own = bench
        if suite != config.suite:
            if suite not in bases:
                place = folder.base_on(_label(suite, train))
                bases[suite] = yield from _base_on(bench, suite, place)
            # Copies are detected on pictures of the suite's size.
            alike = suite.image_size == config.suite.image_size
            memories = bench.memories if alike else {}
            own = replace(bench, suite=suite, base_scored=bases[suite], memories=memories)
        trained = trained_before(train, work.rungs, folder, store)
        yield from run_trial(own, work.number, train, work.rungs, files, trained)

    return run


def recipe_suite(config: StudyConfig, name: str) -> SuiteConfig:
    """Return the suite that the recipe `name` is sampled on."""
    suite, own = config.suite, config.recipes[name].suite
    alias = recipe_train(config, name, 0).alias
    if alias is not None and own.alias:
        suite = with_alias(suite, alias)
    size = own.size
    return suite if size is None else suite.model_copy(update={"size": size})


def _label(suite: SuiteConfig, train: TrainConfig) -> str:
    size = "x".join(map(str, suite.image_size))
    prefixed = train.alias is not None and has_alias(suite, train.alias)
    return f"{size}_{train.alias}" if prefixed else size


def _base_on(
    bench: Workbench, suite: SuiteConfig, files: Path
) -> Generator[Event, None, list[ScoredSample]]:
    yield Phase("base")
    rung = RungFolder(files)
    drawn = yield from base_samples(bench, suite, rung)
    yield Phase("score")
    return write_pictures(drawn.scored(), rung, bench.base.name)
