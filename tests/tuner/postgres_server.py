"""A PostgreSQL server of its own, in a temporary folder and on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "s3cret/w@rd #1"
"""With letters that an address cannot have as they are."""


class PostgresServer:
    """Start, stop and restart the server; `address` has the password of its user."""

    def __init__(self, binaries: Path, root: Path) -> None:
        self._binaries, self._root = binaries, root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.place = f"postgresql://team@127.0.0.1:{self.port}/postgres"
        self.address = self.place.replace("@", f":{quote(PASSWORD, safe='')}@")
        self._process: subprocess.Popen[bytes] | None = None
        secret = root / "secret"
        secret.write_text(PASSWORD)
        command = ["initdb", "-U", "team", "-A", "scram-sha-256", f"--pwfile={secret}"]
        self._run(*command, "--no-sync", "--locale=C", "-E", "UTF8", "-D", str(root / "data"))

    def _popen(self, command: str, *options: str) -> subprocess.Popen[bytes]:
        # It refuses to run as root.
        other = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen(
            [str(self._binaries / command), *options],
            cwd=self._root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **other,
        )

    def _run(self, command: str, *options: str) -> None:
        assert self._popen(command, *options).wait(timeout=120) == 0, command

    def start(self) -> None:
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        options = [part for each in settings for part in ("-c", each)]
        data = str(self._root / "data")
        self._process = self._popen("postgres", "-D", data, "-p", str(self.port), *options)
        until = time.monotonic() + 60
        ready = ["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while self._popen(*ready).wait() != 0:
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # it ends all connections, then itself
            self._process.wait(timeout=60)
            self._process = None


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skips the test where its programs or psycopg are missing."""
    pytest.importorskip("psycopg", reason="psycopg is not installed", exc_type=ImportError)
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL's programs (initdb, postgres) are not installed")
    root = Path(tempfile.mkdtemp(prefix="tuner-postgres-"))
    try:
        if os.geteuid() == 0:
            os.chown(root, pwd.getpwnam("nobody").pw_uid, -1)
        server = PostgresServer(Path(found).parent, root)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root)
