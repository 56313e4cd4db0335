"""What a study of existing files found: a row for each file and strength, the answer, the curves.

Everything is read from results.db, which is opened read-only. All files were drawn from the same
noise as the base, so that differences are paired by prompt and seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metrics.contract import Measure, Objective, ScoredSample
from metrics.intervals import Floats, central
from metrics.objectives import Difference
from metrics.posterior import STRENGTH as COMBINED, Judged, draws, strength, strength_difference
from metrics.sets.effect import NOISE
from tuner.errors import ConfigError
from tuner.results.confirmation import difference
from tuner.results.results import Results, read_results, recommended
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow, SampleRow, TrialRow

FILE, STRENGTH, SHA256, RUN, STEP, EPOCH = "file", "strength", "sha256", "run", "step", "epoch"
AS_BASE = "as_base"
"""The parameters of a trial that is a file at a strength."""

FEWEST_POINTS = 3
"""A curve has at least this many files, or strengths."""

_SEED = 0


@dataclass(frozen=True)
class TrialFile:
    """The file of a trial and its strength, as the trial's parameters hold them.

    With `as_base` it is a whole checkpoint, else a LoRA.
    """

    name: str
    strength: float
    sha256: str
    run: str
    step: int | None = None
    epoch: int | None = None
    as_base: bool = False

    def parameters(self) -> dict[str, object]:
        """Return the trial's parameters."""
        known = {STEP: self.step, EPOCH: self.epoch, AS_BASE: self.as_base or None}
        return {FILE: self.name, STRENGTH: self.strength, SHA256: self.sha256, RUN: self.run} | {
            name: value for name, value in known.items() if value is not None
        }


def trial_file(row: TrialRow) -> TrialFile | None:
    """Return the file of a trial; None for a trial that was trained."""
    values = row.parameters
    if FILE not in values or SHA256 not in values:
        return None
    step, epoch = values.get(STEP), values.get(EPOCH)
    return TrialFile(
        str(values[FILE]),
        float(str(values[STRENGTH])),
        str(values[SHA256]),
        str(values.get(RUN, values[FILE])),
        step if isinstance(step, int) else None,
        epoch if isinstance(epoch, int) else None,
        bool(values.get(AS_BASE, False)),
    )


def trained_elsewhere(folder: StudyFolder, trial: int) -> bool:
    """Return True for a trial that is an existing file."""
    with Store(folder.results_db, read_only=True) as store:
        return any(trial_file(row) for row in store.trials() if row.number == trial)


def of_files(results: Results) -> bool:
    """Return True if the study judges existing files, so that its trials trained nothing."""
    return any(trial_file(trial) is not None for trial in results.trials)


@dataclass(frozen=True)
class JudgedRow:
    """A file at a strength, and what was measured on its samples.

    `strength` is the geometric mean of the study's objectives with its 95 % interval, `gain` the
    same minus the base's and `gains` each objective minus the base's, all paired; None and empty
    for a file that gave no pictures, whose `reason` says why. `measures` have its effect, alias
    leakage, copies and whatever else was measured.
    """

    trial: int
    file: TrialFile
    state: str
    reason: str | None = None
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    rates: Mapping[str, Objective] = field(default_factory=dict)
    strength: Objective | None = None
    gain: Difference | None = None
    gains: Mapping[str, Difference] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)

    @property
    def does_nothing(self) -> bool:
        """True if its pictures differ from the base's by no more than noise does."""
        effect = self.measures.get("effect")
        return effect is not None and effect.value is not None and effect.value < NOISE


@dataclass(frozen=True)
class Curve:
    """The files of one run over their steps, or one file over its strengths.

    `axis` is step, epoch or strength; `rows` are in its order and `at` has its values. `best` is
    the index of the highest row. `turn` is that of the first row behind it that is clearly below
    it (paired, 95 %), None if none is: then no turn is shown.
    """

    name: str
    axis: str
    rows: tuple[JudgedRow, ...]
    at: tuple[float, ...]
    best: int
    turn: int | None


@dataclass(frozen=True)
class JudgedResults:
    """Results of a study of files: its rows by trial, the row to take, and how sure that is.

    `winner` is None if no file may be taken (`why_none`). `share` is the share of draws from the
    posterior in which it is the strongest of all, `tied` are the rows whose paired difference from
    it does not exclude 0. `base` has the objectives of the base without a file.
    """

    results: Results
    rows: tuple[JudgedRow, ...]
    base: RungRow | None
    winner: JudgedRow | None
    share: float
    tied: tuple[JudgedRow, ...]
    curves: tuple[Curve, ...]
    why_none: str = ""

    @property
    def failed(self) -> tuple[JudgedRow, ...]:
        """The rows without pictures."""
        return tuple(row for row in self.rows if row.strength is None)


@dataclass(frozen=True)
class _Samples:
    """The scored samples of each trial and of the base, and the objectives to compare them in."""

    judged: Mapping[int, Judged]
    base: Judged | None
    names: Sequence[str]

    def strengths(self, trial: int) -> Floats:
        """Return draws of the strength of a trial from its posterior."""
        rng = np.random.default_rng(_SEED)
        each = [draws(name, self.judged[trial], self.base, rng) for name in self.names]
        return strength(np.stack(each))

    def minus(self, trial: int, other: int | None) -> Difference | None:
        """Return the strength of a trial minus another's (None: the base's), paired.

        None without a base, and where prompts or seeds differ.
        """
        theirs = self.base if other is None else self.judged[other]
        if theirs is None:
            return None
        try:
            return strength_difference(self.judged[trial], theirs, self.names, self.base)
        except ValueError:
            return None


def read_judged(folder: StudyFolder) -> JudgedResults:
    """Return the results of the study of files in `folder`, which may still be running.

    Raises ConfigError if there is no such study.
    """
    results = read_results(folder)
    if not of_files(results):
        raise ConfigError(f"{folder.root} is no study of existing files; `tuner status` shows it")
    names = results.study.objectives
    last = {scored.trial.number: scored.rung for scored in results.scored}
    with Store(folder.results_db, read_only=True) as store:
        judged = {
            number: Judged(_scored(store.samples(number, rung.step)), rung.objectives)
            for number, rung in last.items()
            if all(name in rung.objectives for name in names)
        }
        before = results.base
        of_base = _scored(store.samples(None, before.step)) if before else []
    base = Judged(of_base, before.objectives) if before else None
    samples = _Samples(judged, base, names)
    rows = [
        _row(trial, file, last.get(trial.number), samples)
        for trial in results.trials
        if (file := trial_file(trial)) is not None
    ]
    return _with_answer(results, rows, samples)


def _scored(rows: Sequence[SampleRow]) -> list[ScoredSample]:
    return [row.scored() for row in rows]


def _row(trial: TrialRow, file: TrialFile, rung: RungRow | None, samples: _Samples) -> JudgedRow:
    ours, base, names = samples.judged.get(trial.number), samples.base, samples.names
    if rung is None or ours is None:
        return JudgedRow(trial.number, file, trial.state, trial.reason)
    gains = {}
    if base is not None:
        each = {name: difference(ours.scored, base.scored, name, base.scored) for name in names}
        gains = {name: value for name, value in each.items() if value is not None}
    value = float(strength(np.array([rung.objectives[name].value for name in names])))
    low, high = central(samples.strengths(trial.number), value)
    total = len(ours.scored)
    return JudgedRow(
        trial.number,
        file,
        trial.state,
        trial.reason,
        rung.objectives,
        rung.rates,
        Objective(COMBINED, value, low, high, total, total),
        samples.minus(trial.number, None),
        gains,
        rung.measures,
    )


def _with_answer(results: Results, rows: Sequence[JudgedRow], samples: _Samples) -> JudgedResults:
    winner, why_none = None, ""
    try:
        chosen = recommended(results).result.trial.number
        winner = next(row for row in rows if row.trial == chosen)
    except ConfigError as error:
        why_none = str(error)
    share, tied = 0.0, []
    if winner is not None:
        rivals = [row for row in rows if row.state == "complete" and row.strength is not None]
        strengths = [samples.strengths(row.trial) for row in rivals]
        share = float((np.argmax(strengths, axis=0) == rivals.index(winner)).mean())
        for row in rivals:
            lead = samples.minus(winner.trial, row.trial)
            if row is not winner and lead is not None and lead.low <= 0 <= lead.high:
                tied.append(row)
    curves = _curves(rows, samples)
    return JudgedResults(
        results, tuple(rows), results.base, winner, share, tuple(tied), curves, why_none
    )


def _curves(rows: Sequence[JudgedRow], samples: _Samples) -> tuple[Curve, ...]:
    """Return a curve for each run at each strength, and for each file over its strengths."""
    runs: dict[tuple[str, float], list[JudgedRow]] = {}
    files: dict[str, list[JudgedRow]] = {}
    for row in rows:
        if row.strength is not None:
            runs.setdefault((row.file.run, row.file.strength), []).append(row)
            files.setdefault(row.file.sha256, []).append(row)
    curves = [
        _curve(f"{run} at {at:g}", axis, of, samples)
        for (run, at), of in runs.items()
        if (axis := _axis(of)) is not None
    ]
    curves += [_curve(of[0].file.name, STRENGTH, of, samples) for of in files.values()]
    return tuple(curve for curve in curves if len(curve.rows) >= FEWEST_POINTS)


def _axis(rows: Sequence[JudgedRow]) -> str | None:
    """Return the axis on which all of a run's files have places of their own; None without one."""
    for axis in (STEP, EPOCH):
        values = {getattr(row.file, axis) for row in rows}
        if None not in values and len(values) == len(rows):
            return axis
    return None


def _curve(name: str, axis: str, rows: Sequence[JudgedRow], samples: _Samples) -> Curve:
    ordered = sorted(rows, key=lambda row: float(getattr(row.file, axis)))
    values = [row.strength.value if row.strength else 0.0 for row in ordered]
    best = values.index(max(values))
    falls = [samples.minus(ordered[best].trial, row.trial) for row in ordered]
    clear = [at for at in range(best + 1, len(falls)) if (fall := falls[at]) and fall.low > 0]
    at = tuple(float(getattr(row.file, axis)) for row in ordered)
    return Curve(name, axis, tuple(ordered), at, best, clear[0] if clear else None)
