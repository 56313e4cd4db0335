"""Time the steps of a study on this machine, for the estimate of its time.

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
from tuner.space import StudyConfig, SuiteConfig, TrainConfig
from tuner.space.parameters import IntRange, Value, grid_point, grid_size
from tuner.space.sizes import native_size
from tuner.study.check_base import is_here
from tuner.study.cost import rough_units
from tuner.worker.count import read_machine

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
    """Time a training step and a denoising step as one of `workers`; the rest are constants.

    The steps are of the settings that most trials have.
    """
    if not is_here(config.base):
        return TimedUnits(None, "the base is not on this machine yet")
    train, suite = usual_settings(config), config.suite
    work = (config.base, config.base_prediction, train, suite, workers)
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context, _leave_signals) as pool:
            step, denoised, decoded, cpu = pool.submit(_timed, *work).result()
    except OutOfMemoryError:
        return TimedUnits(None, "a training step does not fit the memory that is free now")
    except BrokenProcessPool:
        return TimedUnits(None, "the process that timed steps was killed, by a limit of memory?")
    except (TunerError, OSError, ImportError, MemoryError) as error:
        reason = (str(error).splitlines() or ["out of memory"])[0]
        return TimedUnits(None, f"no steps could be timed: {reason}")
    native = native_size(config.base) ** 2
    trained, drawn = _area(train.size) / native, _area(suite.image_size) / native
    units = replace(
        rough_units(config),
        train=step / trained,
        sample=denoised / drawn,
        decode=decoded / drawn,
    )
    width, height = train.size
    note = (
        f"timed on this {'CPU' if cpu else 'GPU'}: {_seconds(step)} a picture to "
        f"train at {width}x{height}, {_seconds(denoised)} to denoise"
    )
    busy = busy_note(psutil.getloadavg()[0], read_machine().cores) if cpu else ""
    return TimedUnits(units, note + busy)


def _timed(
    base: str, prediction: str | None, train: TrainConfig, suite: SuiteConfig, workers: int
) -> tuple[float, float, float, bool]:
    """Return what `time_work` measured, without its class: to unpickle that would load torch."""
    from tuner.trial.timing import time_work

    timing = time_work(base, prediction, train, suite, workers)
    return timing.train, timing.sample, timing.decode, timing.cpu


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
