"""The report's charts as plain values for plotly; nothing is drawn here.

Plotly interprets some HTML in texts: every text that comes from a study goes through `plain`.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuner.events import COUNTED
from tuner.results.course import Step
from tuner.results.effects import is_numeric
from tuner.results.study_data import StudyData
from tuner.storage.rows import RungRow, TrialRow
from tuner.text import words

Plain = dict[str, Any]

STATES = {
    "front": "on the front",
    "complete": "complete",
    "infeasible": "infeasible",
    "stopped": "stopped at a rung",
    "pruned": "pruned",
    "running": "running",
    "other": "failed",
}
"""The groups of trials in the chart of the front, with the words for them."""


def plain(text: object) -> str:
    """Return the text escaped, so that plotly shows it unchanged."""
    return html.escape(str(text), quote=False)


def group(trial: TrialRow, front: Sequence[int]) -> str:
    """Return the group of STATES that a trial belongs to."""
    if trial.number in front:
        return "front"
    return trial.state if trial.state in STATES else "other"


def front_points(data: StudyData, chosen: int | None) -> list[Plain]:
    """Return a point for the base and each scored trial: numbers, group and hover text."""
    names = data.results.study.objectives
    base = data.results.base
    points = [_point("base", "base", base, names, "base without LoRA")] if base else []
    for scored in data.results.scored:
        trial = scored.trial
        about = [f"trial {trial.number}: {trial.state}", *_wrapped(words(trial.parameters))]
        if trial.reason:
            about += _wrapped(trial.reason)
        kind = "chosen" if trial.number == chosen else group(trial, data.front)
        hover = "<br>".join(plain(line) for line in about)
        points.append(_point(str(trial.number), kind, scored.rung, names, hover))
    return points


def effect_points(data: StudyData) -> Plain:
    """Return the values of every varied parameter and objective of the finished trials."""
    over = finished(data)
    names = list(dict.fromkeys(name for trial, _ in over for name in trial.parameters))
    parameters = {}
    for name in names:
        levels = [trial.parameters.get(name) for trial, _ in over]
        if len({str(level) for level in levels}) > 1:
            numeric = is_numeric([level for level in levels if level is not None])
            shown = levels if numeric else [plain("none" if x is None else x) for x in levels]
            parameters[name] = {"values": shown, "numeric": numeric, "log": _log(levels, numeric)}
    objectives = {
        name: [rung.objectives[name].value for _, rung in over]
        for name in data.results.study.objectives
    }
    trials = [str(trial.number) for trial, _ in over]
    return {"parameters": parameters, "objectives": objectives, "trials": trials}


def finished(data: StudyData) -> list[tuple[TrialRow, RungRow]]:
    """Return the finished trials that were scored, each with its last rung."""
    return [
        (scored.trial, scored.rung)
        for scored in data.results.scored
        if scored.trial.state in COUNTED
    ]


def course_figure(steps: Sequence[Step], base: float | None) -> Plain:
    """Return the chart of the hypervolume over the seconds, with the base's as a line."""
    x = [0.0, *(step.seconds for step in steps)]
    y = [0.0, *(step.hypervolume for step in steps)]
    traces: list[Plain] = [
        {
            "type": "scatter", "mode": "lines+markers", "line": {"shape": "hv"}, "x": x, "y": y,
            "text": ["", *(f"trial {step.trial}" for step in steps)], "name": "front",
            "hovertemplate": "%{text}<br>%{x:.0f} s<br>%{y:.3f}<extra></extra>",
        }
    ]  # fmt: skip
    if base is not None:
        traces.append(
            {
                "type": "scatter", "mode": "lines", "line": {"dash": "dot"}, "name": "base alone",
                "x": [0.0, x[-1] or 1.0], "y": [base, base],
                "hovertemplate": "base alone<br>%{y:.3f}<extra></extra>",
            }
        )  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "seconds of trials"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "hypervolume"}, "rangemode": "tozero"},
    }
    return {"traces": traces, "layout": layout}


def _point(key: str, kind: str, rung: RungRow, names: Sequence[str], hover: str) -> Plain:
    numbers: Mapping[str, list[float]] = {
        name: [objective.value, objective.low, objective.high]
        for name, objective in rung.objectives.items()
        if name in names
    }
    return {"key": key, "kind": kind, "numbers": numbers, "hover": hover}


def _wrapped(text: str, columns: int = 60) -> list[str]:
    """Return lines short enough for a hover box."""
    lines = [""]
    for piece in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(piece) > columns:
            lines.append("")
        lines[-1] = f"{lines[-1]} {piece}".strip()
    return lines


def _log(levels: Sequence[object], numeric: bool) -> bool:
    """Return True if the numbers span so much that only their logarithm shows them."""
    numbers = (
        np.array([level for level in levels if level is not None], np.float64) if numeric else ()
    )
    return bool(len(numbers) and min(numbers) > 0 and max(numbers) >= 8 * min(numbers))
