"""Messages between two machines: each finds the paths of its own disk in them.

A study's folder, its training pictures and its models lie in other places on a node than on the
machine of the study. In a message they are names that both know.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from tuner.errors import TunerError

_STUDY = "study"

Name = tuple[str, str]
"""A file or folder that both machines know: its tree of luggage (tuner.worker.nodes.luggage) or
`study`, and its path in there."""


@dataclass(frozen=True)
class Names:
    """The names of a machine's own paths: of the files in `known`, and of all below `study`."""

    study: Path
    known: Mapping[str, Name]

    @cached_property
    def paths(self) -> dict[Name, str]:
        """The own paths by name."""
        return {name: path for path, name in self.known.items()}

    def name(self, text: str, is_path: bool) -> Name | None:
        """Return the name of an own path; None for a text that is none, or an unknown path."""
        if text in self.known:
            return self.known[text]
        path = PurePath(text)
        if is_path and path.is_relative_to(self.study):
            return _STUDY, path.relative_to(self.study).as_posix()
        return None

    def path(self, name: Name) -> str:
        """Return the own path for a name; raises TunerError for an unknown one."""
        if name[0] == _STUDY:
            return str(self.study / name[1])
        if name not in self.paths:
            raise TunerError(f"the other machine named {name}, which was not sent")
        return self.paths[name]


def pack(message: object, names: Names) -> bytes:
    """Return `message` as bytes, with names in place of this machine's paths."""
    buffer = io.BytesIO()
    _Packer(buffer, names).dump(message)
    return buffer.getvalue()


def unpack(data: bytes, names: Names) -> object:
    """Return a message of `pack`, with this machine's paths."""
    return _Unpacker(io.BytesIO(data), names).load()


class _Packer(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, names: Names) -> None:
        super().__init__(buffer, protocol=5)
        self._names = names

    def persistent_id(self, obj: object) -> tuple[bool, Name] | None:
        if isinstance(obj, str | PurePath):
            is_path = isinstance(obj, PurePath)
            name = self._names.name(str(obj), is_path)
            return None if name is None else (is_path, name)
        return None


class _Unpacker(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, names: Names) -> None:
        super().__init__(buffer)
        self._names = names

    def persistent_load(self, pid: tuple[bool, Name]) -> str | Path:
        is_path, name = pid
        path = self._names.path(name)
        return Path(path) if is_path else path
