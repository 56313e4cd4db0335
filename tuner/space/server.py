"""The server that keeps Optuna's study: the key `storage`, the option, and what was recorded."""

from __future__ import annotations

import contextlib
import os

from tuner.errors import ConfigError
from tuner.space.config import StudyConfig
from tuner.space.file import load_tree
from tuner.space.problems import Problem
from tuner.storage import StudyFolder
from tuner.storage.address import Address, read_address


def read_storage(value: object) -> tuple[object, list[Problem]]:
    """Return the value of the key `storage` as it is recorded, and its problems.

    A text is never shown: it may have a password, which no file may have.
    """
    if value is None:
        return None, []
    try:
        address = read_address(value if isinstance(value, str) else "")
    except ConfigError as error:
        return None, [Problem(("storage",), str(error))]
    if address.password is None:
        return str(address), []
    reason = "it has a password, which no file may have: take the password out of the address here"
    return None, [Problem(("storage",), f"{reason}, and give the whole address in TUNER_STORAGE")]


def choose_storage(
    config: StudyConfig, folder: StudyFolder, given: str | None
) -> tuple[StudyConfig, Address | None]:
    """Return the study with the storage to record, and the server's address; None: optuna.db.

    `given` is the address of the option `--storage` or of TUNER_STORAGE, with its password. Without
    it the key `storage` counts, then what `folder` recorded. Raises ConfigError if that is another
    storage than the one in which the study was begun.
    """
    recorded = recorded_storage(folder)
    wanted = given or config.storage
    if wanted is None and recorded is None:
        return config, None
    address = read_address(wanted) if wanted else recorded
    assert address is not None
    if recorded is not None:
        _refuse_other(folder, recorded, address)
        _refuse_renamed(folder, config)
    elif os.path.isfile(folder.optuna_db) and os.path.getsize(folder.optuna_db):
        raise ConfigError(
            f"{folder.root} was begun with {folder.optuna_db.name} and stays with it: run it "
            "without --storage and without the variable TUNER_STORAGE, or give the study another "
            "name (`study:` in its file)"
        )
    return config.model_copy(update={"storage": str(address)}), address


def storage_of(folder: StudyFolder, given: str | None) -> Address | None:
    """Return the address of the server that keeps the study of `folder`; None: optuna.db.

    `given` has the password. Raises ConfigError if it is of another server or database.
    """
    recorded = recorded_storage(folder)
    if recorded is None or not given:
        return recorded
    address = read_address(given)
    _refuse_other(folder, recorded, address)
    return address


def recorded_storage(folder: StudyFolder) -> Address | None:
    """Return the address, without a password, that study.yaml has; None without one."""
    value = _recorded(folder, "storage")
    return read_address(value) if isinstance(value, str) else None


def _recorded(folder: StudyFolder, key: str) -> object:
    if not os.path.isfile(folder.study_yaml):  # no error for a folder that may not be read
        return None
    with contextlib.suppress(ConfigError):  # `tuner run` writes a lost or broken study.yaml again
        return load_tree(folder.study_yaml).values.get(key)
    return None


def _refuse_other(folder: StudyFolder, recorded: Address, address: Address) -> None:
    if address.place != recorded.place:
        raise ConfigError(
            f"{folder.root} keeps Optuna's study in {recorded}, not in {address}: give that "
            "address with its password, --storage or better TUNER_STORAGE; if the database was "
            f"moved, correct `storage` in {folder.study_yaml}"
        )


def _refuse_renamed(folder: StudyFolder, config: StudyConfig) -> None:
    name = _recorded(folder, "study")
    if name != config.study:
        raise ConfigError(
            f"{folder.root}: its study is called {name} on the server, where no study can be "
            f"renamed; write `study: {name}` in the search space, and name the folder {name}"
        )
