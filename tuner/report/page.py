"""The report as a page: one HTML text with its pictures, its charts' data and its scripts inside.

The page asks the network for nothing, and says so to the browser in its security policy.
"""

from __future__ import annotations

import errno
import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from metrics.contract import Objective
from tuner.errors import TunerError
from tuner.report.charts import STATES, course_figure, effect_points, finished, front_points
from tuner.report.findings import QUESTIONS
from tuner.report.pictures import Shown, Wall, as_json, judges, key, pictures
from tuner.report.verdicts import COLUMNS, RULE, cells, verdict_rows
from tuner.results import read_series, read_study_data
from tuner.results.answer import Answer, answer
from tuner.results.course import agreements, causes, course, hypervolumes, phase_seconds
from tuner.results.effects import Interval, effects, excludes_zero
from tuner.results.extras import extra_tables
from tuner.results.study_data import StudyData
from tuner.storage import StudyFolder
from tuner.storage.files import write_text
from tuner.storage.folder import DEFAULT_STUDIES, study_name
from tuner.storage.rows import json_text
from tuner.storage.store import utc_now
from tuner.text import interval, words


def page(data: StudyData, found: Answer, pictures: Wall) -> str:
    """The whole page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuner.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": interval, "signed": signed, "words": words}
    return environment.get_template("report.html").render(
        data=data,
        study=data.results.study,
        answer=found,
        pictures=pictures,
        written=minutes(utc_now()),
        begun=minutes(data.results.study.begun),
        questions=QUESTIONS,
        commands=commands(data, found),
        facts=Markup(_in_script(_facts(data, found, pictures))),
        plotly=Markup(get_plotlyjs()),
        prompts=prompt_groups(pictures),
        judges=judges(data),
        extras=extra_tables(data.folder, data.results),
        key=key,
        **_measured(data),
        **_verdicts(data),
    )


def commands(data: StudyData, found: Answer) -> dict[str, str]:
    """The commands that the page tells: to export the answer, to see more, to run it again."""
    folder = data.folder
    name = shlex.quote(study_name(folder, DEFAULT_STUDIES))
    out = shlex.quote(f"{folder.name}.safetensors")
    told = {
        "again": f"tuner run {shlex.quote(str(folder.study_yaml))} --studies again",
        "dashboard": f"tuner dashboard {name}",
    }
    if found.trial is not None:
        asked = "" if found.verdict else f" --trial {found.trial}"  # by itself it takes the winner
        told["export"] = f"tuner export {name}{asked} -o {out}"
        told["confirm"] = f"tuner confirm {name}"
    return told


def signed(one: Any) -> str:
    """A difference or an estimate with its interval: `+0.12 [-0.03, +0.27]`."""
    return f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]".replace("-", "\N{MINUS SIGN}")


def minutes(at: str) -> str:
    """A time of the databases as people write it: `2026-11-22 09:15 UTC`."""
    return f"{at[:10]} {at[11:16]} UTC" if at.endswith("+00:00") else at


def prompt_groups(pictures: Wall) -> list[tuple[str, int]]:
    """The wall's prompts, each with the number of its columns."""
    first: Sequence[Shown] = next(iter(pictures.wall.values()), ())
    grouped = itertools.groupby(first, key=lambda one: one.row.prompt.text)
    return [(text, len(list(of))) for text, of in grouped]


def _measured(data: StudyData) -> dict[str, Any]:
    """What the study measured about its parameters and itself."""
    names, over = data.results.study.objectives, finished(data)
    parameters = [one.parameters for one, _ in over]
    phases = phase_seconds(data.phases)
    done = [one for one in data.results.trials if one.seconds is not None]
    return {
        "effects": {
            name: effects(parameters, [rung.objectives[name].value for _, rung in over])
            for name in names
        },
        "known": known,
        "over": len(over),
        "stopped_words": _stopped_words(sum(one.state == "stopped" for one, _ in over)),
        "agreements": agreements(data.results.trials, data.rungs, names),
        "phases": phases,
        "longest": max(phases.values(), default=0.0),
        "trial_seconds": [one.seconds for one in done],
        "causes": causes(data.results.trials),
        "data_lines": [
            line.removeprefix("# data ").removeprefix("data: ")
            for line in data.config.splitlines()
            if line.startswith("# data ")
        ],
    }


def _verdicts(data: StudyData) -> dict[str, Any]:
    """What the runs of a study of recipes say of its hypotheses; nothing for a search."""
    if "\nhypotheses:" not in data.config:
        return {"verdicts": ()}
    found = read_series([data.folder]).comparisons
    return {
        "verdicts": verdict_rows(found),
        "comparison_columns": COLUMNS,
        "comparisons": [cells(one) for one in found],
        "rule": RULE.replace("*", "").replace("`", ""),
    }


def _stopped_words(count: int) -> str:
    return f", {count} of them at the rung where they were stopped" if count else ""


def known(estimate: Interval | None) -> bool:
    """Whether an effect's interval lies on one side of zero."""
    return estimate is not None and excludes_zero(estimate)


def _facts(data: StudyData, found: Answer, pictures: Wall) -> dict[str, Any]:
    """What the page's script draws and opens."""
    order = judges(data)
    samples = {
        key(who): {one.row.cell: as_json(one, order, not on_wall) for one in shown}
        for on_wall, group in ((True, pictures.wall), (False, pictures.others))
        for who, shown in group.items()
    }
    for end in pictures.extremes:
        for one, _ in (*end.best, *end.worst):
            samples.setdefault(one.key, {}).setdefault(one.row.cell, as_json(one, order, False))
    cells = {row.cell: [row.prompt.text, row.seed] for of in data.samples.values() for row in of}
    steps = course(data.results.trials, data.last, data.results.study.objectives)
    return {
        "objectives": data.results.study.objectives,
        "points": front_points(data, found.trial),
        "states": STATES,
        "effects": effect_points(data),
        "course": course_figure(steps, _base_volume(data)),
        "trials": {str(one.number): _trial(data, one.number) for one in data.results.trials}
        | ({"base": _base(data)} if data.results.base else {}),
        "samples": samples,
        "cells": cells,
        "judges": order,
        "rows": [key(who) for who in pictures.wall],
    }


def _trial(data: StudyData, number: int) -> dict[str, Any]:
    row = next(one for one in data.results.trials if one.number == number)
    rung = data.last.get(number)
    told: dict[str, Any] = {
        "title": f"Trial {number}: {row.state}",
        "reason": row.reason or "",
        "parameters": words(row.parameters),
        "total": len(data.samples.get(number, ())),
    }
    if rung:
        numbers = [*rung.objectives.values(), *rung.rates.values()]
        told["numbers"] = [_numbers(one) for one in numbers]
        told["step"] = rung.step
        told["folder"] = data.folder.relative(data.folder.trial(number).rung(rung.step).samples)
    return told


def _base(data: StudyData) -> dict[str, Any]:
    rung = data.results.base
    assert rung is not None
    return {
        "title": "The base without LoRA",
        "reason": "",
        "parameters": data.results.study.base,
        "total": len(data.samples[None]),
        "numbers": [_numbers(one) for one in (*rung.objectives.values(), *rung.rates.values())],
    }


def _numbers(one: Objective) -> list[str]:
    return [one.name, interval(one) if one.n else "-", f"{one.n} of {one.total}"]


def _base_volume(data: StudyData) -> float | None:
    base, names = data.results.base, data.results.study.objectives
    if base is None or any(name not in base.objectives for name in names):
        return None
    return hypervolumes([[base.objectives[name].value for name in names]])[0]


def _in_script(facts: dict[str, Any]) -> str:
    """JSON that stands in a script element: nothing in it can end the element."""
    return json_text(facts).replace("<", "\\u003c")


def write_report(folder: StudyFolder, out: Path | None = None) -> Path:
    """Write the report to `out`, by default beside results.db, and return its path.

    The study is only read. Raises ConfigError for a folder in which no study was begun, TunerError
    for a place that cannot be written.
    """
    path = out or folder.report
    data = read_study_data(folder)
    answered = answer(data)
    try:
        write_text(path, page(data, answered, pictures(data, answered.trial)))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise TunerError(
            f"{path} cannot be written ({error.strerror}); give another file with --out"
        ) from error
    return path
