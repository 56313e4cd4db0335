"""Time the parts of a study on this machine, for the estimate of its time.

That takes seconds, torch and the base; so only `tuner check` does it, only with a base that is on
this machine, and in a process of its own, whose end by too little memory is not the check's.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

import psutil  # type: ignore[import-untyped]

from tuner.errors import OutOfMemoryError, TunerError
from tuner.models.stored.families import UnitCost
from tuner.space import StudyConfig, TrainConfig
from tuner.space.parameters import IntRange, Value, grid_point, grid_size
from tuner.space.sizes import native_size
from tuner.study.check_base import is_here
from tuner.study.check_judges import judges_here
from tuner.study.cost import rough_units
from tuner.worker.count import judge_processes, read_machine

_BUSY = 0.5
"""Share of the cores from which others' work is worth a note; this check's own is less."""


@dataclass(frozen=True)
class TimedUnits:
    """Seconds and bytes of a study's parts, and a note for people where the seconds come from.

    `units` is None if nothing could be timed.
    """

    units: UnitCost | None
    note: str


def timed_units(config: StudyConfig, workers: int) -> TimedUnits:
    """Time loading, a training step, a denoising step and judging as one of `workers`.

    The steps are of the settings that most trials have. Judging is a constant where a model of the
    judges is not on this machine yet.
    """
    if not is_here(config.base):
        return TimedUnits(None, "the base is not on this machine yet")
    train, suite, machine = usual_settings(config), config.suite, read_machine()
    most = judge_processes(machine.cores, machine.free_bytes, workers, machine.devices > 0)
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context, _leave_signals) as pool:
            took = pool.submit(_timed, config, train, workers, most).result()
    except OutOfMemoryError:
        return TimedUnits(None, "a step does not fit the memory that is free now")
    except BrokenProcessPool:
        return TimedUnits(None, "the process that timed steps was killed, by a limit of memory?")
    except (TunerError, OSError, ImportError, MemoryError) as error:
        reason = (str(error).splitlines() or ["out of memory"])[0]
        return TimedUnits(None, f"no steps could be timed: {reason}")
    native = native_size(config.base) ** 2
    trained, drawn = _area(train.size) / native, _area(suite.image_size) / native
    rough = rough_units(config)
    units = replace(
        rough,
        train=took.train / trained,
        sample=took.sample / drawn,
        decode=took.decode / drawn,
        load=rough.load if took.load is None else took.load,
        score=rough.score if took.score is None else took.score,
        judges=took.judges,
    )
    width, height = train.size
    note = (
        f"timed on this {'CPU' if took.cpu else 'GPU'}: {_seconds(took.train)} a picture to "
        f"train at {width}x{height}, {_seconds(took.sample)} to denoise"
    )
    note += "; judging is a guess" if took.score is None else f", {_seconds(took.score)} to judge"
    busy = busy_note(psutil.getloadavg()[0], machine.cores) if took.cpu else ""
    return TimedUnits(units, note + busy)


@dataclass(frozen=True)
class _Took:
    """Seconds of this machine, as the timing process returns them, and `judges` beside a worker.

    See `trial.timing.Timing` and `study.checks.timed_judges.JudgeTiming`, which would load torch
    here. None: not timed.
    """

    train: float
    sample: float
    decode: float
    cpu: bool
    judges: int
    load: float | None = None
    score: float | None = None


def _timed(config: StudyConfig, train: TrainConfig, workers: int, most: int) -> _Took:
    """Time the parts of one of `workers`; up to `most` processes judge beside each of them."""
    from tuner.judging.models import study_judges
    from tuner.judging.pool import pool_size
    from tuner.study.checks.timed_judges import judged_samples, time_judges
    from tuner.trial.timing import time_work

    timing = time_work(config.base, config.base_prediction, train, config.suite, workers)
    settings = study_judges(config)
    judges = pool_size(settings, most, least=2 if timing.cpu else 1)
    took = _Took(timing.train, timing.sample, timing.decode, timing.cpu, judges)
    if not judges_here(settings):
        return took
    threads = 1 if judges else timing.threads
    try:
        judged = time_judges(settings, judged_samples(config), threads)
    except Exception:  # whatever it is, the run will say it
        return took
    return replace(took, load=timing.load + judged.load, score=judged.score)


def _leave_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the check itself stops, and ends this process


def busy_note(load: float, cores: int) -> str:
    """Return a note if other programs take much of the processor, which the timing leaves out.

    `load` is the mean number of threads that wanted a core in the last minute.
    """
    if load < _BUSY * cores:
        return ""
    return f"; other programs use the cores (load {load:.1f} of {cores}): longer while they do"


def usual_settings(config: StudyConfig) -> TrainConfig:
    """Return settings that most trials have; of those that are equally frequent, the middle one."""
    names = {*config.train, *(name for each in config.recipes.values() for name in each.train)}
    values = {name: _usual(config, name) for name in names if name not in ("data", "seed")}
    return TrainConfig.model_validate(values)


def _usual(config: StudyConfig, name: str) -> Value:
    values, searched = config.tried(name), config.train.get(name)
    counts = Counter(each.train[name] for each in config.recipes.values() if name in each.train)
    most = max(counts.values(), default=0)
    if most:
        values = tuple(value for value, count in counts.items() if count == most)
    elif isinstance(searched, IntRange):
        return grid_point(searched, (grid_size(searched) or 1) // 2)
    numbers = all(isinstance(value, int | float) for value in values)
    ordered = sorted(values, key=lambda value: float(value or 0)) if numbers else [*values]
    return ordered[len(ordered) // 2] if numbers else ordered[0]


def _area(size: tuple[int, int]) -> float:
    return float(size[0] * size[1])


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
