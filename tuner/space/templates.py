"""The search spaces that come with the tool, and how one is copied out to be changed."""

from __future__ import annotations

import difflib
from pathlib import Path

from tuner.errors import ConfigError
from tuner.space.file import parse

# Beside the package, in a checkout and where a wheel is installed alike.
_FOLDER = Path(__file__).resolve().parents[2] / "search_spaces"


def shipped_spaces() -> dict[str, Path]:
    """The shipped search-space files by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def copy_out(name: str, folder: Path = Path()) -> list[Path]:
    """Copies the search space `name` into `folder`, with the files that it extends.

    Returns the paths written. Raises ConfigError for an unknown name, and when the file is there
    already; a file that it extends and that is there stays as it is.
    """
    spaces = shipped_spaces()
    chosen = name.removesuffix(".yaml")
    if chosen not in spaces:
        near = difflib.get_close_matches(chosen, spaces, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"no shipped search space '{name}'{hint} (known: {', '.join(spaces)})")
    target = folder / spaces[chosen].name
    if target.exists():
        raise ConfigError(f"{target} is there already; move it away or choose another folder")
    contents: dict[Path, bytes] = {}
    source: Path | None = spaces[chosen]
    while source is not None:
        contents[folder / source.name] = source.read_bytes()
        source = _extended(source)
    written = [path for path in contents if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in written:
        _write_new(path, contents[path])
    return written


def _write_new(path: Path, content: bytes) -> None:
    """Never over another file, not even one that came up a moment ago."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; move it away") from None


def _extended(source: Path) -> Path | None:
    values, _ = parse(source.read_text("utf-8"), str(source))
    parent = values.get("extends") if isinstance(values, dict) else None
    return source.parent / str(parent) if parent else None
