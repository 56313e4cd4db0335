"""`tuner label`: a page on this machine alone, on which a person says what pictures show.

It has no password: it listens on 127.0.0.1, answers only requests that name this machine and come
from its own page, and gives out nothing but the pictures that it found, by their number.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from tuner.errors import ConfigError, TunerError
from tuner.label_page import PAGE, POLICY
from tuner.labels import KEYS, Label, LabelTable
from tuner.process import stopping
from tuner.score_folder import Pictures, find_pictures, left_out
from tuner.score_report import check_outputs

_HOST = "127.0.0.1"
_NAMED = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
_PICTURE = re.compile(r"/picture/([0-9]{1,9})")
_LONGEST_BODY = 256
_TEXT, _HTML, _JSON = "text/plain; charset=utf-8", "text/html; charset=utf-8", "application/json"
_KINDS = {".png": "image/png", ".webp": "image/webp", ".bmp": "image/bmp"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class _Answer:
    body: bytes
    kind: str = _TEXT
    status: int = 200


class _RefusedError(Exception):
    """A request that is not answered; the message says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class LabelServer(ThreadingTCPServer):
    """Pictures and their labels over HTTP; `run_id` tells its page from that of an earlier run."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, found: Pictures, table: LabelTable, port: int) -> None:
        """Listen on `port`, 0 for any that is free. Raises TunerError where that cannot be."""
        self.found = found
        self.table = table
        self.run_id = secrets.token_hex(8)
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            raise TunerError(
                f"port {port} on {_HOST} cannot be used ({error}); try --port"
            ) from error

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{_HOST}:{self.server_address[1]}/"

    def server_close(self) -> None:
        """Stop listening, once the label that is being written is on the disk."""
        super().server_close()
        self.table.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of bugs; a browser that leaves a picture half-way is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def state(self) -> dict[str, Any]:
        """All that the page shows: each picture's name and label, and where to begin."""
        labels = self.table.labels()
        names = [self.found.name(path) for path, _ in self.found.prompted]
        open_ones = [index for index, label in enumerate(labels) if label.faults is None]
        pictures = [
            {"name": name, "label": _plain(label)}
            for name, label in zip(names, labels, strict=True)
        ]
        start = open_ones[0] if open_ones else len(labels) - 1
        return {"run": self.run_id, "start": start, "pictures": pictures}

    def picture(self, index: int) -> _Answer:
        """A picture's file as it is; its browser turns it upright."""
        if index >= len(self.found.prompted):
            raise _RefusedError(404, "no such picture")
        path = self.found.prompted[index][0]
        try:
            return _Answer(path.read_bytes(), _KINDS.get(path.suffix.lower(), "image/jpeg"))
        except OSError as error:
            raise _RefusedError(404, "the picture cannot be read any more") from error

    def change(self, path: str, asked: Any) -> dict[str, Any]:
        """Press a key on a picture, or undo: which picture changed, and its label."""
        if not isinstance(asked, dict) or asked.get("run") != self.run_id:
            raise _RefusedError(409, "not saved: tuner label was started anew; reload this page")
        index, key = asked.get("index"), asked.get("key")
        try:
            if path == "/undo":
                undone = self.table.undo()
                if undone is None:
                    raise _RefusedError(409, "nothing to undo")
                return {"index": undone[0], "label": _plain(undone[1])}
            if type(index) is not int or not 0 <= index < len(self.found.prompted):
                raise _RefusedError(400, "no such picture")
            if key not in KEYS:
                raise _RefusedError(400, "no such key")
            return {"index": index, "label": _plain(self.table.press(index, key))}
        except ConfigError as error:
            raise _RefusedError(500, f"not saved: {error}") from error


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    server_version, sys_version = "tuner", ""
    timeout = 30

    def do_GET(self) -> None:
        self._respond(self._get)

    def do_POST(self) -> None:
        self._respond(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line each."""

    def _get(self) -> _Answer:
        self._check_sender()
        if self.path == "/":
            return _Answer(PAGE.encode(), _HTML)
        if self.path == "/state":
            return _Answer(json.dumps(self.server.state()).encode(), _JSON)
        if picture := _PICTURE.fullmatch(self.path):
            return self.server.picture(int(picture[1]))
        raise _RefusedError(404, "there is nothing here")

    def _post(self) -> _Answer:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > _LONGEST_BODY:
            raise _RefusedError(413, "too long, or of unknown length")
        body = self.rfile.read(int(length))
        self._check_sender()
        if self.path not in ("/press", "/undo"):
            raise _RefusedError(404, "there is nothing here")
        if self.headers.get_content_type() != _JSON:
            raise _RefusedError(415, f"only {_JSON}")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _RefusedError(400, "no JSON") from error
        return _Answer(json.dumps(self.server.change(self.path, asked)).encode(), _JSON)

    def _check_sender(self) -> None:
        """Refuse what another web page sends: under a name of its own, or from its own origin."""
        host = self.headers.get("Host", "")
        if not _NAMED.fullmatch(host):
            raise _RefusedError(403, "this page answers only on this machine's own name")
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            raise _RefusedError(403, "this page answers only to itself")

    def _respond(self, work: Callable[[], _Answer]) -> None:
        try:
            answer = work()
        except _RefusedError as refused:
            answer = _Answer(f"{refused}\n".encode("utf-8", "replace"), _TEXT, refused.status)
        self.send_response(answer.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


def open_server(folder: Path, out: Path, port: int, recursive: bool = False) -> LabelServer:
    """The server for the pictures in `folder`, listening, its labels read from `out`.

    Pictures that cannot be judged, or whose prompt names a child, are left out. Raises ConfigError
    for a folder without pictures and for a table that cannot be read or written, TunerError for a
    port that is taken.
    """
    if not os.path.isdir(folder):
        what = "is a file" if os.path.exists(folder) else "is not there"
        raise ConfigError(f"{folder} {what}; name a folder of pictures")
    check_outputs(out, None)
    found = find_pictures(folder, recursive=recursive)
    inside, beside = os.path.realpath(folder), os.path.realpath(out.parent)
    paths = [os.path.join(inside, path.relative_to(folder)) for path, _ in found.prompted]
    files = [Path(os.path.relpath(path, beside)).as_posix() for path in paths]
    return LabelServer(found, LabelTable(out, files), port)


def serve(
    folder: Path, out: Path, port: int, *, recursive: bool = False, browser: bool = True
) -> None:
    """Run the page until Ctrl-C; `browser` opens it on the desktop. Raises as open_server does."""
    with stopping(), open_server(folder, out, port, recursive) as server:
        for line in left_out(server.found):
            print(line, file=sys.stderr)
        labels = server.table.labels()
        done = sum(label.faults is not None for label in labels)
        print(f"{done} of {len(labels)} pictures labelled in {out}", file=sys.stderr)
        print(f"{server.address} (Ctrl-C stops it)", flush=True)
        if browser and _has_desktop():
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        server.serve_forever()


def _has_desktop() -> bool:
    """Without one, a browser in the terminal would take the terminal away."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _plain(label: Label) -> dict[str, Any]:
    faults = None if label.faults is None else sorted(label.faults)
    return {"faults": faults, "sex": label.sex}
