"""What is told of the judges themselves: a table for each group of pictures, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from metrics.contract import Objective
from tuner.progress import console
from tuner.results_table import interval
from tuner.score_report import write_whole
from tuner.selfcheck import EqualError, Fault, Measure

_COLUMNS = (
    *("judge", "fault", "AUC", "found [95 %]", "ladder"),
    *("false alarms [95 %]", "abstained", "s a picture"),
)


def print_measures(measured: Sequence[Measure]) -> None:
    """Print a table for each group, and why judges abstained.

    A judge's row is over all its faults; where there are several, or several strengths of one,
    each has a row of its own. A ladder's number is Spearman's; `!` where the mean does not fall
    at each rung.
    """
    for group in dict.fromkeys(one.group for one in measured):
        own = [one for one in measured if one.group == group]
        console().print(_table(group, own))
        for one in own:
            if one.reasons:
                why = ", ".join(f"{reason} ({n})" for reason, n in one.reasons.items())
                print(f"  {one.judge} abstained: {why}")
            if one.sexes is not None:
                print(f"  {one.judge}: {_sexes(one.sexes)}")
        print()


def write_measures(measured: Sequence[Measure], about: Sequence[str], file: Path) -> None:
    """Write the measures as JSON with what was measured. Raises ConfigError where it cannot be."""
    whole = {"about": list(about), "measures": [asdict(one) for one in measured]}
    write_whole(file, json.dumps(whole, indent=1) + "\n")


def _table(group: str, own: Sequence[Measure]) -> Table:
    table = Table(title=escape(group), title_justify="left", box=box.SIMPLE_HEAD)
    for column in _COLUMNS:
        table.add_column(column)
    for one in own:
        single = len(one.faults) == 1
        table.add_row(
            one.judge,
            one.faults[0].kind if single else "all" if one.faults else "-",
            _number(one.auc),
            _rate(one.found),
            _ladders(one),
            _rate(one.false_alarms),
            f"{one.abstained} of {one.asked}",
            f"{one.seconds:.3f}",
        )
        for fault in () if single else one.faults:
            table.add_row("", _named(fault), _number(fault.auc), _rate(fault.found))
    return table


def _sexes(one: EqualError) -> str:
    return (
        f"women and men are mistaken equally often, {one.error:.1%} of {one.n}, where a woman is "
        f"one from {one.threshold:.3g} on (judges.sex_threshold)"
    )


def _named(fault: Fault) -> str:
    return f"{fault.kind} {fault.strength:g}" if fault.strength else fault.kind


def _ladders(one: Measure) -> str:
    told = [f"{_number(each.spearman)}{'' if each.falls else ' !'}" for each in one.ladders]
    return ", ".join(told) or "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rate(one: Objective) -> str:
    return f"{interval(one)} of {one.n}" if one.n else "-"
