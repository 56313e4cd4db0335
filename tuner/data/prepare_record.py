"""What became of each picture that `tuner data prepare` met: a line at once, a table at the end.

The lines are what a stopped run goes on from; a picture whose file was deleted by hand stays
deleted.
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
    """One crop: the file it became, or the reason why it was set aside.

    A reason is `kind` or `kind: details`. `side` is the crop's shorter side in pixels, `padding`
    the share of it that lay outside the picture.
    """

    file: str | None = None
    reason: str | None = None
    side: int = 0
    padding: float = 0.0


@dataclass(frozen=True)
class Row:
    """One picture: its path from RAW on, SHA-256, its crops, its copy for the regularisation.

    `fingerprint` is its hash in hex where near copies of it are set aside: where a training
    picture was made of it, and where it was refused; else empty.
    """

    source: str
    sha256: str
    results: tuple[Result, ...]
    regularisation: str | None = None
    fingerprint: str = ""


@dataclass
class Record:
    """The rows so far, by their source, and the folder they are kept in."""

    out: Path
    rows: dict[str, Row] = field(default_factory=dict)
    _prints: dict[str, Fingerprint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The fingerprints are read once: every picture is held against all of them."""
        for row in self.rows.values():
            self._keep_print(row)

    def near(self, source: str, seen: str) -> str | None:
        """Another source that a fingerprint (hex) is a near copy of; None where there is none."""
        others = {name: one for name, one in self._prints.items() if name != source}
        index = first_near(_unpacked(seen), list(others.values()))
        return None if index is None else list(others)[index]

    def copy_of(self, source: str, sha256: str) -> str | None:
        """Another source of the same content; None where there is none."""
        same = (row.source for row in self.rows.values() if row.sha256 == sha256)
        return next((other for other in same if other != source), None)

    def add(self, row: Row) -> None:
        """Keep a row, on the disk at once. What its source became before is deleted."""
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
            for one in row.results:
                writer.writerow([row.source, one.file, one.reason, one.side, f"{one.padding:.3f}"])
        write_text(self.out / TABLE, text.getvalue())

    def _keep_print(self, row: Row) -> None:
        self._prints.pop(row.source, None)
        if row.fingerprint:
            self._prints[row.source] = _unpacked(row.fingerprint)

    def _delete(self, old: Row, new: Row) -> None:
        for folder, before, now in (
            (IMAGES, [one.file for one in old.results], [one.file for one in new.results]),
            (ORIGINALS_FOLDER, [old.regularisation], [new.regularisation]),
        ):
            for name in set(before) - set(now) - {None}:
                path = self.out / folder / Path(str(name)).name
                path.unlink(missing_ok=True)
                path.with_suffix(".txt").unlink(missing_ok=True)


def open_record(out: Path, settings: dict[str, object]) -> Record:
    """The record in `out`, begun where there is none.

    Raises ConfigError where `out` holds other things, or what other settings made.
    """
    path = out / LINES
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} is not empty, and no run began there; name another folder")
        write_text(path, json.dumps({"settings": settings}) + "\n")
        return Record(out)
    first, *others = _whole_lines(path)
    before = first.get("settings")
    if before != settings:
        differing = [key for key in settings if not before or before.get(key) != settings[key]]
        raise ConfigError(
            f"{out} was begun with another {', '.join(differing)}; name another folder, or ask for "
            "the same"
        )
    rows = [_row(line) for line in others]
    return Record(out, {row.source: row for row in rows})


def _unpacked(fingerprint: str) -> Fingerprint:
    return np.frombuffer(bytes.fromhex(fingerprint), np.uint8)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of the file; a last one that was cut off is taken out of it."""
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
        results = tuple(Result(**one) for one in line.pop("results"))
        return Row(results=results, **line)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{LINES} is damaged ({error}); name another folder") from None
