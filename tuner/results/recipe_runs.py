"""What studies of recipes measured, read from results.db: the measures of every run, and verdicts.

Several folders may hold parts of one series, each with training seeds of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import ConfigError
from tuner.events import COUNTED
from tuner.results.run_measures import NOTHING, run_measures
from tuner.results.verdicts import Comparison, compare
from tuner.space import StudyConfig, load_study, space_hash
from tuner.space.recipes import BASE, RECIPE, TRAINING_SEED, Value
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow, TrialRow

Found = dict[tuple[str, int | None], dict[int, dict[str, Value]]]


@dataclass(frozen=True)
class Series:
    """A study of recipes, whole or in parts: its runs, and what they say of its hypotheses."""

    config: StudyConfig
    runs: Found
    comparisons: list[Comparison]


def read_series(folders: Sequence[StudyFolder]) -> Series:
    """The study that all folders belong to, with what their runs together say.

    Raises ConfigError for folders without recipes, of different recipes, or with a run twice.
    """
    configs = [load_study(folder.study_yaml) for folder in folders]
    for config, folder in zip(configs, folders, strict=True):
        if not config.hypotheses:
            raise ConfigError(f"{folder.root} has no hypotheses: see search_spaces/hand_run.yaml")
        if space_hash(config) != space_hash(configs[0]):
            raise ConfigError(f"{folder.root} and {folders[0].root} are studies of other recipes")
        if config.hypotheses != configs[0].hypotheses:
            raise ConfigError(f"{folder.root} and {folders[0].root} have other hypotheses")
    found: Found = {}
    for folder in folders:
        for arm, of in read_runs(folder).items():
            known = found.setdefault(arm, {})
            if arm[0] != BASE and (twice := sorted(known.keys() & of.keys())):
                raise ConfigError(f"{folder.root}: {arm[0]} with training seed {twice[0]} twice")
            known.update(of)
    return Series(configs[0], found, compare(configs[0].hypotheses, found))


def read_runs(folder: StudyFolder) -> Found:
    """The measures of every run of a study: by recipe and rung, then by training seed.

    A recipe's last rung stands under its step and under None, and the base under seed -1. Of a
    run that draws nothing any more only that is known.
    """
    found: Found = {}
    with Store(folder.results_db, read_only=True) as store:
        for rung in store.rungs(None)[:1]:
            found[BASE, None] = {-1: _measured(store, rung)}
        for trial in store.trials():
            if trial.state in COUNTED and RECIPE in trial.parameters:
                _add(found, store, trial)
    return found


def _add(found: Found, store: Store, trial: TrialRow) -> None:
    name = str(trial.parameters[RECIPE])
    seed = int(str(trial.parameters[TRAINING_SEED]))
    rungs = store.rungs(trial.number)
    for rung in rungs:
        found.setdefault((name, rung.step), {})[seed] = _measured(store, rung)
    whole = rungs and trial.state != "pruned"
    last: dict[str, Value] = {**NOTHING}
    if whole:
        last = found[name, rungs[-1].step][seed]
    found.setdefault((name, None), {})[seed] = last


def _measured(store: Store, rung: RungRow) -> dict[str, Value]:
    scored = [row.scored() for row in store.samples(rung.trial, rung.step)]
    return run_measures(scored, rung.measures)
