"""Values of results.db as columns: JSON text, relative paths, features as 16-bit floats."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from metrics.contract import Features, Halves, Image, Measure, Sample, Score
from tuner.storage.json_text import json_text

Columns = dict[str, Any]


NO_PIXELS: Image = np.zeros((1, 1, 3), np.uint8)
"""Placeholder picture of a sample whose pixels are not in memory."""

BASE_NUMBER = -1
"""Trial number of the base without LoRA: NULL cannot be part of a key."""


def trial_number(trial: int | None) -> int:
    """Return the value of the trial column."""
    return BASE_NUMBER if trial is None else trial


def sample_columns(cell: int, sample: Sample) -> Columns:
    """Return the columns of a sample, but for the path of its file."""
    prompt = sample.prompt
    return {
        "cell": cell,
        "prompt": prompt.text,
        "sex": prompt.sex,
        "framing": prompt.framing,
        "names_clothes": int(prompt.names_clothes),
        "seed": sample.seed,
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
    return (_resolved(path.parent) / path.name).relative_to(root).as_posix()


@functools.lru_cache(maxsize=64)
def _resolved(folder: Path) -> Path:
    # Kept, because a rung names its folder three times, and each look asks the disk for its parts.
    return folder.resolve()


def utc_now() -> str:
    """Return the current time in the databases' format: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
