"""Files of a study folder that travel with a message, and are written whole where they arrive."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuner.errors import TunerError
from tuner.storage import StudyFolder
from tuner.worker.nodes.luggage import PART_BYTES

State = tuple[int, int]
"""Size of a file in bytes and time of its last change in nanoseconds."""


@dataclass(frozen=True)
class Sent:
    """A file that travels: its path in the study folder, with forward slashes, and its size."""

    path: str
    size: int


def state(path: Path) -> State | None:
    """Return the state of a file; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def changed(folder: StudyFolder, seen: dict[str, State]) -> list[Sent]:
    """Return the files below a study folder that are new since the last call, and note them.

    Not its databases, what is cached for one machine, and files that are not written completely.
    """
    found = []
    for path in _files(folder):
        now, name = state(path), path.relative_to(folder.root).as_posix()
        if now is not None and seen.get(name) != now:
            seen[name] = now
            found.append(Sent(name, now[0]))
    return found


def _files(folder: StudyFolder) -> Iterator[Path]:
    left_out = {folder.kept, *folder.root.glob(f"{folder.results_db.name}*")}
    for place, folders, files in os.walk(folder.root):
        here = Path(place)
        folders[:] = [
            name for name in folders if here / name not in left_out and not name.endswith(".part")
        ]
        for name in sorted(files):
            path = here / name
            if path not in left_out and not name.startswith(".") and not path.is_symlink():
                yield path


def batches(files: Sequence[Sent]) -> Iterator[list[tuple[str, int, int]]]:
    """Yield what to read at once: path, offset and length, about PART_BYTES in all."""
    batch: list[tuple[str, int, int]] = []
    room = PART_BYTES
    for file in files:
        offset = 0
        while offset < file.size or (offset == 0 == file.size):
            length = min(room, file.size - offset)
            batch.append((file.path, offset, length))
            offset, room = offset + length, room - length
            if room <= 0:
                yield batch
                batch, room = [], PART_BYTES
            if not file.size:
                break
    if batch:
        yield batch


def read_parts(root: Path, batch: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Return the parts of files below `root` that a batch names."""
    read = []
    for name, offset, length in batch:
        with (root / name).open("rb") as file:
            file.seek(offset)
            read.append(file.read(length))
    return read


@dataclass
class Arrival:
    """Files on their way into a study folder: they have temporary names until `place`.

    `mark` tells apart those who write the same file.
    """

    folder: StudyFolder
    mark: str
    waiting: dict[str, Path] = field(default_factory=dict)

    def write(self, batch: Sequence[tuple[str, int, int]], read: Sequence[bytes]) -> None:
        """Write parts of files in the order in which they come.

        Raises TunerError for a part with another length, and a name that leaves the study folder.
        """
        for (name, offset, length), part in zip(batch, read, strict=True):
            if len(part) != length:
                raise TunerError(f"{name} arrived with {len(part)} of {length} bytes")
            path = self._path(name)
            temporary = path.with_name(f".{path.stem}.{self.mark}.tmp{path.suffix}")
            temporary.parent.mkdir(parents=True, exist_ok=True)
            self.waiting[name] = temporary
            with temporary.open("wb" if offset == 0 else "ab") as file:
                file.write(part)
                file.flush()
                os.fsync(file.fileno())

    def place(self) -> dict[str, State]:
        """Give all files their names, each whole; return their states."""
        for name, temporary in self.waiting.items():
            os.replace(temporary, self._path(name))
        names, self.waiting = list(self.waiting), {}
        if any(_is_prior(self.folder, name) for name in names) and self._prior_part.is_dir():
            self._prior_part.rename(self.folder.regularisation)
        states = {name: state(self.folder.root / name) for name in names}
        return {name: now for name, now in states.items() if now is not None}

    def discard(self) -> None:
        """Remove the files that were not placed."""
        for temporary in self.waiting.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self.waiting = {}

    @property
    def _prior_part(self) -> Path:
        """Regularisation pictures count as complete once their folder is there."""
        return self.folder.regularisation.with_name(f"{self.folder.regularisation.name}.part")

    def _path(self, name: str) -> Path:
        if name.startswith("/") or ".." in Path(name).parts:
            raise TunerError(f"a node named the file {name}, which is not in the study")
        if _is_prior(self.folder, name) and not self.folder.regularisation.is_dir():
            return self._prior_part / Path(*Path(name).parts[1:])
        return self.folder.root / name


def _is_prior(folder: StudyFolder, name: str) -> bool:
    return Path(name).parts[0] == folder.regularisation.name
