"""The study in optuna-dashboard: each trial with its grids and a note, the objectives by name.

The dashboard has no password. Without `expose` it listens on this machine only and answers only
requests whose Host header names this machine, so that no web page can reach it under another host
name (DNS rebinding).
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna_dashboard import get_note, save_note, wsgi  # type: ignore[import-untyped]
from optuna_dashboard.artifact import get_artifact_path  # type: ignore[import-untyped]

from metrics.contract import Objective
from tuner.errors import ConfigError, DiskError, TunerError
from tuner.judging.calibration import ABOUT, MARK, marked, study_marks
from tuner.report.tables import measured
from tuner.results import read_results
from tuner.results.judged import of_files
from tuner.results.results import Results, is_begun
from tuner.storage import Store, StudyFolder, replacing
from tuner.storage.address import Address
from tuner.storage.rows import RungRow, TrialRow
from tuner.study.optuna_db import existing, on_server, storage
from tuner.study.optuna_study import attach_picture
from tuner.text import interval, words

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_REFRESH_SECONDS = 20.0

_Start = Callable[..., Any]
_App = Callable[[dict[str, Any], _Start], Iterable[bytes]]


def add_notes(study: optuna.Study, folder: StudyFolder) -> None:
    """Add a note with numbers and last grid to each finished trial, and the base's to the study.

    Existing notes are kept, including those that the user changed.
    """
    results, marks = read_results(folder), study_marks(folder)
    if results.base and not get_note(study):
        if not get_all_artifact_meta(study):
            attach_picture(study, results.base.grid, "base.png", folder.artifacts)
        grid = _addresses(study, folder, [results.base.grid])
        save_note(study, f"# {results.study.name}\n\n{_body(results.base, results, marks, grid)}")
    trials = study.get_trials(deepcopy=False)
    over = {trial.number: trial._trial_id for trial in trials if trial.state.is_finished()}
    for row in results.trials:
        if row.number in over:
            trial = optuna.Trial(study, over[row.number])
            _describe(trial, folder, row, results, marks)


def _describe(
    trial: optuna.Trial, folder: StudyFolder, row: TrialRow, results: Results, marks: frozenset[str]
) -> None:
    with Store(folder.results_db, read_only=True) as store:
        rungs = store.rungs(row.number)
    grid = _addresses(trial, folder, [rung.grid for rung in rungs])
    if get_note(trial):
        return
    head = f"# Trial {row.number}: {row.state}\n\n"
    if row.reason:
        head += f"{row.reason}\n\n"
    head += f"{words(row.parameters)}\n\n"
    body = _body(rungs[-1], results, marks, grid) if rungs else "It was never scored.\n"
    save_note(trial, head + body)


def _addresses(
    owner: optuna.Study | optuna.Trial, folder: StudyFolder, grids: Sequence[Path]
) -> str | None:
    """Return the dashboard's address of the last of `grids`, which are sorted by file name.

    Optuna records an artifact before it writes the file. After a full disk only the record exists,
    and the dashboard shows an error for that trial; so a missing file is copied here again.
    """
    known = sorted(get_all_artifact_meta(owner), key=lambda meta: meta.filename)
    for meta, grid in zip(known, grids, strict=False):
        artifact = folder.artifacts / meta.artifact_id
        if not artifact.is_file() and grid.is_file():
            with replacing(artifact) as temporary:
                shutil.copyfile(grid, temporary)
    return get_artifact_path(owner, known[-1].artifact_id) if known else None


def _body(rung: RungRow, results: Results, marks: frozenset[str], grid: str | None) -> str:
    """Return a Markdown table of the rung's and the base's numbers, and the grid."""
    base = results.base
    lines = ["| | value and 95 % interval | judged | base |", "|---|---|---|---|"]
    for values, base_values in (
        (rung.objectives, base.objectives if base else {}),
        (rung.rates, base.rates if base else {}),
    ):
        lines += [_line(value, base_values.get(name), marks) for name, value in values.items()]
    of_base = base.measures if base else {}
    lines += [
        f"| {name} | {measured(each)} | {each.n} of {each.total} | {measured(of_base.get(name))} |"
        for name, each in rung.measures.items()
        if name not in rung.objectives
    ]
    if marks & {*rung.objectives, *rung.rates}:
        lines += ["", ABOUT.replace(MARK, f"\\{MARK}")]
    where = "without LoRA" if rung.trial is None else f"step {rung.step}"
    picture = f"\n\n![grid]({grid})\n" if grid else "\n"
    return f"{where}\n\n" + "\n".join(lines) + picture


def _line(value: Objective, base: Objective | None, marks: frozenset[str]) -> str:
    of_base = interval(base) if base else "-"
    name = marked(value.name, marks).replace(MARK, f"\\{MARK}")  # Markdown would make it emphasis
    return f"| {name} | {interval(value)} | {value.n} of {value.total} | {of_base} |"


def serve_dashboard(
    folder: StudyFolder,
    host: str = "127.0.0.1",
    port: int = 8080,
    expose: bool = False,
    server: Address | None = None,
) -> None:
    """Run the dashboard until Ctrl-C; trials that end meanwhile get their grids and notes.

    `server` keeps Optuna's study in place of optuna.db. Raises ConfigError if other machines can
    reach the host and `expose` is not set, and TunerError if the port is in use.
    """
    if host not in LOOPBACK and not expose:
        raise ConfigError(
            f"the dashboard has no password, and on {host} everyone who reaches this machine "
            "could change or delete the study; add --expose if you want that"
        )
    if is_begun(folder) and of_files(read_results(folder)):
        raise ConfigError(
            f"{folder.root} judges existing files and has no optuna.db; its report.html shows them"
        )
    if server is None:
        _refuse_unusable(folder)
    _refuse_taken(host, port)
    with storage(folder, server, wait_seconds=0) as memory:
        add_notes(_study(memory, folder, server), folder)
        store = FileSystemArtifactStore(folder.artifacts)
        app: _App = wsgi(memory, artifact_store=store)
        if not expose:
            app = allow_hosts(app, (*LOOPBACK, host))
        with make_server(host, port, app, _ThreadedServer, _SilentHandler) as listening:
            stop = threading.Event()
            thread = threading.Thread(target=_refresh, args=(folder, server, stop), daemon=True)
            thread.start()
            shown = f"[{host}]" if ":" in host else host
            print(f"http://{shown}:{port}/ (Ctrl-C stops it)", flush=True)
            try:
                listening.serve_forever()
            finally:
                stop.set()
                thread.join(timeout=5)


def _study(
    memory: optuna.storages.RDBStorage, folder: StudyFolder, server: Address | None
) -> optuna.Study:
    if server is None:
        return existing(memory, folder)
    return on_server(memory, read_results(folder).study.name, server)


def _refuse_unusable(folder: StudyFolder) -> None:
    if not folder.optuna_db.is_file():
        raise ConfigError(
            f"{folder.root} has no {folder.optuna_db.name}, which the dashboard shows (a published "
            "study is kept without it); `tuner report` and `tuner status` show its results"
        )
    if not all(os.access(path, os.W_OK) for path in (folder.root, folder.optuna_db)):
        raise DiskError(
            f"{folder.optuna_db} cannot be written, and the dashboard adds notes to it; change its "
            "permissions, or copy the study"
        )


def allow_hosts(app: _App, names: Iterable[str]) -> _App:
    """Return `app` with a guard: it answers only requests whose Host header is one of `names`."""
    allowed = set(names)

    def guarded(environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        host = str(environ.get("HTTP_HOST", ""))
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.strip("[]") in allowed:
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this dashboard answers only on this machine's own name\n"]

    return guarded


def _refresh(folder: StudyFolder, server: Address | None, stop: threading.Event) -> None:
    while not stop.wait(_REFRESH_SECONDS):
        try:
            with storage(folder, server, wait_seconds=0) as memory:
                add_notes(_study(memory, folder, server), folder)
        except (TunerError, optuna.exceptions.StorageInternalError):
            # The running study has locked the database, or the server does not answer; the next
            # refresh tries again.
            continue


def _refuse_taken(host: str, port: int) -> None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise TunerError(f"port {port} on {host} cannot be used ({error}); try --port") from error


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: a line for each request would be noise."""
