"""Raw pictures for `tuner data prepare`, and what it made of them."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from metrics.contract import Image as Picture
from tuner.cli.app import app


def save(folder: Path, name: str, image: Picture, caption: str | None = "1girl, solo") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def prepare(raw: Path, out: Path, *options: str) -> Result:
    usual = ["--person-model", "mannequin", "--min-side", "128"]
    return CliRunner().invoke(app, ["data", "prepare", str(raw), str(out), *usual, *options])


def table(out: Path) -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = {}
    with (out / "prepared.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["source"], []).append(row)
    return rows


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """Return hash and time of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
