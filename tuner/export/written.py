"""What an export reports to its user: where it wrote, and what to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Written:
    """The path that was written and what to know of it, a line each."""

    path: Path
    lines: tuple[str, ...]
