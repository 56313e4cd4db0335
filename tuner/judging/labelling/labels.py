"""labels.csv: a person's labels, a row for each picture, used to measure the judges.

The columns are the file, as a path relative to the table's folder, a 0 or 1 for each fault, and the
sex. Where only the sex is labelled, the faults are empty: nobody looked for them.
"""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metrics.contract import Sex
from tuner.errors import ConfigError
from tuner.storage import replacing
from tuner.storage.files import refuse_other_kinds

FAULTS = ("wrong_limbs", "unreadable_pose", "undressed", "picture_fault")
COLUMNS = ("file", *FAULTS, "sex")
CLEAR, SOUND = "0", "1"
FAULT_KEYS = dict(zip("2345", FAULTS, strict=True))
SEX_KEYS: dict[str, Sex] = {"f": "female", "m": "male"}
KEYS = (CLEAR, SOUND, *FAULT_KEYS, *SEX_KEYS)

_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Label:
    """The label of one picture. `faults` is empty for a sound picture, None before a decision."""

    faults: frozenset[str] | None = None
    sex: Sex | None = None

    def after(self, key: str) -> Label:
        """Return the label after a key press; pressing a fault or sex again removes it.

        A picture whose last fault is removed is undecided again; only the key SOUND makes it sound.
        """
        if key == CLEAR:
            return Label()
        if key == SOUND:
            return replace(self, faults=frozenset())
        if key in SEX_KEYS:
            sex = SEX_KEYS[key]
            return replace(self, sex=None if sex == self.sex else sex)
        faults = (self.faults or frozenset()) ^ {FAULT_KEYS[key]}
        return replace(self, faults=faults or None)


class LabelTable:
    """The labels of some pictures, by their index in `files`; each change is written at once.

    Rows of other files stay in the table. Several threads may use it.
    """

    def __init__(self, path: Path, files: Sequence[str]) -> None:
        """Read the table, if it exists. Raises ConfigError if it is not a table of labels."""
        self._path = path
        self._files = tuple(files)
        self._lock = threading.Lock()
        self._closed = False
        self._stamp = _stamp(path)
        self._labels = read_labels(path) if self._stamp else {}
        self._history: list[tuple[int, Label]] = []

    def labels(self) -> list[Label]:
        """Return the label of each file, in the order of the files."""
        with self._lock:
            return [self._labels.get(file, Label()) for file in self._files]

    def press(self, index: int, key: str) -> Label:
        """Apply a key to the label of one file, write the table, and return the new label.

        Raises ConfigError if the table cannot be written; the label is then unchanged.
        """
        with self._lock:
            before = self._labels.get(self._files[index], Label())
            after = before.after(key)
            if after != before:
                self._put(index, after)
                self._history.append((index, before))
            return after

    def undo(self) -> tuple[int, Label] | None:
        """Undo the last change and return its file's index and label; None if there is none."""
        with self._lock:
            if not self._history:
                return None
            index, label = self._history[-1]
            self._put(index, label)
            self._history.pop()
            return index, label

    def close(self) -> None:
        """Wait for a write in progress, and refuse later ones."""
        with self._lock:
            self._closed = True

    def _put(self, index: int, label: Label) -> None:
        labels = {**self._labels, self._files[index]: label}
        if label == Label():
            del labels[self._files[index]]
        if self._closed:
            raise ConfigError("tuner label was stopped")
        if _stamp(self._path) != self._stamp:
            raise ConfigError(
                f"{self._path} was changed by another program and is not overwritten; "
                "start tuner label again"
            )
        _write(self._path, labels)
        self._stamp = _stamp(self._path)
        self._labels = labels


def read_labels(path: Path) -> dict[str, Label]:
    """Read the labels by file. Raises ConfigError for a missing file or another kind of table."""
    labels: dict[str, Label] = {}
    refuse_other_kinds(path)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, COLUMNS)) != COLUMNS:
                raise ConfigError(f"{path} has other columns than {','.join(COLUMNS)}")
            for cells in rows:
                label = _label(cells)
                if label is None or cells[0] in labels:
                    what = "is not a label" if label is None else f"names {cells[0]!r} again"
                    raise ConfigError(f"{path}, line {rows.line_num}: {what}: {','.join(cells)!r}")
                labels[cells[0]] = label
    except csv.Error as error:
        raise ConfigError(f"{path} is not a table of labels: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    return labels


def _label(cells: Sequence[str]) -> Label | None:
    """Return the label of a row, None if the row is not a label."""
    if len(cells) != len(COLUMNS) or not cells[0]:
        return None
    faults, sex = cells[1:-1], cells[-1]
    known: dict[str, Sex | None] = {"": None, "female": "female", "male": "male"}
    if sex not in known:
        return None
    if not any(faults):
        return Label(None, known[sex])
    if not set(faults) <= {"0", "1"}:
        return None
    present = frozenset(name for name, cell in zip(FAULTS, faults, strict=True) if cell == "1")
    return Label(present, known[sex])


def _write(path: Path, labels: Mapping[str, Label]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file, label in sorted(labels.items()):
        faults = label.faults
        cells = ["" if faults is None else int(name in faults) for name in FAULTS]
        writer.writerow([file, *cells, label.sex])
    try:
        with replacing(path) as temporary:
            # A file name may not be valid UTF-8: surrogateescape restores its bytes.
            temporary.write_bytes(text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def _stamp(path: Path) -> _Stamp:
    """Return inode, size and time, which change when another program writes the file.

    None without a file.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
