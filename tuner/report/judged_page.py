"""The parts of the report that only a study of existing files has: its table, curves and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tuner.report.judged import (
    answer_lines,
    counted_files,
    curve_lines,
    curve_traces,
    judged_columns,
    row_cells,
    row_name,
)
from tuner.results.judged import JudgedResults, of_files, read_judged
from tuner.results.study_data import StudyData


@dataclass(frozen=True)
class JudgedRowView:
    """A row of the page's table: its trial, and the texts of its cells."""

    trial: int
    cells: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class JudgedView:
    """Values of the page's template about a study of files; `title` is that of the answer."""

    title: str
    lines: tuple[str, ...]
    count: str
    columns: tuple[str, ...]
    rows: tuple[JudgedRowView, ...]
    curve_lines: tuple[str, ...]
    over_steps: bool
    over_strengths: bool
    strengths: tuple[float, ...]


def judged_values(data: StudyData) -> dict[str, Any]:
    """Return the template's values `judged` (None for any other study), `names` and `strength_of`.

    `names` has the file and strength of each trial, `strength_of` its strength.
    """
    if not of_files(data.results):
        return {"judged": None, "names": {}, "strength_of": {}}
    judged = read_judged(data.folder)
    columns = judged_columns(judged)
    axes = {curve.axis for curve in judged.curves}
    view = JudgedView(
        "No file to take" if judged.winner is None else f"Take {row_name(judged.winner)}",
        tuple(answer_lines(data.folder, judged)),
        counted_files(judged),
        columns.titles,
        tuple(
            JudgedRowView(row.trial, tuple(row_cells(row, judged, columns)), row.reason or "")
            for row in judged.rows
        ),
        tuple(curve_lines(judged.curves)),
        bool(axes - {"strength"}),
        "strength" in axes,
        tuple(sorted({row.file.strength for row in judged.rows})),
    )
    return {
        "judged": view,
        "names": {row.trial: row_name(row) for row in judged.rows},
        "strength_of": {row.trial: row.file.strength for row in judged.rows},
    }


def judged_facts(data: StudyData) -> dict[str, Any]:
    """Return the values for the page's script: names of trials, traces of the curves."""
    if not of_files(data.results):
        return {"names": {}, "curves": {}}
    judged: JudgedResults = read_judged(data.folder)
    return {
        "names": {str(row.trial): row_name(row) for row in judged.rows},
        "curves": {
            "curve-steps": curve_traces(judged.curves, over_strengths=False),
            "curve-strengths": curve_traces(judged.curves, over_strengths=True),
        },
    }
