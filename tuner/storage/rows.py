"""Rows of results.db as data classes, and their conversion to columns and back, without SQL.

Objectives, parameters and evidence are JSON text in their columns, a sample's features are
little-endian 16-bit floats. Paths are relative to the study folder in the columns and absolute in
the data classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from metrics.contract import (
    Features,
    Halves,
    Image,
    Measure,
    Objective,
    Prompt,
    Sample,
    Score,
    ScoredSample,
)

Columns = dict[str, Any]

_BASE = -1
"""Trial number of the base without LoRA: NULL cannot be part of a key."""

NO_PIXELS: Image = np.zeros((1, 1, 3), np.uint8)
"""Placeholder picture of a sample whose pixels are not in memory."""


@dataclass(frozen=True)
class StudyRow:
    """A study with its latest configuration; `budget` is its number of trials.

    `side` is the shorter side of its samples in pixels, `models` has the judges' models by setting
    (tuner.judging.models.model_names); 0 and empty in rows of older versions of tuner.
    """

    name: str
    base: str
    space_hash: str
    budget: int
    objectives: tuple[str, ...]
    constraints: Mapping[str, float]
    versions: Mapping[str, str]
    begun: str
    side: int = 0
    models: Mapping[str, str | None] = field(default_factory=dict)

    def columns(self) -> Columns:
        """Return the columns of its table row."""
        return asdict(self) | {
            "objectives": json_text(self.objectives),
            "constraints": json_text(self.constraints),
            "versions": json_text(self.versions),
            "models": json_text(self.models),
        }

    @staticmethod
    def read(row: Columns) -> StudyRow:
        """Return the value of a table row."""
        names = ("objectives", "constraints", "versions", "models")
        known = {name: json.loads(row[name] or "{}") for name in names}
        known |= {"objectives": tuple(known["objectives"]), "side": row["side"] or 0}
        return StudyRow(**row | known)


@dataclass(frozen=True)
class TrialRow:
    """A trial; `state` is `running` or one of `tuner.events.TrialState`, `begun` is UTC."""

    number: int
    state: str
    reason: str | None
    parameters: Mapping[str, object]
    retry_of: int | None
    begun: str
    seconds: float | None

    @staticmethod
    def read(row: Columns) -> TrialRow:
        """Return the value of a table row."""
        return TrialRow(**row | {"parameters": json.loads(row["parameters"])})


@dataclass(frozen=True)
class RungRow:
    """A scored checkpoint; `trial` and `lora` are None for the base without LoRA.

    `seeds` is the number of noise seeds sampled for each prompt, None for the whole suite.
    """

    trial: int | None
    step: int
    objectives: Mapping[str, Objective]
    rates: Mapping[str, Objective]
    lora: Path | None
    grid: Path
    measures: Mapping[str, Measure] = field(default_factory=dict)
    seeds: int | None = None

    def columns(self, root: Path) -> Columns:
        """Return the columns of its table row, paths relative to `root`."""
        return {
            "trial": trial_number(self.trial),
            "step": self.step,
            "objectives": _objectives_text(self.objectives),
            "rates": _objectives_text(self.rates),
            "lora": _relative(self.lora, root) if self.lora else None,
            "grid": _relative(self.grid, root),
            "seeds": self.seeds,
        }

    @staticmethod
    def read(row: Columns, measures: Mapping[str, Measure], root: Path) -> RungRow:
        """Return the value of a table row with its measures; `root` is put before its paths."""
        return RungRow(
            trial=None if row["trial"] == _BASE else row["trial"],
            step=row["step"],
            objectives=_objectives(row["objectives"]),
            rates=_objectives(row["rates"]),
            lora=root / row["lora"] if row["lora"] else None,
            grid=root / row["grid"],
            measures=measures,
            seeds=row.get("seeds"),
        )


@dataclass(frozen=True)
class SampleRow:
    """One sample on the disk, with its scores by judge and its features.

    `features` is None for samples of older versions of tuner, which did not store them.
    """

    cell: int
    prompt: Prompt
    seed: int
    path: Path
    scores: Mapping[str, Score]
    features: Features | None = None

    @staticmethod
    def read(
        row: Columns, scores: Mapping[str, Score], features: Features | None, root: Path
    ) -> SampleRow:
        """Return the value of a table row with its scores; `root` is put before its path."""
        prompt = Prompt(row["prompt"], row["sex"], row["framing"], bool(row["names_clothes"]))
        return SampleRow(row["cell"], prompt, row["seed"], root / row["path"], scores, features)

    def scored(self, image: Image = NO_PIXELS) -> ScoredSample:
        """Return the sample in the form that objectives and measures take.

        `image` is for measures that compare pictures; the others need only scores and features.
        """
        sample = Sample(self.prompt, self.seed, image, self.path)
        return ScoredSample(sample, self.scores, self.features)


def without_pixels(scored: Iterable[ScoredSample]) -> list[ScoredSample]:
    """Return the samples without their pictures, which are on the disk, to save memory."""
    return [replace(item, sample=replace(item.sample, image=NO_PIXELS)) for item in scored]


def trial_number(trial: int | None) -> int:
    """Return the value of the trial column."""
    return _BASE if trial is None else trial


def cell_columns(
    scored: Sequence[ScoredSample], root: Path, cells: Sequence[int] | None = None
) -> dict[str, list[Columns]]:
    """Return the rows of samples, their features and their scores, by table.

    `cells` are the samples' cells in the suite (None: all cells in order).
    """
    items = list(zip(range(len(scored)) if cells is None else cells, scored, strict=True))
    return {
        "samples": [sample_columns(cell, item.sample, root) for cell, item in items],
        "features": [
            features_columns(cell, item.features)
            for cell, item in items
            if item.features is not None
        ],
        "scores": [
            score_columns(cell, score) for cell, item in items for score in item.scores.values()
        ],
    }


def sample_columns(cell: int, sample: Sample, root: Path) -> Columns:
    """Return the columns of a sample that is stored below `root`.

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
        "path": _relative(path, root),
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
    )


def read_measure(row: Columns) -> Measure:
    """Return the measure in a row of `measures`."""
    return Measure(**{column.name: row[column.name] for column in fields(Measure)})


def json_text(value: object) -> str:
    """Return `value` as JSON text; numbers that are not finite become null, arrays become lists."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _bytes(values: Halves | None) -> bytes | None:
    return None if values is None else values.astype("<f2").tobytes()


def _halves(stored: bytes | None, shape: tuple[int, ...]) -> Halves | None:
    if stored is None:
        return None
    return np.frombuffer(stored, "<f2").astype(np.float16).reshape(-1, *shape)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _objectives_text(objectives: Mapping[str, Objective]) -> str:
    return json_text({name: asdict(objective) for name, objective in objectives.items()})


def _objectives(text: str) -> dict[str, Objective]:
    """Return the objectives in a JSON text; null is NaN, which JSON does not have."""
    numbers = ("value", "low", "high")
    return {
        name: Objective(**known | {key: math.nan for key in numbers if known[key] is None})
        for name, known in json.loads(text).items()
    }


def _relative(path: Path, root: Path) -> str:
    return path.resolve().relative_to(root).as_posix()
