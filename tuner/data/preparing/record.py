"""The record of `tuner data prepare`: a line for each picture at once, a table at the end.

A stopped run continues from the lines; a picture whose file was deleted by hand stays deleted.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data.folder import ORIGINALS_FOLDER
from tuner.data.near_copies import Fingerprint, first_near
from tuner.errors import ConfigError
from tuner.storage import replacing
from tuner.storage.files import write_text

IMAGES = "images"
LINES = "prepared.jsonl"
TABLE = "prepared.csv"


@dataclass(frozen=True)
class Result:
    """One crop: its file, or the reason why it was set aside.

    A reason is `kind` or `kind: details`. `side` is the crop's shorter side in pixels, `padding`
    the share of it outside the picture.
    """

    file: str | None = None
    reason: str | None = None
    side: int = 0
    padding: float = 0.0


@dataclass(frozen=True)
class Row:
    """One picture: its path below RAW, SHA-256, its crops, its copy for the regularisation.

    `fingerprint` is its hash in hex if near copies of it are to be set aside: if a training
    picture was made from it or it was refused; else empty.
    """

    source: str
    sha256: str
    results: tuple[Result, ...]
    regularisation: str | None = None
    fingerprint: str = ""


@dataclass
class Record:
    """Rows so far, by source, and the folder of their files."""

    out: Path
    rows: dict[str, Row] = field(default_factory=dict)
    _prints: dict[str, Fingerprint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Unpack the fingerprints once: every picture is compared with all of them."""
        for row in self.rows.values():
            self._keep_print(row)

    def near(self, source: str, fingerprint: str) -> str | None:
        """Return another source whose picture is a near copy of a fingerprint (hex), or None."""
        others = {name: other for name, other in self._prints.items() if name != source}
        index = first_near(_unpacked(fingerprint), list(others.values()))
        return None if index is None else list(others)[index]

    def copy_of(self, source: str, sha256: str) -> str | None:
        """Return another source of the same content, or None."""
        same = (row.source for row in self.rows.values() if row.sha256 == sha256)
        return next((other for other in same if other != source), None)

    def add(self, row: Row) -> None:
        """Store a row, on disk at once. Files of an older row of its source are deleted."""
        if (old := self.rows.get(row.source)) is not None:
            self._delete(old, row)
        with (self.out / LINES).open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        self.rows[row.source] = row
        self._keep_print(row)

    def write_table(self) -> None:
        """Write the table, a row for each crop."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["source", "file", "reason", "side", "padding"])
        for row in sorted(self.rows.values(), key=lambda row: row.source):
            for crop in row.results:
                cells = [crop.file, crop.reason, crop.side, f"{crop.padding:.3f}"]
                writer.writerow([row.source, *cells])
        write_text(self.out / TABLE, text.getvalue())

    def _keep_print(self, row: Row) -> None:
        self._prints.pop(row.source, None)
        if row.fingerprint:
            self._prints[row.source] = _unpacked(row.fingerprint)

    def _delete(self, old: Row, new: Row) -> None:
        for folder, before, now in (
            (IMAGES, [crop.file for crop in old.results], [crop.file for crop in new.results]),
            (ORIGINALS_FOLDER, [old.regularisation], [new.regularisation]),
        ):
            for name in set(before) - set(now) - {None}:
                path = self.out / folder / Path(str(name)).name
                path.unlink(missing_ok=True)
                path.with_suffix(".txt").unlink(missing_ok=True)


def open_record(out: Path, settings: dict[str, object]) -> Record:
    """Read the record in `out`, or begin one.

    Raises ConfigError if `out` has other files or was made with other settings.
    """
    path = out / LINES
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} is not empty and no run began there; name another folder")
        write_text(path, json.dumps({"settings": settings}) + "\n")
        return Record(out)
    first, *others = _whole_lines(path)
    before = first.get("settings")
    if before != settings:
        differing = [key for key in settings if not before or before.get(key) != settings[key]]
        raise ConfigError(
            f"{out} was begun with another {', '.join(differing)}; name another folder or use the "
            "same settings"
        )
    rows = [_row(line) for line in others]
    return Record(out, {row.source: row for row in rows})


def _unpacked(fingerprint: str) -> Fingerprint:
    return np.frombuffer(bytes.fromhex(fingerprint), np.uint8)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Read the lines of the file; remove from it a last line that was cut off."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        with replacing(path) as temporary:
            temporary.write_text(whole, encoding="utf-8", newline="\n")
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
    except ValueError:
        lines = []
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise ConfigError(f"{path} is damaged; name another folder")
    return lines


def _row(line: dict[str, Any]) -> Row:
    try:
        results = tuple(Result(**crop) for crop in line.pop("results"))
        return Row(results=results, **line)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{LINES} is damaged ({error}); name another folder") from None
