"""Results of studies of recipes, read from results.db: the measures of every run, and verdicts.

Several folders may hold parts of one series, each with training seeds of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import ConfigError
from tuner.events import COUNTED
from tuner.results.run_measures import COLLAPSED_RUN, run_measures
from tuner.results.verdicts import Comparison, compare
from tuner.space import StudyConfig, space_hash
from tuner.space.load import load_recorded
from tuner.space.recipes import BASE, RECIPE, TRAINING_SEED, Value
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow, TrialRow

MeasuredRuns = dict[tuple[str, int | None], dict[int, dict[str, Value]]]
"""Measures of each recipe at a rung (None: its last one), by training seed."""


@dataclass(frozen=True)
class Series:
    """A study of recipes, whole or in parts: its runs, and the result for each hypothesis."""

    config: StudyConfig
    runs: MeasuredRuns
    comparisons: list[Comparison]


def read_series(folders: Sequence[StudyFolder]) -> Series:
    """Return the study that all folders belong to, with the runs of all of them.

    Raises ConfigError if a folder has no hypotheses, if the folders are of different studies, or if
    a run is in two of them.
    """
    configs = [load_recorded(folder) for folder in folders]
    for config, folder in zip(configs, folders, strict=True):
        if not config.hypotheses:
            raise ConfigError(f"{folder.root} has no hypotheses: see search_spaces/hand_run.yaml")
        if _hash(folder, config) != _hash(folders[0], configs[0]):
            raise ConfigError(f"{folder.root} and {folders[0].root} are studies of other recipes")
        if config.hypotheses != configs[0].hypotheses:
            raise ConfigError(f"{folder.root} and {folders[0].root} have other hypotheses")
    measured: MeasuredRuns = {}
    for folder in folders:
        for arm, runs in read_runs(folder).items():
            known = measured.setdefault(arm, {})
            if arm[0] != BASE and (twice := sorted(known.keys() & runs.keys())):
                raise ConfigError(f"{folder.root}: {arm[0]} with training seed {twice[0]} twice")
            known.update(runs)
    return Series(configs[0], measured, compare(configs[0].hypotheses, measured))


def _hash(folder: StudyFolder, config: StudyConfig) -> str:
    """Return the study's hash as it was stored, because its base may not be on this machine."""
    with Store(folder.results_db, read_only=True) as store:
        row = store.study()
    return row.space_hash if row else space_hash(config)


def read_runs(folder: StudyFolder) -> MeasuredRuns:
    """Return the measures of every run of a study, by recipe and rung, then by training seed.

    A recipe's last rung is stored under its step and under None, the base under seed -1. A
    diverged or collapsed run has COLLAPSED_RUN in place of its last rung.
    """
    runs: MeasuredRuns = {}
    with Store(folder.results_db, read_only=True) as store:
        for rung in store.rungs(None)[:1]:
            runs[BASE, None] = {-1: _measured(store, rung)}
        for trial in store.trials():
            if trial.state in COUNTED and RECIPE in trial.parameters:
                _add(runs, store, trial)
    return runs


def _add(runs: MeasuredRuns, store: Store, trial: TrialRow) -> None:
    name = str(trial.parameters[RECIPE])
    seed = int(str(trial.parameters[TRAINING_SEED]))
    rungs = store.rungs(trial.number)
    for rung in rungs:
        runs.setdefault((name, rung.step), {})[seed] = _measured(store, rung)
    whole = rungs and trial.state != "pruned"
    last: dict[str, Value] = {**COLLAPSED_RUN}
    if whole:
        last = runs[name, rungs[-1].step][seed]
    runs.setdefault((name, None), {})[seed] = last


def _measured(store: Store, rung: RungRow) -> dict[str, Value]:
    scored = [row.scored() for row in store.samples(rung.trial, rung.step)]
    return run_measures(scored, rung.measures)
