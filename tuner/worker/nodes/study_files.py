"""What a worker reads in the study folder, so that a worker on another machine can be sent it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuner.space import StudyConfig
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.trial import RepeatWork, TrialWork
from tuner.trial.keep import trained_before
from tuner.trial.messages import JudgeWork, Work


@dataclass(frozen=True)
class Needed:
    """Files of a study folder, and rows of results.db by trial, beside those of the base."""

    files: tuple[Path, ...]
    trials: tuple[int, ...] = ()


def read_by_all(folder: StudyFolder) -> Needed:
    """Return what every worker may read; nothing of it may be there yet.

    What each machine caches for itself is not among it.
    """
    files = [
        folder.thresholds,
        *_inside(folder.embeddings(None).parent),
        *_inside(folder.regularisation),
        *_inside(RungFolder(folder.base).samples),
    ]
    return Needed(tuple(files))


def read_for(config: StudyConfig, folder: StudyFolder, work: Work) -> Needed:
    """Return what a worker reads for `work`: files of another training, the LoRA to draw with."""
    match work:
        case TrialWork() if config.recipes:
            with Store(folder.results_db, read_only=True) as store:
                shared = trained_before(work.config, work.rungs, folder, store)
            if shared is None:
                return Needed((), (work.number,))
            files = [shared.rung(step).trained(work.config.method) for step in work.rungs]
            return Needed((shared.train_yaml, *files), (work.number, int(shared.root.name)))
        case JudgeWork():
            return Needed(_judged(folder, work.path))
        case RepeatWork() if work.part.trial is not None:
            return Needed(_repeated(folder, work, work.part.trial))
    return Needed(())


def _repeated(folder: StudyFolder, work: RepeatWork, trial: int) -> tuple[Path, ...]:
    own, step = folder.trial(trial), work.part.step
    method = read_yaml(own.train_yaml).method
    if work.part.repeat == 0:
        return own.train_yaml, own.rung(step).trained(method)
    again = folder.repeat(trial, step, work.part.repeat)
    return own.train_yaml, again.train_yaml, again.rung(step).trained(method)


def _judged(folder: StudyFolder, path: Path) -> tuple[Path, ...]:
    """Return the files of a judged file, which may be one of a folder of its own."""
    kept = folder.judged_file("x").parent
    if path.parent == kept:
        return (path,)
    whole = kept / path.relative_to(kept).parts[0]
    return tuple(each for each in sorted(whole.rglob("*")) if each.is_file())


def _inside(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path
