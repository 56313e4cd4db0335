"""Table of measured trials: their parameters, and what each rung gave and cost.

One JSON line for the base, then one for each trial that reached its last rung.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrics.contract import Objective
from tuner.results import read_results
from tuner.space.parameters import Value
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text

LIMITED = ("undressed_rate",)
"""The rates that the space of the table limits."""

_BEGIN, _JUDGING = "train", ("sample", "score")


@dataclass(frozen=True)
class Rung:
    """Objectives and limited rates of a trial at a rung.

    `training`: seconds of training since the rung before; `judging`: of sampling and scoring.
    """

    step: int
    measured: Mapping[str, Objective]
    training: float
    judging: float


@dataclass(frozen=True)
class Row:
    """A trial with all its rungs in order; `trial` is None for the base without LoRA."""

    trial: int | None
    parameters: Mapping[str, Value]
    rungs: tuple[Rung, ...]


def extract(folder: StudyFolder) -> tuple[list[Row], str]:
    """Return the base and the trials of a study that have all rungs, and what was left out."""
    results = read_results(folder)
    last = max((rung.step for rungs in results.rungs.values() for rung in rungs), default=0)
    rows, left = [], Counter[str]()
    if results.base is not None:
        measured = {**results.base.objectives, **results.base.rates}
        rows.append(Row(None, {}, (Rung(results.base.step, _limited(measured), 0.0, 0.0),)))
    with Store(folder.results_db, read_only=True) as store:
        for trial in results.trials:
            rungs = results.rungs.get(trial.number, [])
            spent = seconds_by_rung(store.phases(trial.number))
            if trial.state in ("running", "interrupted") or not rungs or rungs[-1].step != last:
                left[trial.state] += 1
                continue
            if len(spent) != len(rungs):
                left["without the seconds of each rung"] += 1
                continue
            measured_rungs = [
                Rung(rung.step, _limited({**rung.objectives, **rung.rates}), *seconds)
                for rung, seconds in zip(rungs, spent, strict=True)
            ]
            values = {name: value for name, value in trial.parameters.items()}
            rows.append(Row(trial.number, values, tuple(measured_rungs)))  # type: ignore[arg-type]
    words = ", ".join(f"{count} {state}" for state, count in sorted(left.items())) or "none"
    return rows, f"{len(rows) - 1} trials; left out: {words}"


def seconds_by_rung(phases: Sequence[tuple[str, float]]) -> list[tuple[float, float]]:
    """Return the seconds of training and of judging of each rung, which begins with training."""
    seconds: list[tuple[float, float]] = []
    for name, duration in phases:
        if name == _BEGIN:
            seconds.append((duration, 0.0))
        elif name in _JUDGING and seconds:
            seconds[-1] = (seconds[-1][0], seconds[-1][1] + duration)
    return seconds


def _limited(measured: Mapping[str, Objective]) -> dict[str, Objective]:
    return {k: v for k, v in measured.items() if not k.endswith("_rate") or k in LIMITED}


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write the table, one trial a line; a measure is [value, low, high, judged, all samples]."""
    lines = []
    for row in rows:
        rungs = [
            {"step": rung.step, "seconds": [round(rung.training, 2), round(rung.judging, 2)]}
            | {name: _numbers(each) for name, each in rung.measured.items()}
            for rung in row.rungs
        ]
        line = {"trial": row.trial, "parameters": dict(row.parameters), "rungs": rungs}
        lines.append(json.dumps(line) + "\n")
    write_text(path, "".join(lines))


def read_table(path: Path) -> list[Row]:
    """Return the base and the trials of a table file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(row["trial"], row["parameters"], tuple(map(_rung, row["rungs"]))) for row in rows]


def _numbers(each: Objective) -> list[float]:
    return [*(round(number, 4) for number in (each.value, each.low, each.high)), each.n, each.total]


def _rung(known: dict[str, Any]) -> Rung:
    step, seconds = known.pop("step"), known.pop("seconds")
    return Rung(step, {name: Objective(name, *each) for name, each in known.items()}, *seconds)
