"""A study of existing files in words and as a table for the terminal: the answer first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from metrics.objectives import Difference
from tuner.report.charts import Plain, plain as plain_text
from tuner.report.tables import measured
from tuner.results.judged import STRENGTH, Curve, JudgedResults, JudgedRow
from tuner.storage import StudyFolder
from tuner.storage.folder import DEFAULT_STUDIES, study_name
from tuner.terminal import console
from tuner.text import counted, interval

DRIFT = "alias_leak"
_SHOWN = ("effect", DRIFT, "identity", "copies", "likeness")
"""Measures with a column of their own, where any row has them."""

_MOST_NAMED = 5
_NAME_WIDTH = 26
_NUMBER_WIDTH, _GAIN_WIDTH = 11, 13
"""Letters of a number and the lower end of its interval, and of the same with signs."""

Document = dict[str, object]
"""Names and values for programs, as in tuner/report/documents.py."""


def print_judged(folder: StudyFolder, judged: JudgedResults, plain: bool = False) -> None:
    """Print the answer, the table of all files and strengths, and what the curves show."""
    for line in answer_lines(folder, judged):
        print(line)
    print()
    console().print(judged_table(judged, plain))
    for line in curve_lines(judged.curves):
        print(line)
    for row in judged.failed:
        if row.reason:
            print(f"{row_name(row)}: {row.state}: {row.reason}")


def row_name(row: JudgedRow) -> str:
    """Return how a row is called: `pose-000004 at 0.8`."""
    return f"{row.file.name} at {row.file.strength:g}"


def answer_lines(folder: StudyFolder, judged: JudgedResults) -> list[str]:
    """Return the answer: the file and strength to take, how sure that is, and what it changes."""
    winner = judged.winner
    if winner is None or winner.strength is None:
        return [f"no file to take: {judged.why_none}"]
    rivals = sum(row.state == "complete" for row in judged.rows) - 1
    line = f"take {row_name(winner)}: {interval(winner.strength)} in the geometric mean of "
    line += ", ".join(judged.results.study.objectives)
    lines = [line, _sure(judged, rivals)]
    if winner.gain is not None:
        lines.append(_against_base(winner.gain, winner))
    if winner.does_nothing:
        lines.append("its pictures are the base's, but for noise: the file does nothing here")
    lines += _drift_lines(winner)
    name = study_name(folder, DEFAULT_STUDIES)
    return [*lines, f"chosen on the samples that it is measured by: `tuner confirm {name}` "
            "measures the strongest again on fresh noise"]  # fmt: skip


def _sure(judged: JudgedResults, rivals: int) -> str:
    if not rivals:
        return "it is the only one that could be judged"
    line = f"the strongest of {rivals + 1} in {judged.share:.0%} of draws from the posterior"
    if not judged.tied:
        return f"{line}; clearly above all others"
    named = ", ".join(map(row_name, judged.tied[:_MOST_NAMED]))
    more = len(judged.tied) - _MOST_NAMED
    return f"{line}; tied with it: {named}" + (f" and {more} more" if more > 0 else "")


def _against_base(gain: Difference, winner: JudgedRow) -> str:
    each = "; ".join(f"{name} {signed(value)}" for name, value in winner.gains.items())
    return f"{verdict(gain)} the base: {signed(gain)} on the same noise ({each})"


def verdict(gain: Difference) -> str:
    """Return if a paired gain is clear: `better than`, `worse than`, `not distinguishable from`."""
    if gain.low > 0:
        return "better than"
    return "worse than" if gain.high < 0 else "not distinguishable from"


def signed(value: Difference) -> str:
    """Return a difference with its 95 % interval: `+0.12 [+0.03, +0.20]`."""
    return f"{value.value:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"


def _drift_lines(row: JudgedRow) -> list[str]:
    leak, effect = row.measures.get(DRIFT), row.measures.get("alias_effect")
    if leak is None or effect is None or leak.value is None or not effect.value:
        return []
    return [
        f"without the alias it changes pictures by {leak.value:.3f} (RMS, 1 is black to white), "
        f"{leak.value / effect.value:.0%} of the {effect.value:.3f} with it"
    ]


def curve_lines(curves: Sequence[Curve]) -> list[str]:
    """Return a line for each curve: its highest point, and where it turns."""
    return [_curve_line(curve) for curve in curves]


def _curve_line(curve: Curve) -> str:
    best = f"{curve.name}: highest at {curve.axis} {curve.at[curve.best]:g}"
    span = f" of {curve.at[0]:g} to {curve.at[-1]:g}"
    if curve.turn is not None:
        return f"{best}{span}; clearly lower from {curve.axis} {curve.at[curve.turn]:g} on"
    if curve.best == len(curve.at) - 1:
        return f"{best}{span}, its last: it may still rise"
    return f"{best}{span}; what follows is not clearly lower"


@dataclass(frozen=True)
class Columns:
    """The columns of the table: the study's objectives, then measures beside them."""

    objectives: tuple[str, ...]
    measures: tuple[str, ...]

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of all columns; that of the marks is empty."""
        head = ("", "file", "strength", "all", "gain over the base")
        return (*head, *self.objectives, *self.measures)


def judged_columns(judged: JudgedResults) -> Columns:
    """Return the columns for everything that was measured on any row."""
    known = {
        name
        for row in judged.rows
        for name, measure in row.measures.items()
        if measure.value is not None
    }
    return Columns(
        tuple(judged.results.study.objectives), tuple(name for name in _SHOWN if name in known)
    )


def judged_table(judged: JudgedResults, plain: bool = False) -> Table:
    """Return a row for each file and strength, and the base's row below.

    Measures beside the objectives are without their intervals, for which there is no room.
    """
    columns = judged_columns(judged)
    table = Table(
        title="files",
        title_justify="left",
        box=None if plain else box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    longest = max((len(row.file.name) for row in judged.rows), default=0)
    for name in columns.titles:
        width = min(longest, _NAME_WIDTH) if name == "file" else None
        # Two lines for a number with its interval, so that no column is beyond the edge.
        most = {"file": None, "gain over the base": _GAIN_WIDTH}.get(name, _NUMBER_WIDTH)
        table.add_column(name, min_width=width, max_width=most, overflow="fold")
    for row in judged.rows:
        cells = row_cells(row, judged, columns)
        beside = len(cells) - len(columns.measures)
        table.add_row(*cells[:beside], *(cell.partition(" [")[0] for cell in cells[beside:]))
    if judged.base is not None:
        known = judged.base.objectives
        values = [interval(known[n]) if n in known else "-" for n in columns.objectives]
        table.add_section()
        more = ["-"] * len(columns.measures)
        table.add_row("", "base", "-", "-", "-", *values, *more, style="dim")
    return table


def row_cells(row: JudgedRow, judged: JudgedResults, columns: Columns) -> list[str]:
    """Return a row's texts, with `take` or `tied` first where that is so."""
    mark = "take" if row == judged.winner else "tied" if row in judged.tied else ""
    head = [mark, row.file.name, f"{row.file.strength:g}"]
    if row.strength is None:
        return [*head, row.state, "-", *["-"] * len((*columns.objectives, *columns.measures))]
    gain = "-" if row.gain is None else signed(row.gain)
    values = [interval(row.objectives[name]) for name in columns.objectives]
    values += [measured(row.measures.get(name)) for name in columns.measures]
    return [*head, interval(row.strength), gain, *values]


def judged_document(folder: StudyFolder, judged: JudgedResults) -> Document:
    """Return the answer and all rows for programs; `winner` is None if no file may be taken."""
    return {
        "winner": None if judged.winner is None else _document(judged.winner),
        "share": judged.share,
        "tied": [_document(row) for row in judged.tied],
        "verdict": None
        if judged.winner is None or judged.winner.gain is None
        else verdict(judged.winner.gain).removesuffix(" than").removesuffix(" from"),
        "rows": [_document(row) for row in judged.rows],
        "base_rung": judged.base,
        "curves": [
            {
                "name": curve.name,
                "axis": curve.axis,
                "at": curve.at,
                "trials": [row.trial for row in curve.rows],
                "best": curve.at[curve.best],
                "turn": None if curve.turn is None else curve.at[curve.turn],
            }
            for curve in judged.curves
        ],
        "reasons": answer_lines(folder, judged),
    }


def _document(row: JudgedRow) -> Document:
    return vars(row) | {"does_nothing": row.does_nothing}


def curve_traces(curves: Sequence[Curve], over_strengths: bool) -> list[Plain]:
    """Return the traces of the curves over steps, or over strengths, for plotly.

    The point where a curve turns is an open circle.
    """
    traces = []
    for curve in curves:
        if (curve.axis == STRENGTH) != over_strengths:
            continue
        values = [row.strength for row in curve.rows if row.strength is not None]
        turned = [place == curve.turn for place in range(len(curve.rows))]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": plain_text(curve.name),
                "x": list(curve.at), "y": [each.value for each in values],
                "error_y": {
                    "type": "data", "symmetric": False, "thickness": 1, "width": 0,
                    "array": [each.high - each.value for each in values],
                    "arrayminus": [each.value - each.low for each in values],
                },
                "text": [plain_text(row_name(row)) for row in curve.rows],
                "customdata": [str(row.trial) for row in curve.rows],
                "marker": {
                    "size": [12 if turn else 8 for turn in turned],
                    "symbol": ["circle-open" if turn else "circle" for turn in turned],
                },
                "hovertemplate": "%{text}<br>%{y:.2f}<extra></extra>",
            }
        )  # fmt: skip
    return traces


def counted_files(judged: JudgedResults) -> str:
    """Return how much was judged: `10 files at 2 strengths`."""
    files = len({row.file.sha256 for row in judged.rows})
    strengths = len({row.file.strength for row in judged.rows})
    return f"{counted(files, 'file')} at {counted(strengths, 'strength')}"
