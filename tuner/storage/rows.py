"""Rows of results.db as data classes, and their conversion to columns and back, without SQL.

Objectives, parameters and evidence are JSON text in their columns, a sample's features are
little-endian 16-bit floats. Paths are relative to the study folder in the columns and absolute in
the data classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from metrics.contract import (
    Features,
    Image,
    Measure,
    Objective,
    Prompt,
    Sample,
    Score,
    ScoredSample,
)
from tuner.storage.columns import BASE_NUMBER, NO_PIXELS, Columns, relative, trial_number
from tuner.storage.json_text import json_text


@dataclass(frozen=True)
class StudyRow:
    """A study with its latest configuration; `budget` is its number of trials, `hours` and
    `gpu_hours` its limits of time (None: none).

    `side` is the shorter side of its samples in pixels, `models` has the judges' models by setting
    (tuner.judging.models.model_names), `data` the hashes of its training sets by name; 0 and empty
    in rows of older versions of tuner.
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
    data: Mapping[str, str] = field(default_factory=dict)
    hours: float | None = None
    gpu_hours: float | None = None

    def columns(self) -> Columns:
        """Return the columns of its table row."""
        return asdict(self) | {
            "objectives": json_text(self.objectives),
            "constraints": json_text(self.constraints),
            "versions": json_text(self.versions),
            "models": json_text(self.models),
            "data": json_text(self.data),
        }

    @staticmethod
    def read(row: Columns) -> StudyRow:
        """Return the value of a table row."""
        names = ("objectives", "constraints", "versions", "models", "data")
        known = {name: json.loads(row[name] or "{}") for name in names}
        known |= {"objectives": tuple(known["objectives"]), "side": row["side"] or 0}
        return StudyRow(**row | known)


@dataclass(frozen=True)
class RunRow:
    """A run of `tuner run` or `tuner confirm`, from 0; `begun` is UTC.

    `seconds` is its time so far, `busy` the sum of its workers' times at work. `ended` says why no
    further trial was begun, if the budget of hours is why.
    """

    number: int
    begun: str
    seconds: float
    busy: float
    ended: str | None = None


@dataclass(frozen=True)
class TrialRow:
    """A trial; `state` is `running` or one of `tuner.events.TrialState`, `begun` is UTC.

    `device` is the name of the device that it ran on, None before its first rung.
    """

    number: int
    state: str
    reason: str | None
    parameters: Mapping[str, object]
    retry_of: int | None
    begun: str
    seconds: float | None
    device: str | None = None

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
            "lora": relative(self.lora, root) if self.lora else None,
            "grid": relative(self.grid, root),
            "seeds": self.seeds,
        }

    @staticmethod
    def read(row: Columns, measures: Mapping[str, Measure], root: Path) -> RungRow:
        """Return the value of a table row with its measures; `root` is put before its paths."""
        return RungRow(
            trial=None if row["trial"] == BASE_NUMBER else row["trial"],
            step=row["step"],
            objectives=read_objectives(row["objectives"]),
            rates=read_objectives(row["rates"]),
            lora=root / row["lora"] if row["lora"] else None,
            grid=root / row["grid"] if row["grid"] else root,
            measures=measures,
            seeds=row.get("seeds"),
        )

    @staticmethod
    def of_numbers(
        trial: int, step: int, objectives: str, rates: str, seeds: int | None
    ) -> RungRow:
        """Return a trial's rung with the values of these columns, without measures and files."""
        numbers = read_objectives(objectives), read_objectives(rates)
        return RungRow(trial, step, *numbers, None, Path(), {}, seeds)


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


def _objectives_text(objectives: Mapping[str, Objective]) -> str:
    return json_text({name: vars(objective) for name, objective in objectives.items()})


def read_objectives(text: str) -> Mapping[str, Objective]:
    """Return the objectives in a JSON text; null is NaN, which JSON does not have."""
    numbers = ("value", "low", "high")
    return {
        name: Objective(**known | {key: math.nan for key in numbers if known[key] is None})
        for name, known in json.loads(text).items()
    }
