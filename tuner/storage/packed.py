"""Scored samples as the values of their rows: made where they are scored, stored elsewhere.

A worker sends its rungs so. The study's process has them in results.db without looking at a single
score, and they are a third of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from metrics.contract import Prompt, Sample, Score, ScoredSample
from tuner.storage.columns import (
    NO_PIXELS,
    Columns,
    features_columns,
    read_features,
    read_score,
    relative,
    sample_columns,
    score_columns,
)

Values = tuple[Any, ...]
Table = tuple[tuple[str, ...], list[Values]]
"""Names of columns, and the values of each row."""


@dataclass
class Packed(Sequence[ScoredSample]):
    """Samples without pixels, in order, as columns by table; a row begins with its sample's index.

    `files` are the names of the samples' files in `folder`: as paths, they would take longer to
    receive than all the rest. As a sequence it reads the samples again.
    """

    folder: Path
    files: list[str]
    tables: dict[str, Table]
    _samples: list[ScoredSample] | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Packed], tuple[Path, list[str], dict[str, Table]]]:
        """Travel without what was read again."""
        return Packed, (self.folder, self.files, self.tables)

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> ScoredSample: ...
    @overload
    def __getitem__(self, index: slice) -> list[ScoredSample]: ...
    def __getitem__(self, index: int | slice) -> ScoredSample | list[ScoredSample]:
        """Return a sample, or several."""
        if self._samples is None:
            self._samples = self._read()
        return self._samples[index]

    def rows(self, root: Path, cells: Sequence[int] | None, key: Columns) -> dict[str, Table]:
        """Return the rows of results.db by table, with `key` in front.

        `root` is the study's folder; `cells` are the samples' cells in the suite (None: all in
        order). Raises ValueError for other numbers of them.
        """
        if cells is not None and len(cells) != len(self):
            raise ValueError(f"{len(cells)} cells for {len(self)} samples")
        begin, found = tuple(key.values()), {}
        for name, (columns, values) in self.tables.items():
            if cells is None:
                rows = [begin + row for row in values]
            else:
                rows = [(*begin, cells[row[0]], *row[1:]) for row in values]
            found[name] = ((*key, *columns), rows)
        names, rows = found["samples"]
        below = relative(self.folder, root) if self.files else ""
        found["samples"] = (
            (*names, "path"),
            [(*row, f"{below}/{file}") for row, file in zip(rows, self.files, strict=True)],
        )
        return found

    def _read(self) -> list[ScoredSample]:
        scores: list[dict[str, Score]] = [{} for _ in self.files]
        for row in self._dicts("scores"):
            scores[row["cell"]][row["judge"]] = read_score(row)
        features = {row["cell"]: read_features(row) for row in self._dicts("features")}
        samples = []
        for row, file in zip(self._dicts("samples"), self.files, strict=True):
            prompt = Prompt(row["prompt"], row["sex"], row["framing"], bool(row["names_clothes"]))
            sample = Sample(prompt, row["seed"], NO_PIXELS, self.folder / file)
            at = row["cell"]
            samples.append(ScoredSample(sample, scores[at], features.get(at)))
        return samples

    def _dicts(self, table: str) -> list[Columns]:
        names, rows = self.tables[table]
        return [dict(zip(names, row, strict=True)) for row in rows]


def pack(scored: Iterable[ScoredSample]) -> Packed:
    """Return the samples as the values of their rows.

    Raises ValueError for one without a file, and for files in several folders.
    """
    if isinstance(scored, Packed):
        return scored
    items, paths = list(enumerate(scored)), []
    for at, item in items:
        if item.sample.path is None:
            raise ValueError(f"sample {at} was not written to the study folder")
        paths.append(item.sample.path)
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        raise ValueError(f"samples in {len(folders)} folders")
    tables = {
        "samples": [sample_columns(at, item.sample) for at, item in items],
        "features": [
            features_columns(at, item.features) for at, item in items if item.features is not None
        ],
        "scores": [
            score_columns(at, score) for at, item in items for score in item.scores.values()
        ],
    }
    folder = folders.pop() if folders else Path()
    named = {name: _table(rows) for name, rows in tables.items()}
    return Packed(folder, [path.name for path in paths], named)


def _table(rows: Sequence[Columns]) -> Table:
    return (tuple(rows[0]) if rows else ()), [tuple(row.values()) for row in rows]
