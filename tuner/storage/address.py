"""Address of a database on a PostgreSQL server: read with its secret, shown without it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from tuner.errors import ConfigError

FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"

_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding")
"""Options of a connection that an address may have; none of them is a secret."""

_SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9]+)?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_DEFAULT_PORT = 5432


@dataclass(frozen=True)
class Address:
    """Place of a database, and the user; as text (`str`) it has no password."""

    host: str
    database: str
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the address without its password."""
        user = "" if self.user is None else f"{quote(self.user, safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        options = f"?{urlencode(self.options)}" if self.options else ""
        return f"postgresql://{user}{host}{port}/{quote(self.database, safe='')}{options}"

    @property
    def place(self) -> tuple[str, int, str]:
        """Server and database, whoever the user is."""
        return self.host.lower(), self.port or _DEFAULT_PORT, self.database


def read_address(text: str) -> Address:
    """Return the address in `text`; also `postgres://` and `postgresql+DRIVER://` are read.

    Raises ConfigError for any other text. Its message shows nothing of the text, which may be or
    have a password.
    """
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        address = Address(
            host=parts.hostname or "",
            database=unquote(parts.path.removeprefix("/")),
            port=parts.port,
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            options=options,
        )
    except ValueError:
        raise _unreadable("it cannot be read") from None
    if not _SCHEME.fullmatch(parts.scheme):
        raise _unreadable("it is not of PostgreSQL")
    if parts.fragment or not _HOST.fullmatch(address.host) or re.search("[/@]", parts.path[1:]):
        raise _unreadable("it cannot be read")
    if not address.database:
        raise _unreadable("it names no database")
    if not {*options} <= {*_OPTIONS}:
        raise _unreadable(f"of options after `?` it may have {', '.join(_OPTIONS)}")
    return address


def _unreadable(reason: str) -> ConfigError:
    return ConfigError(
        f"the address of the storage: {reason} (it is not shown: it may have a password); allowed: "
        f"{FORM}, and in a password %40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, "
        "%25 for %"
    )
