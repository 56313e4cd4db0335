"""The search spaces that come with the tool; copy one out to change it."""

from __future__ import annotations

import difflib
from pathlib import Path

from tuner.errors import ConfigError
from tuner.space.file import parse

# Beside the package, in a checkout and where a wheel is installed alike.
_FOLDER = Path(__file__).resolve().parents[2] / "search_spaces"


def shipped_spaces() -> dict[str, Path]:
    """Return the shipped search-space files by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def copy_out(name: str, folder: Path = Path()) -> list[Path]:
    """Copy the search space `name` into `folder`, with the files that it extends.

    Return the paths written. A file that it extends stays as it is if it exists. Raises
    ConfigError for an unknown name, or if the file itself exists.
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
    """Write a new file; never overwrite one, even one that another process wrote just now."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; move it away") from None


def _extended(source: Path) -> Path | None:
    values, _ = parse(source.read_text("utf-8"), str(source))
    parent = values.get("extends") if isinstance(values, dict) else None
    return source.parent / str(parent) if parent else None
