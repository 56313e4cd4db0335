"""Sample and score a file that exists already, of any trainer, at one strength."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from metrics.contract import Measure
from tuner.errors import ConfigError, DivergedError, MissingModelError, UnusableFileError
from tuner.events import Event, Phase, Progress
from tuner.models import BaseModel, load_base
from tuner.models.memory_errors import naming_memory_errors
from tuner.models.method import Weighted
from tuner.space.suite import JudgedConfig
from tuner.storage.folder import RungFolder, TrialFolder
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
    with naming_memory_errors():
        yield Phase("sample", work.number)
        drawn = yield from draw_file(bench, work, place)
        bench = yield from with_base(bench)
        measured = _drift(bench, judged, work, drawn)
        yield Phase("score", work.number)
        measured += [*copy_measures(bench, None, drawn.samples), ground_measure(drawn.samples)]
        yield scored_rung(bench, drawn, (work.step, work.path, place), measured)


def draw_file(
    bench: Workbench, work: JudgeWork, folder: RungFolder
) -> Generator[Progress, None, Drawn]:
    """Draw the bench's suite with the file of `work`, for scoring; call it with `yield from`."""
    if work.as_base:
        return (yield from draw_suite(bench, bench.suite, None, folder, base=_opened(bench, work)))
    file = Weighted(work.path, work.strength)
    return (yield from draw_suite(bench, bench.suite, file, folder))


def _opened(bench: Workbench, work: JudgeWork) -> BaseModel:
    """Return the checkpoint of `work`, which is not kept after its use."""
    whole = work.path.parent if work.path.name == "model_index.json" else work.path
    try:
        base = load_base(str(whole), str(bench.base.device))
    except (ConfigError, MissingModelError) as error:
        raise UnusableFileError(str(error)) from error
    base.clip_skip = bench.base.clip_skip
    return base


def _drift(bench: Workbench, judged: JudgedConfig, work: JudgeWork, drawn: Drawn) -> list[Measure]:
    if not judged.without_alias or judged.alias is None or bench.base_scored is None:
        return []
    samples = (drawn.samples, bench.base_scored)
    file = Weighted(work.path, work.strength)
    try:
        return drift_measures(bench.base, bench.suite, judged.alias, file, samples)
    except DivergedError:
        return []  # without the alias only; the suite was drawn
