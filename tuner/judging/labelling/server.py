"""Server of `tuner label`: a page on this machine only, on which a person labels pictures.

It has no password: it listens on 127.0.0.1, answers only requests that name this machine and come
from its own page, and serves no files but its pictures, by their number.
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
from tuner.judging.labelling.labels import KEYS, Label, LabelTable
from tuner.judging.labelling.page import PAGE, POLICY
from tuner.judging.score_folder import FoundPictures, find_pictures, left_out
from tuner.storage.files import check_outputs
from tuner.terminal import stopping
from tuner.text import counted

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
class _Response:
    body: bytes
    kind: str = _TEXT
    status: int = 200


class _RefusedError(Exception):
    """A refused request; the message says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class LabelServer(ThreadingTCPServer):
    """Pictures and their labels over HTTP; `run_id` tells the pages of earlier runs apart."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, pictures: FoundPictures, table: LabelTable, port: int) -> None:
        """Listen on `port`, 0 for any free one. Raises TunerError if the port cannot be used."""
        self.pictures = pictures
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
        """Address of the page."""
        return f"http://{_HOST}:{self.server_address[1]}/"

    def server_close(self) -> None:
        """Stop listening, and wait until the last label is written."""
        super().server_close()
        self.table.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors, except for a browser that closes a connection early."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def state(self) -> dict[str, Any]:
        """Return each picture's name and label, and the index of the first to show."""
        labels = self.table.labels()
        names = [self.pictures.name(path) for path, _ in self.pictures.prompted]
        unlabelled = [index for index, label in enumerate(labels) if label.faults is None]
        pictures = [
            {"name": name, "label": _plain(label)}
            for name, label in zip(names, labels, strict=True)
        ]
        start = unlabelled[0] if unlabelled else len(labels) - 1
        return {"run": self.run_id, "start": start, "pictures": pictures}

    def picture(self, index: int) -> _Response:
        """Return a picture's unchanged file; the browser applies its EXIF rotation."""
        if index >= len(self.pictures.prompted):
            raise _RefusedError(404, "no such picture")
        path = self.pictures.prompted[index][0]
        try:
            return _Response(path.read_bytes(), _KINDS.get(path.suffix.lower(), "image/jpeg"))
        except OSError as error:
            raise _RefusedError(404, "the picture cannot be read any more") from error

    def change(self, path: str, body: Any) -> dict[str, Any]:
        """Press a key on a picture, or undo; return the changed picture's index and label."""
        if not isinstance(body, dict) or body.get("run") != self.run_id:
            raise _RefusedError(409, "not saved: tuner label was restarted; reload this page")
        index, key = body.get("index"), body.get("key")
        try:
            if path == "/undo":
                undone = self.table.undo()
                if undone is None:
                    raise _RefusedError(409, "nothing to undo")
                return {"index": undone[0], "label": _plain(undone[1])}
            if type(index) is not int or not 0 <= index < len(self.pictures.prompted):
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
        """Log nothing: a line for each request does not help the user."""

    def _get(self) -> _Response:
        self._check_sender()
        if self.path == "/":
            return _Response(PAGE.encode(), _HTML)
        if self.path == "/state":
            return _Response(json.dumps(self.server.state()).encode(), _JSON)
        if picture := _PICTURE.fullmatch(self.path):
            return self.server.picture(int(picture[1]))
        raise _RefusedError(404, "no such page")

    def _post(self) -> _Response:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > _LONGEST_BODY:
            raise _RefusedError(413, "too long, or of unknown length")
        body = self.rfile.read(int(length))
        self._check_sender()
        if self.path not in ("/press", "/undo"):
            raise _RefusedError(404, "no such page")
        if self.headers.get_content_type() != _JSON:
            raise _RefusedError(415, f"only {_JSON}")
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _RefusedError(400, "no JSON") from error
        return _Response(json.dumps(self.server.change(self.path, parsed)).encode(), _JSON)

    def _check_sender(self) -> None:
        """Refuse requests of other web pages, by their host name and their origin."""
        host = self.headers.get("Host", "")
        if not _NAMED.fullmatch(host):
            raise _RefusedError(403, "use this machine's own name: 127.0.0.1 or localhost")
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            raise _RefusedError(403, "requests of other pages are refused")

    def _respond(self, handle: Callable[[], _Response]) -> None:
        try:
            response = handle()
        except _RefusedError as refused:
            response = _Response(f"{refused}\n".encode("utf-8", "replace"), _TEXT, refused.status)
        self.send_response(response.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)


def open_server(folder: Path, out: Path, port: int, recursive: bool = False) -> LabelServer:
    """Return a listening server for the pictures in `folder`, with the labels in `out`.

    Pictures that cannot be judged, or whose prompt names a child, are left out. Raises ConfigError
    for a folder without pictures and for a table that cannot be read or written, TunerError for a
    port in use.
    """
    if not os.path.isdir(folder):
        what = "is a file" if os.path.exists(folder) else "is not there"
        raise ConfigError(f"{folder} {what}; name a folder of pictures")
    check_outputs(out, None)
    pictures = find_pictures(folder, recursive=recursive)
    inside, beside = os.path.realpath(folder), os.path.realpath(out.parent)
    paths = [os.path.join(inside, path.relative_to(folder)) for path, _ in pictures.prompted]
    files = [Path(os.path.relpath(path, beside)).as_posix() for path in paths]
    return LabelServer(pictures, LabelTable(out, files), port)


def serve(
    folder: Path, out: Path, port: int, *, recursive: bool = False, browser: bool = True
) -> None:
    """Serve the page until Ctrl-C; `browser` opens it on a desktop. Raises as open_server does."""
    with stopping(), open_server(folder, out, port, recursive) as server:
        for line in left_out(server.pictures):
            print(line, file=sys.stderr)
        labels = server.table.labels()
        done = sum(label.faults is not None for label in labels)
        print(f"{done} of {counted(len(labels), 'picture')} labelled in {out}", file=sys.stderr)
        print(f"{server.address} (Ctrl-C stops it)", flush=True)
        if browser and _has_desktop():
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        server.serve_forever()


def _has_desktop() -> bool:
    """Return True if there is a desktop: otherwise a text browser would block the terminal."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _plain(label: Label) -> dict[str, Any]:
    faults = None if label.faults is None else sorted(label.faults)
    return {"faults": faults, "sex": label.sex}
