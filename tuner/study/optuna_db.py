"""Optuna's study, in optuna.db or on a server: begin it, open it, and find it there.

The file is made beside its place and then moved there: it is whole or it does not exist, at
whatever moment a run is killed. Its study keeps the name under which it was begun. On a server are
the studies of many folders: a study there says in which folder it was begun.
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import optuna
import sqlalchemy
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tuner.errors import ConfigError
from tuner.space import StudyConfig, space_hash
from tuner.storage import StudyFolder, replacing
from tuner.storage.address import Address
from tuner.storage.sqlite import BUSY_SECONDS, database_error, remove_log, write_ahead
from tuner.study.memory.mirror import Mirror
from tuner.study.record import Begun, refuse_changed
from tuner.study.samplers import start_parameters
from tuner.study.server import server_storage

_HASH, _DATA, _OBJECTIVES = "space_hash", "data", "objectives"
_FOLDER = "begun_in"
"""Attribute of a study on a server: the host and the folder in which it was begun."""


@contextlib.contextmanager
def opened(
    config: StudyConfig, folder: StudyFolder, data: Mapping[str, str]
) -> Iterator[optuna.Study]:
    """Open the Optuna study in `folder`, or create it with its starting points queued.

    `data` has the hash of each training set by name. Raises ConfigError when optuna.db holds a
    study of another space, of other data or of other objectives, and TunerError when the database
    cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if is_empty(folder.optuna_db):
        create(config, folder, data)
    with storage(folder) as memory:
        study = existing(memory, folder)
        _refuse_changed(study, folder.optuna_db, config, folder, data)
        yield _mirrored(study, memory)


@contextlib.contextmanager
def opened_on_server(
    address: Address, config: StudyConfig, folder: StudyFolder, data: Mapping[str, str], begun: bool
) -> Iterator[optuna.Study]:
    """Open the study on a server, or create it there; `begun`: results.db has it already.

    Raises ConfigError for a study of that name which was begun in another folder, one that was
    begun and is lost on the server, and what `opened` raises.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage(folder, address) as memory:
        known = config.study in optuna.get_all_study_names(memory)
        if known and not begun:
            study = optuna.load_study(study_name=config.study, storage=memory)
            _refuse_foreign(study, address, folder)
            if _HASH not in study.user_attrs:  # a run was killed while it created the study
                optuna.delete_study(study_name=config.study, storage=memory)
                known = False
        if not known and not begun:
            with _unless_taken(address, config.study):
                study = optuna.create_study(
                    storage=memory, study_name=config.study, directions=_directions(config)
                )
            study.set_user_attr(_FOLDER, _place(folder))
            _fill(study, config, data)
        study = on_server(memory, config.study, address)
        _refuse_changed(study, address, config, folder, data)
        yield _mirrored(study, memory)


def _mirrored(study: optuna.Study, memory: optuna.storages.RDBStorage) -> optuna.Study:
    """Return the study with its trials in memory, for the process that runs it."""
    mirror = Mirror(memory, study._study_id)
    return optuna.load_study(study_name=study.study_name, storage=mirror)


def on_server(memory: optuna.storages.RDBStorage, name: str, address: Address) -> optuna.Study:
    """Return the study `name` on a server. Raises ConfigError if tuner began none of that name."""
    if name in optuna.get_all_study_names(memory):
        study = optuna.load_study(study_name=name, storage=memory)
        if _HASH in study.user_attrs:
            return study
    raise ConfigError(
        f"{address} holds no study {name} that tuner began; put the right database back, or begin "
        "anew under another name (`study:` in its file)"
    )


def _place(folder: StudyFolder) -> str:
    return f"{socket.gethostname()}:{folder.root.resolve()}"


def _refuse_foreign(study: optuna.Study, address: Address, folder: StudyFolder) -> None:
    place = study.user_attrs.get(_FOLDER)
    if place != _place(folder):
        raise _taken(address, study.study_name, f" (begun in {place})" if place else "")


def _taken(address: Address, name: str, whose: str = "") -> ConfigError:
    return ConfigError(
        f"{address} has a study {name} already{whose}, which is not that of this folder: give this "
        "one another name (`study:` in its file), or delete that one in its dashboard"
    )


@contextlib.contextmanager
def _unless_taken(address: Address, name: str) -> Iterator[None]:
    try:
        yield
    except optuna.exceptions.DuplicatedStudyError as error:  # begun elsewhere at this moment
        raise _taken(address, name) from error


def _refuse_changed(
    study: optuna.Study,
    place: Path | Address,
    config: StudyConfig,
    folder: StudyFolder,
    data: Mapping[str, str],
) -> None:
    known = study.user_attrs
    begun = Begun(place, known[_HASH], known[_OBJECTIVES], known[_DATA])
    refuse_changed(begun, config, folder, data)


def is_empty(database: Path) -> bool:
    """Return True if there is no file `database`, or nothing in it nor in its log."""
    log = database.with_name(f"{database.name}-wal")
    if not database.is_file():
        return True
    return database.stat().st_size == 0 and not (log.is_file() and log.stat().st_size)


def is_begun(folder: StudyFolder) -> bool:
    """Return True if optuna.db holds the study, or any trial that was run."""
    if is_empty(folder.optuna_db):
        return False
    with storage(folder) as memory:
        names = optuna.get_all_study_names(memory)
        studies = [optuna.load_study(study_name=name, storage=memory) for name in names]
        return any(
            _HASH in study.user_attrs
            or any(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
            for study in studies
        )


def create(config: StudyConfig, folder: StudyFolder, data: Mapping[str, str]) -> None:
    """Create optuna.db with the study's starting points queued, in place of an earlier one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    remove_log(folder.optuna_db)
    with (
        replacing(folder.optuna_db) as part,
        write_ahead(part),
        _storage(part) as memory,
    ):
        study = optuna.create_study(
            storage=memory, study_name=config.study, directions=_directions(config)
        )
        _fill(study, config, data)


def _directions(config: StudyConfig) -> list[StudyDirection]:
    return [StudyDirection.MAXIMIZE] * len(config.objectives)


def _fill(study: optuna.Study, config: StudyConfig, data: Mapping[str, str]) -> None:
    """Queue the starting points and note whose study it is; what `_HASH` says comes last."""
    for parameters in start_parameters(config):
        study.enqueue_trial(parameters, skip_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(config.objectives))
    study.set_user_attr(_DATA, dict(data))
    study.set_user_attr(_OBJECTIVES, list(config.objectives))
    study.set_user_attr(_HASH, space_hash(config))


@contextlib.contextmanager
def storage(
    folder: StudyFolder, address: Address | None = None, wait_seconds: float | None = None
) -> Iterator[optuna.storages.RDBStorage]:
    """Open optuna.db, or the server's database, for reading and writing; close it at the end.

    `wait_seconds` is that of `server_storage`. Raises ConfigError if another version of Optuna
    wrote it with another schema, and TunerError if it is missing or cannot be used.
    """
    if address is not None:
        with server_storage(address, wait_seconds) as memory:
            _refuse_other_schema(memory, address)
            yield memory
        return
    if not folder.optuna_db.is_file():
        raise ConfigError(f"{folder.optuna_db} is not there; put it back")
    with _storage(folder.optuna_db) as memory:
        yield memory


@contextlib.contextmanager
def _storage(database: Path) -> Iterator[optuna.storages.RDBStorage]:
    url = sqlalchemy.URL.create("sqlite", database=str(database.resolve()))
    with _database_errors(database):
        memory = optuna.storages.RDBStorage(
            url.render_as_string(),
            engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}},
            skip_compatibility_check=True,
        )
        try:
            _refuse_other_schema(memory, database)
            yield memory
        finally:
            memory.remove_session()
            memory.engine.dispose()


def _refuse_other_schema(memory: optuna.storages.RDBStorage, database: Path | Address) -> None:
    known, needed = memory.get_current_version(), memory.get_head_version()
    if known == needed:
        return
    with memory.engine.connect() as connection:
        query = sqlalchemy.text("select library_version from version_info")
        writer = connection.execute(query).scalar()
    way = "install an Optuna with that schema"
    if known in memory.get_all_versions():
        way += ", or run `optuna storage upgrade` on a copy of it"
    raise ConfigError(
        f"{database} was written by Optuna {writer} with the schema {known}, and this is Optuna "
        f"{optuna.__version__} with the schema {needed}: {way}; `tuner status`, `tuner report` and "
        "`tuner export` need no Optuna"
    )


def existing(memory: optuna.storages.RDBStorage, folder: StudyFolder) -> optuna.Study:
    """Return the Optuna study of `folder`, under whatever name it was begun.

    Studies that other programs added to optuna.db are passed over. Raises ConfigError when there is
    none.
    """
    names = optuna.get_all_study_names(memory)
    studies = [optuna.load_study(study_name=name, storage=memory) for name in names]
    own = {study.study_name: study for study in studies if _HASH in study.user_attrs}
    if not own:
        raise ConfigError(
            f"{folder.optuna_db} holds no study that tuner began; put the right file back, or move "
            f"{folder.root} away and begin anew"
        )
    return own.get(folder.name) or next(iter(own.values()))


@contextlib.contextmanager
def _database_errors(database: Path) -> Iterator[None]:
    """Turn an error of the database below Optuna into one line for the user."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__ or getattr(cause, "orig", None)
        if cause is None:
            raise
        raise database_error(cause, database) from error
