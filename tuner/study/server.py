"""Connections to the PostgreSQL server that keeps a study for Optuna in place of optuna.db.

A server that stops answering while a study runs, such as one that is restarted, is waited for. No
error shows a password.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import optuna
import sqlalchemy

from tuner.errors import ConfigError, TunerError
from tuner.storage.address import FORM, Address
from tuner.terminal import say
from tuner.text import readable

WAIT_SECONDS = 300.0
"""Time for a server to answer again; its restart or a new version of it takes a minute or two."""

_EVERY_SECONDS = 2.0
"""Pause between two attempts to connect; a connection costs the server little."""

_CONNECTION = {
    "connect_timeout": 10,
    # A server that is gone without a word is noticed after a minute instead of hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Parameters of libpq; the last in milliseconds, the others in seconds."""

_WITH_PASSWORD = f"give the address with its password: TUNER_STORAGE={FORM}, or --storage"
_WAYS = (
    ("no password supplied", _WITH_PASSWORD),
    ("authentication failed", _WITH_PASSWORD),
    ("failed to resolve host", "correct the name of the server"),
    ("does not exist", "create it on the server, or correct the address"),
    ("permission denied", "let the server's administrator give this user rights to the database"),
)
"""Words in an error that the user corrects in the address or on the server, and how."""


@contextlib.contextmanager
def server_storage(
    address: Address, wait_seconds: float | None = None
) -> Iterator[optuna.storages.RDBStorage]:
    """Open Optuna's storage on a server, and close it at the end.

    Once it was reached, a server that stops answering is waited for up to `wait_seconds` (None:
    WAIT_SECONDS). Raises ConfigError for an address or a user that the server does not know, and
    TunerError if it cannot be reached.
    """
    _require_driver()
    with _server_errors(address):
        memory = optuna.storages.RDBStorage(
            _url(address),
            engine_kwargs={"connect_args": _CONNECTION, "pool_pre_ping": True},
            skip_compatibility_check=True,
        )
        try:
            _wait_for_server(
                memory, address, WAIT_SECONDS if wait_seconds is None else wait_seconds
            )
            yield memory
        finally:
            memory.remove_session()
            memory.engine.dispose()


def _require_driver() -> None:
    try:
        import psycopg  # noqa: F401 - SQLAlchemy imports it by name
    except ImportError as error:
        raise ConfigError(
            "a study on a PostgreSQL server needs psycopg, which is not installed: "
            "pip install 'tuner[postgres]'"
        ) from error


def _url(address: Address) -> str:
    url = sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=address.user,
        password=address.password,
        host=address.host,
        port=address.port,
        database=address.database,
        query=dict(address.options),
    )
    return url.render_as_string(hide_password=False)


def _wait_for_server(memory: optuna.storages.RDBStorage, address: Address, seconds: float) -> None:
    """Make each new connection of `memory` wait for a server that does not answer.

    SQLAlchemy tests a connection before each use, and makes a new one in place of a lost one. Once
    the time is over, or the user stopped the wait, no further attempt waits.
    """
    over = seconds <= 0

    @sqlalchemy.event.listens_for(memory.engine, "do_connect")
    def connect(dialect: sqlalchemy.Dialect, _: object, args: list[str], named: dict[str, str]):  # type: ignore[no-untyped-def]
        nonlocal over
        until, waits = time.monotonic() + seconds, False
        while True:
            try:
                connection = dialect.connect(*args, **named)
            except dialect.loaded_dbapi.OperationalError as error:
                if over or time.monotonic() >= until:
                    over = True
                    raise
                if not waits:
                    say(
                        f"{address} does not answer ({_text(error, address)}); trying again for "
                        f"{seconds:.0f} s"
                    )
                waits = True
                try:
                    time.sleep(min(_EVERY_SECONDS, seconds))
                except BaseException:
                    over = True
                    raise
                continue
            if waits:
                say(f"{address} answers again; the study goes on")
            return connection


@contextlib.contextmanager
def _server_errors(address: Address) -> Iterator[None]:
    """Turn an error of the server below Optuna into one line for the user."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlalchemy.exc.DBAPIError):
            cause = cause.__cause__
        if cause is None or cause.orig is None:
            raise
        # The chain of errors below is not shown: a driver could name what it was given.
        raise _server_error(cause.orig, address) from None


def _server_error(error: BaseException, address: Address) -> TunerError:
    text = _text(error, address)
    for words, way in _WAYS:
        if words in text:
            return ConfigError(f"{address} cannot be used: {text}; {way}")
    return TunerError(
        f"{address} cannot be reached or used: {text}; nothing is lost, the same command continues "
        "once the server answers"
    )


def _text(error: BaseException, address: Address) -> str:
    """Return what the server or the driver says in one line, without the password."""
    text = str(error)
    if address.password:
        text = text.replace(address.password, "***")
    return readable(" ".join(text.split()))[:500]
