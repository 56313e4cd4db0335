"""Sample and score a file that exists already, of any trainer, at one strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from metrics.contract import Measure
from tuner.errors import ConfigError, DivergedError, MissingModelError, UnusableFileError
from tuner.events import Event, Phase
from tuner.models import load_base
from tuner.models.memory_errors import naming_memory_errors
from tuner.models.method import Weighted
from tuner.space.suite import JudgedConfig
from tuner.storage.folder import TrialFolder
from tuner.trial.alias_leak import drift_measures
from tuner.trial.messages import BaseNeeded, JudgeWork, Rung
from tuner.trial.scoring import Drawn, draw_suite
from tuner.trial.trial import scored_rung
from tuner.trial.workbench import Workbench, copy_measures, ground_measure, with_base


def run_judged(
    bench: Workbench, judged: JudgedConfig, work: JudgeWork, folder: TrialFolder
) -> Iterator[Event | Rung | BaseNeeded]:
    """Sample the file of `work` under the suite and score it; yields events and one Rung.

    Yields BaseNeeded before the base's scores are used if another worker makes them. Raises
    UnusableFileError for a file that does not fit the base, DivergedError for pictures that are
    not finite, OutOfMemoryError.
    """
    place = folder.rung(work.step)
    file = Weighted(work.path, work.strength)
    with naming_memory_errors():
        yield Phase("sample", work.number)
        if judged.as_base:
            own = _opened(bench, work)
            drawn = yield from draw_suite(bench, bench.suite, None, place, base=own.base)
        else:
            drawn = yield from draw_suite(bench, bench.suite, file, place)
        bench = yield from with_base(bench)
        measured = [] if judged.as_base else _drift(bench, judged, file, drawn)
        yield Phase("score", work.number)
        measured += [*copy_measures(bench, None, drawn.samples), ground_measure(drawn.samples)]
        yield scored_rung(bench, drawn, (work.step, work.path, place), measured)


def _opened(bench: Workbench, work: JudgeWork) -> Workbench:
    """Return the bench with the checkpoint of `work` as its base."""
    try:
        base = load_base(str(work.path), str(bench.base.device))
    except (ConfigError, MissingModelError) as error:
        raise UnusableFileError(str(error)) from error
    base.clip_skip = bench.base.clip_skip
    return replace(bench, base=base)


def _drift(
    bench: Workbench, judged: JudgedConfig, file: Weighted, drawn: Drawn
) -> list[Measure]:
    if not judged.without_alias or judged.alias is None or bench.base_scored is None:
        return []
    samples = (drawn.samples, bench.base_scored)
    try:
        return drift_measures(bench.base, bench.suite, judged.alias, file, samples)
    except DivergedError:
        return []  # without the alias only; the suite was drawn
