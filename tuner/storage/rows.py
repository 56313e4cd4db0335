"""The rows of results.db as plain values, and how they become columns and come back.

Nothing here knows SQL. Objectives, parameters and evidence are JSON text in their columns, a
sample's features are little-endian 16-bit floats; paths are relative to the study folder in the
columns and absolute in the values.
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
"""The number in the trial columns for the base without LoRA: a NULL could not be part of a key."""

NO_PIXELS: Image = np.zeros((1, 1, 3), np.uint8)
"""The picture of a sample whose pixels are not in memory."""


@dataclass(frozen=True)
class StudyRow:
    """The study as it was last started; `budget` is the number of trials asked for.

    `side` is the shorter side of its samples in pixels, `models` the judges' models by their
    setting (tuner.judging.models.model_names): 0 and empty where an older tuner wrote the row.
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
        """The row of its table."""
        return asdict(self) | {
            "objectives": json_text(self.objectives),
            "constraints": json_text(self.constraints),
            "versions": json_text(self.versions),
            "models": json_text(self.models),
        }

    @staticmethod
    def read(row: Columns) -> StudyRow:
        """What a row says."""
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
        """What a row says."""
        return TrialRow(**row | {"parameters": json.loads(row["parameters"])})


@dataclass(frozen=True)
class RungRow:
    """A scored checkpoint; `trial` and `lora` are None for the base without LoRA.

    `seeds` is how many noise seeds of each prompt were sampled, None for the whole suite.
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
        """The row of its table, paths from `root`."""
        return {
            "trial": trial_number(self.trial),
            "step": self.step,
            "objectives": json_text({name: asdict(one) for name, one in self.objectives.items()}),
            "rates": json_text({name: asdict(one) for name, one in self.rates.items()}),
            "lora": _relative(self.lora, root) if self.lora else None,
            "grid": _relative(self.grid, root),
            "seeds": self.seeds,
        }

    @staticmethod
    def read(row: Columns, measures: Mapping[str, Measure], root: Path) -> RungRow:
        """What a row says, its paths below `root`, with the measures found beside it."""
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
    """One sample as it lies on the disk, with its scores by judge and its features.

    `features` is None for samples that were scored before any were kept.
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
        """What a row says, its path below `root`, with what was found beside it."""
        prompt = Prompt(row["prompt"], row["sex"], row["framing"], bool(row["names_clothes"]))
        return SampleRow(row["cell"], prompt, row["seed"], root / row["path"], scores, features)

    def scored(self, image: Image = NO_PIXELS) -> ScoredSample:
        """Return the sample with its scores, as formulas and measures take it.

        They look at scores and features alone; `image` is for those that compare pictures.
        """
        sample = Sample(self.prompt, self.seed, image, self.path)
        return ScoredSample(sample, self.scores, self.features)


def without_pixels(scored: Iterable[ScoredSample]) -> list[ScoredSample]:
    """Return the samples without their pictures, which lie on the disk: light to send and keep."""
    return [replace(one, sample=replace(one.sample, image=NO_PIXELS)) for one in scored]


def trial_number(trial: int | None) -> int:
    """The number in the trial columns."""
    return _BASE if trial is None else trial


def cell_columns(
    scored: Sequence[ScoredSample], root: Path, cells: Sequence[int] | None = None
) -> dict[str, list[Columns]]:
    """The rows of samples, of their scores and features.

    `cells` are their places in the suite (None: all of it from the first on).
    """
    placed = list(zip(range(len(scored)) if cells is None else cells, scored, strict=True))
    return {
        "samples": [sample_columns(cell, one, root) for cell, one in placed],
        "features": [
            features_columns(cell, one.features) for cell, one in placed if one.features is not None
        ],
        "scores": [
            score_columns(cell, score) for cell, one in placed for score in one.scores.values()
        ],
    }


def sample_columns(cell: int, one: ScoredSample, root: Path) -> Columns:
    """The columns of a sample that lies below `root`; ValueError where it was not written."""
    prompt, path = one.sample.prompt, one.sample.path
    if path is None:
        raise ValueError(f"the sample of cell {cell} was not written to the study folder")
    return {
        "cell": cell,
        "prompt": prompt.text,
        "sex": prompt.sex,
        "framing": prompt.framing,
        "names_clothes": int(prompt.names_clothes),
        "seed": one.sample.seed,
        "path": _relative(path, root),
    }


def score_columns(cell: int, score: Score) -> Columns:
    """The columns of one judge's score of the sample in `cell`."""
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
    """What a row of scores says."""
    evidence = json.loads(row["evidence"])
    return Score(row["judge"], row["value"], row["reason"], evidence, row.get("version"))


def features_columns(cell: int, features: Features) -> Columns:
    """The columns of the features of the sample in `cell`."""
    return {
        "cell": cell,
        "framing": features.framing,
        "thumbnail": _bytes(features.thumbnail),
        "box": _bytes(features.box),
        "joints": _bytes(features.joints),
        "embedding": _bytes(features.embedding),
    }


def read_features(row: Columns) -> Features:
    """What a row of features says."""
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
    """What a row of measures says."""
    return Measure(**{one.name: row[one.name] for one in fields(Measure)})


def json_text(value: object) -> str:
    """`value` as JSON text; a number that is not finite becomes null, numpy becomes plain."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _bytes(values: Halves | None) -> bytes | None:
    return None if values is None else values.astype("<f2").tobytes()


def _halves(stored: bytes | None, shape: tuple[int, ...]) -> Halves | None:
    if stored is None:
        return None
    return np.frombuffer(stored, "<f2").astype(np.float16).reshape(-1, *shape)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _objectives(text: str) -> dict[str, Objective]:
    """A number that is none was written as null: JSON has no NaN."""
    numbers = ("value", "low", "high")
    return {
        name: Objective(**one | {key: math.nan for key in numbers if one[key] is None})
        for name, one in json.loads(text).items()
    }


def _relative(path: Path, root: Path) -> str:
    return path.resolve().relative_to(root).as_posix()
