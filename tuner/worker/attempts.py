"""Work on a worker until it is done: again after a worker was lost, smaller where memory is short.

A rung that was scored is never sampled again. After a lost worker a trial is trained from its start
up to the rung that comes next, which on a CPU gives the same weights: a run depends on nothing but
its configuration and seed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

from metrics.contract import SET_OBJECTIVES
from tuner.errors import ConfigError, OutOfMemoryError, TooManyFailuresError, TunerError
from tuner.events import Event, Phase, Retried, RungScored
from tuner.space import StudyConfig, TrainConfig
from tuner.space.config import BudgetConfig, rung_steps
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.storage.rows import RungRow
from tuner.trial import RepeatWork, Rung, TrialWork
from tuner.trial.messages import ExtraScored, Idle, Outcome
from tuner.worker.worker import Worker, WorkerLostError

MOST_LOSSES = 3
"""So many workers lost in a row at one rung are no chance: the trial has failed."""


def trial_attempts(
    worker: Worker, budget: BudgetConfig, number: int, config: TrainConfig
) -> Generator[Outcome, None, None]:
    """Do trial `number` with `config`; yields what happens, and a Rung for each of its rungs.

    Where training runs out of memory it starts again with the next smaller batch that has the
    same pictures a step (half of an even one) and gradients that are added up. Raises
    OutOfMemoryError where none is left, WorkerLostError after MOST_LOSSES at one rung, and what
    `tuner.trial.run_trial` raises.
    """
    rungs = left = rung_steps(config, budget)
    losses, phase = 0, "train"
    while True:
        try:
            with closing(worker.do(TrialWork(number, config, left))) as outcomes:
                for outcome in outcomes:
                    yield outcome
                    if isinstance(outcome, Phase):
                        phase = outcome.name
                    if isinstance(outcome, Rung):
                        left, losses = left[1:], 0
            return
        except (WorkerLostError, OutOfMemoryError) as error:
            if not left:
                yield Retried(number, f"{error}; the trial's rungs are all there")
                return
            losses += 1
            mended = _mended(config, error, phase, losses)
            told = f"{error}; a new one goes on after {_place(rungs, left)}"
            if mended is not config:
                # From its start, so that all of its rungs come from one training.
                config, left, losses = mended, rungs, 0
                told = f"out of memory; {_batches(config)}"
            yield Retried(number, told)


def smaller_batch(config: TrainConfig) -> TrainConfig | None:
    """`config` with as many pictures a step in more, smaller batches; None at one picture each."""
    batch = config.batch_size
    if batch == 1:
        return None
    parts = next(parts for parts in range(2, batch + 1) if batch % parts == 0)
    added = config.gradient_accumulation * parts
    return config.model_copy(update={"batch_size": batch // parts, "gradient_accumulation": added})


def _mended(
    config: TrainConfig, error: WorkerLostError | OutOfMemoryError, phase: str, losses: int
) -> TrainConfig:
    """What to try after `error`: `config` again, or smaller batches. Raises where neither helps."""
    if phase == "train" and (isinstance(error, OutOfMemoryError) or error.out_of_memory):
        found = smaller_batch(config)
        if found is None:
            raise OutOfMemoryError(f"even with one picture at a time ({error})") from error
        return found
    if losses == MOST_LOSSES or isinstance(error, OutOfMemoryError):
        raise error
    return config


def _batches(config: TrainConfig) -> str:
    return (
        f"again with batches of {config.batch_size}, the gradients of "
        f"{config.gradient_accumulation} added up"
    )


def _place(rungs: Sequence[int], left: Sequence[int]) -> str:
    done = len(rungs) - len(left)
    return f"step {rungs[done - 1]}" if done else "its start"


def repeat_attempts(worker: Worker, work: RepeatWork) -> Generator[Outcome, None, None]:
    """Do a part of a confirmation, once more where the worker is lost.

    Raises TooManyFailuresError after MOST_LOSSES, and what `tuner.trial.repeat.run_repeat` raises.
    """
    trial = work.part.trial
    losses = 0
    while True:
        try:
            with closing(worker.do(work)) as outcomes:
                for outcome in outcomes:
                    yield outcome
                    if isinstance(outcome, Rung):
                        return
        except WorkerLostError as lost:
            losses += 1
            if lost.out_of_memory:
                raise OutOfMemoryError(str(lost)) from lost
            if losses == MOST_LOSSES:
                raise TooManyFailuresError(f"{losses} times in a row {lost}") from lost
            yield Retried(trial, f"{lost}; a new one does it again")


def base_told(
    worker: Worker, config: StudyConfig, folder: StudyFolder, store: Store
) -> Generator[Event, None, None]:
    """Start the worker, keep the base's scores in results.db where they are new, and tell them.

    Raises ConfigError for an objective that this base, suite and data leave no room for,
    TooManyFailuresError where the worker cannot be started.
    """
    starts = 0
    while True:
        try:
            with closing(worker.start()) as outcomes:
                for outcome in outcomes:
                    yield from _kept(outcome, folder, store)
            break
        except WorkerLostError as lost:
            starts += 1
            if starts == MOST_LOSSES:
                raise TooManyFailuresError(f"{starts} times in a row {lost}") from lost
            yield Retried(None, f"{lost}; a new one starts")
        except OutOfMemoryError as error:
            raise TunerError(
                f"no memory to load and sample the base: {error}; free some and run the same "
                "command again"
            ) from error
    row = store.rungs(None)[0]
    require_objectives(config.objectives, row)
    yield RungScored(None, 0, row.objectives, row.rates, row.grid)


def _kept(outcome: Outcome, folder: StudyFolder, store: Store) -> Generator[Event, None, None]:
    """Keep what was found of the base, and pass on what happened."""
    match outcome:
        case Rung():
            store.put_rung(outcome.row(None, RungFolder(folder.base).grid), outcome.scored)
        case ExtraScored():
            store.put_extra(outcome.row, outcome.scored)
        case Idle():
            pass
        case event:
            yield event


def require_objectives(names: Sequence[str], base: RungRow) -> None:
    """Raise ConfigError for objectives that the base has no number for."""
    missing = [name for name in names if name not in base.objectives]
    if silent := [name for name in missing if name not in SET_OBJECTIVES]:
        raise ConfigError(
            f"no prompt of the suite asks about {', '.join(silent)}: drop it from objectives, or "
            "give the suite prompts with a sex (gender) and without clothes (clothing)"
        )
    if missing:
        notes = {name: base.measures.get(name) for name in missing}
        why = [
            f"{n} ({m.note if m else 'the base was scored without it'})" for n, m in notes.items()
        ]
        raise ConfigError(f"{', '.join(why)} cannot be measured here: drop it from objectives")
