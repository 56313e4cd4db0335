"""Values of results.db as columns: JSON text, relative paths, features as 16-bit floats."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from metrics.contract import Features, Halves, Measure, Sample, Score, ScoredSample
from tuner.storage.json_text import json_text

Columns = dict[str, Any]


BASE_NUMBER = -1
"""Trial number of the base without LoRA: NULL cannot be part of a key."""


def trial_number(trial: int | None) -> int:
    """Return the value of the trial column."""
    return BASE_NUMBER if trial is None else trial


def cell_columns(
    scored: Sequence[ScoredSample], root: Path, cells: Sequence[int] | None = None
) -> dict[str, list[Columns]]:
    """Return the rows of samples, their features and their scores, by table.

    `cells` are the samples' cells in the suite (None: all cells in order).
    """
    items = list(zip(range(len(scored)) if cells is None else cells, scored, strict=True))
    # The system is asked once for each folder, not for each file.
    folders = {item.sample.path.parent for _, item in items if item.sample.path is not None}
    places = {folder: relative(folder, root) for folder in folders}
    return {
        "samples": [sample_columns(cell, item.sample, places) for cell, item in items],
        "features": [
            features_columns(cell, item.features)
            for cell, item in items
            if item.features is not None
        ],
        "scores": [
            score_columns(cell, score) for cell, item in items for score in item.scores.values()
        ],
    }


def sample_columns(cell: int, sample: Sample, places: Mapping[Path, str]) -> Columns:
    """Return the columns of a sample; `places` has the path of its folder below the study.

    Raises ValueError for a sample without a file.
    """
    prompt, path = sample.prompt, sample.path
    if path is None:
        raise ValueError(f"the sample of cell {cell} was not written to the study folder")
    return {
        "cell": cell,
        "prompt": prompt.text,
        "sex": prompt.sex,
        "framing": prompt.framing,
        "names_clothes": int(prompt.names_clothes),
        "seed": sample.seed,
        "path": f"{places[path.parent]}/{path.name}",
    }


def score_columns(cell: int, score: Score) -> Columns:
    """Return the columns of one judge's score of the sample in `cell`."""
    value = None if score.value is None else float(score.value)
    return {
        "cell": cell,
        "judge": score.judge,
        "value": value,
        "reason": score.reason,
        "evidence": json_text(score.evidence),
        "version": score.version,
    }


def read_score(row: Columns) -> Score:
    """Return the score in a row of `scores`."""
    evidence = json.loads(row["evidence"])
    return Score(row["judge"], row["value"], row["reason"], evidence, row.get("version"))


def features_columns(cell: int, features: Features) -> Columns:
    """Return the columns of the features of the sample in `cell`."""
    return {
        "cell": cell,
        "framing": features.framing,
        "thumbnail": _bytes(features.thumbnail),
        "box": _bytes(features.box),
        "joints": _bytes(features.joints),
        "embedding": _bytes(features.embedding),
        "faces": features.faces,
        "face": _bytes(features.face),
    }


def read_features(row: Columns) -> Features:
    """Return the features in a row of `features`."""
    thumbnail = _halves(row["thumbnail"], (3,))
    assert thumbnail is not None
    side = math.isqrt(len(thumbnail))
    return Features(
        framing=row["framing"],
        thumbnail=thumbnail.reshape(side, side, 3),
        box=_halves(row["box"], ()),
        joints=_halves(row["joints"], (2,)),
        embedding=_halves(row["embedding"], ()),
        faces=row.get("faces"),  # studies of older versions have no such columns
        face=_halves(row.get("face"), ()),
    )


def read_measure(row: Columns) -> Measure:
    """Return the measure in a row of `measures`."""
    return Measure(**{column.name: row[column.name] for column in fields(Measure)})


def _bytes(values: Halves | None) -> bytes | None:
    return None if values is None else values.astype("<f2").tobytes()


def _halves(stored: bytes | None, shape: tuple[int, ...]) -> Halves | None:
    if stored is None:
        return None
    return np.frombuffer(stored, "<f2").astype(np.float16).reshape(-1, *shape)


def relative(path: Path, root: Path) -> str:
    """Return `path` as text relative to the study folder `root`, with forward slashes."""
    return path.resolve().relative_to(root).as_posix()


def utc_now() -> str:
    """Return the current time in the databases' format: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
