"""Do work on a worker, and try again after a lost worker or, without memory, in smaller batches.

A rung that was scored is never sampled again. After a lost worker a trial is trained from the start
up to its next rung, which on a CPU gives the same weights: a run depends only on its configuration
and seed.
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
from tuner.trial.messages import BaseNeeded, ExtraScored, Idle, JudgeWork, Outcome
from tuner.worker.channel import WorkerLostError
from tuner.worker.worker import Worker

MOST_LOSSES = 3
"""A trial has failed after this many workers were lost in a row at one rung."""


def trial_attempts(
    worker: Worker, budget: BudgetConfig, number: int, config: TrainConfig
) -> Generator[Outcome, None, None]:
    """Run trial `number` with `config`; yield its events, and a Rung for each of its rungs.

    If it runs out of memory, it goes on where there is more, on another node. If nothing has more,
    training starts again with the next smaller batch that divides the old one (half of an even
    batch) and accumulates gradients over as many pictures a step. Raises OutOfMemoryError if the
    batch cannot be smaller, WorkerLostError after MOST_LOSSES losses at one rung, and what
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
                yield Retried(number, f"{error}; the trial's rungs are complete")
                return
            moved = _of_memory(error) and worker.outgrow()
            losses += 1
            next_config = _next_config(config, error, phase, losses, moved)
            next_one = "a node with more memory" if moved else "a new one"
            reason = f"{error}; {next_one} continues {_place(rungs, left)}"
            if next_config is not config:
                # From the start, so that all rungs of the trial come from one training.
                config, left, losses = next_config, rungs, 0
                reason = f"out of memory; {_batches(config)}"
            yield Retried(number, reason)


def smaller_batch(config: TrainConfig) -> TrainConfig | None:
    """Return `config` with smaller batches and as many pictures a step; None at batch size 1."""
    batch = config.batch_size
    if batch == 1:
        return None
    parts = next(parts for parts in range(2, batch + 1) if batch % parts == 0)
    added = config.gradient_accumulation * parts
    return config.model_copy(update={"batch_size": batch // parts, "gradient_accumulation": added})


def _next_config(
    config: TrainConfig,
    error: WorkerLostError | OutOfMemoryError,
    phase: str,
    losses: int,
    moved: bool,
) -> TrainConfig:
    """Return what to try after `error`: `config` again, or smaller batches.

    With `moved` the next worker has more memory than the last.

    Raises `error` if neither helps, OutOfMemoryError if the batch cannot be smaller.
    """
    if moved:
        return config
    if _ran_out(error, phase):
        smaller = smaller_batch(config)
        if smaller is None:
            raise OutOfMemoryError(f"even with one picture at a time ({error})") from error
        return smaller
    if losses == MOST_LOSSES or isinstance(error, OutOfMemoryError):
        raise error
    return config


def _ran_out(error: WorkerLostError | OutOfMemoryError, phase: str) -> bool:
    """Return True if training needed more memory than there was."""
    return phase == "train" and _of_memory(error)


def _of_memory(error: WorkerLostError | OutOfMemoryError) -> bool:
    return isinstance(error, OutOfMemoryError) or error.out_of_memory


def _batches(config: TrainConfig) -> str:
    return (
        f"trying again with batches of {config.batch_size} and gradients accumulated over "
        f"{config.gradient_accumulation}"
    )


def _place(rungs: Sequence[int], left: Sequence[int]) -> str:
    done = len(rungs) - len(left)
    return f"after step {rungs[done - 1]}" if done else "from the start"


def repeat_attempts(worker: Worker, work: RepeatWork | JudgeWork) -> Generator[Outcome, None, None]:
    """Do one part of a confirmation or sample one file, and try again if the worker is lost.

    If memory runs out, it is tried again on a node with more, if there may be one.

    Raises TooManyFailuresError after MOST_LOSSES losses, OutOfMemoryError, and what
    `tuner.trial.repeat.run_repeat` or `tuner.trial.judged.run_judged` raises.
    """
    trial = work.number if isinstance(work, JudgeWork) else work.part.trial
    losses = 0
    while True:
        try:
            with closing(worker.do(work)) as outcomes:
                for outcome in outcomes:
                    yield outcome
                    if isinstance(outcome, Rung):
                        return
        except (WorkerLostError, OutOfMemoryError) as error:
            if _of_memory(error):
                if not worker.outgrow():
                    raise OutOfMemoryError(str(error)) from error
                yield Retried(trial, f"{error}; a node with more memory tries again")
                continue
            losses += 1
            if losses == MOST_LOSSES:
                raise TooManyFailuresError(f"{losses} times in a row {error}") from error
            yield Retried(trial, f"{error}; a new one tries again")


def base_scores(
    worker: Worker, config: StudyConfig, folder: StudyFolder, store: Store
) -> Generator[Event | Idle | BaseNeeded, None, None]:
    """Start the worker, store the base's scores in results.db if they are new, and yield them.

    Raises ConfigError for an objective that cannot be measured with this base, suite and data,
    TooManyFailuresError if the worker cannot be started.
    """
    starts = 0
    while True:
        try:
            with closing(worker.start()) as outcomes:
                for outcome in outcomes:
                    yield from _store_outcome(outcome, folder, store)
            break
        except (WorkerLostError, OutOfMemoryError) as error:
            if _of_memory(error) and worker.outgrow():
                yield Retried(None, f"{error}; a node with more memory starts")
                continue
            if isinstance(error, OutOfMemoryError):
                raise TunerError(
                    f"not enough memory to load and sample the base: {error}; free some and run "
                    "the same command again"
                ) from error
            starts += 1
            if starts == MOST_LOSSES:
                raise TooManyFailuresError(f"{starts} times in a row {error}") from error
            yield Retried(None, f"{error}; a new one starts")
    row = store.rungs(None)[0]
    require_objectives(config.objectives, row)
    yield RungScored(None, 0, row.objectives, row.rates, row.grid, None, row.measures)


def _store_outcome(
    outcome: Outcome, folder: StudyFolder, store: Store
) -> Generator[Event | Idle | BaseNeeded, None, None]:
    """Store the scores of the base; yield any other outcome."""
    match outcome:
        case Rung():
            store.put_rung(outcome.row(None, RungFolder(folder.base).grid), outcome.scored)
        case ExtraScored():
            store.put_extra(outcome.row, outcome.scored)
        case event:
            yield event


def require_objectives(names: Sequence[str], base: RungRow) -> None:
    """Raise ConfigError for objectives that could not be measured on the base."""
    missing = [name for name in names if name not in base.objectives]
    if unprompted := [name for name in missing if name not in SET_OBJECTIVES]:
        raise ConfigError(
            f"no prompt of the suite tests {', '.join(unprompted)}: drop it from objectives, or "
            "give the suite prompts with a sex (gender) and without clothes (clothing)"
        )
    if missing:
        notes = {name: base.measures.get(name) for name in missing}
        reasons = [
            f"{n} ({m.note if m else 'the base was scored without it'})" for n, m in notes.items()
        ]
        raise ConfigError(f"{', '.join(reasons)} cannot be measured here: drop it from objectives")
