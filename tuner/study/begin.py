"""Open a study's databases to run it: begin it, or make sure that its folder holds this study.

Nothing is written into a folder whose parts do not belong together: a trial that was measured would
be trained over, or the results of two studies mixed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tuner.errors import ConfigError
from tuner.space import StudyConfig
from tuner.storage import Store, StudyFolder, locked, replacing
from tuner.storage.address import Address
from tuner.storage.rows import StudyRow, TrialRow
from tuner.storage.sqlite import remove_log, write_ahead
from tuner.study.one_trial import Session
from tuner.study.optuna_db import create, is_begun, is_empty, opened, opened_on_server
from tuner.study.record import record_study, refuse_other


@contextlib.contextmanager
def open_session(
    config: StudyConfig,
    folder: StudyFolder,
    data: Mapping[str, str],
    server: Address | None = None,
    shared: bool = False,
) -> Iterator[Session]:
    """Hold the study's lock and open both databases; begin a study that was not begun.

    `data` has the hash of each training set by name; `server` keeps Optuna's study in place of
    optuna.db. With `shared` other machines read results.db on a shared disk. Each database appears
    whole, so that a run that is killed here can be repeated. Raises ConfigError, before anything is
    written, if the folder holds another study, or lost a part of this one.
    """
    folder.create()
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(folder.lock))
        _sweep(folder)
        study, trials = _stored(folder)
        if study is not None:
            refuse_other(study, config, folder, data)
        if server is None:
            memory = stack.enter_context(_opened_here(config, folder, data, trials))
        else:
            begun = study is not None
            memory = stack.enter_context(opened_on_server(server, config, folder, data, begun))
        place = server or folder.optuna_db
        _refuse_lost(folder, place, trials, memory.get_trials(deepcopy=False))
        if not folder.exists():
            remove_log(folder.results_db)
            with replacing(folder.results_db) as part, Store(part) as store:
                record_study(config, folder, store, data)
        if not shared:  # the write-ahead log needs the memory of one machine
            stack.enter_context(write_ahead(folder.results_db))
        store = stack.enter_context(Store(folder.results_db))
        record_study(config, folder, store, data)
        yield Session(config, folder, memory, store)


@contextlib.contextmanager
def _opened_here(
    config: StudyConfig, folder: StudyFolder, data: Mapping[str, str], trials: Sequence[TrialRow]
) -> Iterator[optuna.Study]:
    """Open the study in optuna.db; begin it if it was not begun and results.db has no `trials`."""
    if not (is_begun(folder) if not trials else not is_empty(folder.optuna_db)):
        _refuse_lost(folder, folder.optuna_db, trials, [])
        create(config, folder, data)
    with write_ahead(folder.optuna_db), opened(config, folder, data) as memory:
        yield memory


def _sweep(folder: StudyFolder) -> None:
    """Remove the parts of files that were being made when their process was killed."""
    for path in (folder.optuna_db, folder.results_db, folder.study_yaml):
        for part in folder.root.glob(f".{path.stem}.*.tmp{path.suffix}*"):
            part.unlink(missing_ok=True)


def _stored(folder: StudyFolder) -> tuple[StudyRow | None, Sequence[TrialRow]]:
    """Return the study and its trials in results.db; None and none before it was begun."""
    if not folder.exists():
        return None, ()
    with Store(folder.results_db) as store:
        return store.study(), store.trials()


def _refuse_lost(
    folder: StudyFolder,
    place: Path | Address,
    rows: Sequence[TrialRow],
    tries: Sequence[FrozenTrial],
) -> None:
    """Raise ConfigError if the databases and the trials' folders are not of one study.

    Optuna knows a trial before it is written anywhere else, and its end is reported to Optuna
    first, once its rungs are in results.db for good. So a trial that only results.db or a folder
    has means that optuna.db (or the server's database; `place`) was lost, replaced or put back from
    an older copy, and a complete trial that only Optuna has means the same of results.db. The next
    trial would then be trained over one that was measured.
    """
    way = (
        f"; nothing was changed: put back the file that belongs to it, or move {folder.root} away "
        "and begin anew"
    )
    known = {trial.number: trial.params for trial in tries}
    strange = [row.number for row in rows if known.get(row.number) != dict(row.parameters)]
    if strange:
        state = "is lost or empty" if not tries else "is of another study or an older copy"
        raise ConfigError(
            f"{place} {state}: it does not have {_named(strange)} of {folder.results_db.name}{way}"
        )
    stored = {row.number for row in rows}
    complete = [each.number for each in tries if each.state == TrialState.COMPLETE]
    if strange := sorted({*complete} - stored):
        state = "is of another study or an older copy" if rows else "is lost or empty"
        raise ConfigError(
            f"{folder.results_db} {state}: it does not have {_named(strange)} of "
            f"{place.name if isinstance(place, Path) else place}{way}"
        )
    on_disk = [int(path.name) for path in folder.trials.glob("[0-9]*") if path.name.isdecimal()]
    if strange := sorted(number for number in on_disk if number >= len(tries)):
        raise ConfigError(
            f"{folder.trials} has {_named(strange)}, which the databases beside it do not have{way}"
        )


def _named(numbers: Sequence[int]) -> str:
    """Return trials in words, the first three by number."""
    first = ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
    return f"trial{'s' if len(numbers) > 1 else ''} {first}"
