"""Printed tables and JSON of the judges' accuracy, a table for each group of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from metrics.contract import Objective
from tuner.judging.selfcheck import EqualError, Fault, JudgeReport
from tuner.storage.files import write_whole
from tuner.storage.json_text import json_text
from tuner.terminal import console
from tuner.text import interval

_COLUMNS = (
    *("judge", "fault", "AUC", "found [95 %]", "ladder"),
    *("false alarms [95 %]", "abstained", "s a picture"),
)


def print_reports(reports: Sequence[JudgeReport]) -> None:
    """Print a table for each group, and the reasons of abstentions.

    A judge's row covers all its faults; several faults, or strengths of a fault, follow in rows of
    their own. The ladder column is Spearman's correlation, with `!` if a stronger fault does not
    always lower the mean.
    """
    for group in dict.fromkeys(report.group for report in reports):
        own = [report for report in reports if report.group == group]
        console().print(_table(group, own))
        for report in own:
            if report.reasons:
                why = ", ".join(f"{reason} ({n})" for reason, n in report.reasons.items())
                print(f"  {report.judge} abstained: {why}")
            if report.sexes is not None:
                print(f"  {report.judge}: {_sexes(report.sexes)}")
        print()


def write_reports(reports: Sequence[JudgeReport], about: Sequence[str], file: Path) -> None:
    """Write the reports as JSON with a description of the pictures.

    Raises ConfigError if the file cannot be written.
    """
    whole = {"about": list(about), "measures": reports}
    write_whole(file, json_text(whole, indent=1, ascii_only=True) + "\n")


def _table(group: str, own: Sequence[JudgeReport]) -> Table:
    table = Table(title=group, title_justify="left", box=box.SIMPLE_HEAD)
    for column in _COLUMNS:
        table.add_column(column)
    for report in own:
        single = len(report.faults) == 1
        table.add_row(
            report.judge,
            report.faults[0].kind if single else "all" if report.faults else "-",
            _number(report.auc),
            _rate(report.found),
            _ladders(report),
            _rate(report.false_alarms),
            f"{report.abstained} of {report.pictures}",
            f"{report.seconds:.3f}",
        )
        for fault in () if single else report.faults:
            table.add_row("", _label(fault), _number(fault.auc), _rate(fault.found))
    return table


def _sexes(equal: EqualError) -> str:
    return (
        f"women and men are misjudged equally often ({equal.error:.1%} of {equal.n}) with "
        f"judges.sex_threshold {equal.threshold:.3g}"
    )


def _label(fault: Fault) -> str:
    return f"{fault.kind} {fault.strength:g}" if fault.strength else fault.kind


def _ladders(report: JudgeReport) -> str:
    cells = [f"{_number(each.spearman)}{'' if each.falls else ' !'}" for each in report.ladders]
    return ", ".join(cells) or "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rate(rate: Objective) -> str:
    return f"{interval(rate)} of {rate.n}" if rate.n else "-"
