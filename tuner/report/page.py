"""The report as a page: one HTML text with its pictures, its charts' data and its scripts inside.

The page loads nothing from the network; its content security policy makes the browser enforce it.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from metrics.sets.identity import NAME as IDENTITY, ONE_FACE
from metrics.sets.measures import as_objective
from tuner.errors import TunerError
from tuner.judging.thresholds import read_thresholds
from tuner.report.charts import STATES, course_figure, effect_points, finished, front_points
from tuner.report.findings import QUESTIONS
from tuner.report.judged_page import judged_facts, judged_values
from tuner.report.pictures import Shown, Wall, as_json, judges, key, pictures
from tuner.report.verdicts import COLUMNS, RULE, cells, verdict_rows
from tuner.results import read_series, read_study_data
from tuner.results.answer import Answer, answer as answer_of
from tuner.results.course import agreements, causes, course, hypervolumes, phase_seconds
from tuner.results.effects import Interval, effects, excludes_zero
from tuner.results.extras import extra_tables
from tuner.results.study_data import StudyData
from tuner.storage import StudyFolder
from tuner.storage.columns import utc_now
from tuner.storage.files import FULL, write_text
from tuner.storage.folder import DEFAULT_STUDIES, study_name
from tuner.storage.json_text import json_text
from tuner.storage.rows import RungRow, TrialRow
from tuner.text import counted, interval, words


@dataclass(frozen=True)
class PromptColumns:
    """A prompt of the wall and the number of its columns."""

    text: str
    count: int


def render_page(data: StudyData, answer: Answer, pictures: Wall) -> str:
    """Return the whole page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuner.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": interval, "signed": signed_interval, "words": words}
    environment.filters["counted"] = counted
    return environment.get_template("report.html").render(
        data=data,
        study=data.results.study,
        answer=answer,
        pictures=pictures,
        written=to_the_minute(utc_now()),
        begun=to_the_minute(data.results.study.begun),
        questions=QUESTIONS,
        commands=commands(data, answer),
        facts=Markup(_in_script(_facts(data, answer, pictures))),
        plotly=Markup(get_plotlyjs()),
        prompts=prompt_columns(pictures),
        judges=judges(data),
        thresholds=read_thresholds(data.folder.thresholds),
        extras=extra_tables(data.folder, data.results),
        key=key,
        **_measured(data),
        **_verdicts(data),
        **judged_values(data),
    )


def commands(data: StudyData, answer: Answer) -> dict[str, str]:
    """Return the commands on the page: run again, dashboard, and for an answer export, confirm."""
    folder = data.folder
    name = shlex.quote(study_name(folder, DEFAULT_STUDIES))
    out = shlex.quote(f"{folder.name}.safetensors")
    lines = {
        "again": f"tuner run {shlex.quote(str(folder.study_yaml))} --studies again",
        "dashboard": f"tuner dashboard {name}",
    }
    if answer.trial is not None:
        option = "" if answer.ranking else f" --trial {answer.trial}"  # the default is the winner
        lines["export"] = f"tuner export {name}{option} -o {out}"
        lines["confirm"] = f"tuner confirm {name}"
    return lines


def signed_interval(value: Any) -> str:
    """Return a difference or an effect with its interval: `+0.12 [-0.03, +0.27]`."""
    text = f"{value.value:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def to_the_minute(at: str) -> str:
    """Return a time of results.db in a readable form: `2026-11-22 09:15 UTC`."""
    return f"{at[:10]} {at[11:16]} UTC" if at.endswith("+00:00") else at


def prompt_columns(pictures: Wall) -> list[PromptColumns]:
    """Return the wall's prompts in order, each with the number of its columns."""
    first: Sequence[Shown] = next(iter(pictures.wall.values()), ())
    grouped = itertools.groupby(first, key=lambda shown: shown.row.prompt.text)
    return [PromptColumns(text, len(list(group))) for text, group in grouped]


def _measured(data: StudyData) -> dict[str, Any]:
    """Return the template's values about parameters, rungs, times and causes of failure."""
    names, over = data.results.study.objectives, finished(data)
    parameters = [trial.parameters for trial, _ in over]
    phases = phase_seconds(data.phases)
    seconds = [trial.seconds for trial in data.results.trials if trial.seconds is not None]
    return {
        "effects": {
            name: effects(parameters, [rung.objectives[name].value for _, rung in over])
            for name in names
        },
        "known": is_clear,
        "over": len(over),
        "stopped_words": _stopped_words(sum(trial.state == "stopped" for trial, _ in over)),
        "agreements": agreements(data.results.trials, data.rungs, names),
        "phases": phases,
        "longest": max(phases.values(), default=0.0),
        "trial_seconds": seconds,
        "causes": causes(data.results.trials),
        "data_lines": [
            line.removeprefix("# data ").removeprefix("data: ")
            for line in data.config.splitlines()
            if line.startswith("# data ")
        ],
    }


def _verdicts(data: StudyData) -> dict[str, Any]:
    """Return the template's values about hypotheses; empty if the study has none."""
    if "\nhypotheses:" not in data.config or "\nhypotheses: []\n" in data.config:
        return {"verdicts": ()}
    comparisons = read_series([data.folder]).comparisons
    return {
        "verdicts": verdict_rows(comparisons),
        "comparison_columns": COLUMNS,
        "comparisons": [cells(comparison) for comparison in comparisons],
        "rule": RULE.replace("*", "").replace("`", ""),
    }


def _stopped_words(count: int) -> str:
    return f", {count} of them at the rung where they were stopped" if count else ""


def is_clear(effect: Interval | None) -> bool:
    """Return True if an effect's interval lies on one side of zero."""
    return effect is not None and excludes_zero(effect)


def _facts(data: StudyData, answer: Answer, pictures: Wall) -> dict[str, Any]:
    """Return the data that the page's script draws in charts and shows in dialogs."""
    order = judges(data)
    samples = {
        key(who): {each.row.cell: as_json(each, order, not on_wall) for each in shown}
        for on_wall, group in ((True, pictures.wall), (False, pictures.others))
        for who, shown in group.items()
    }
    for end in pictures.extremes:
        for shown, _ in (*end.best, *end.worst):
            of_trial = samples.setdefault(shown.key, {})
            of_trial.setdefault(shown.row.cell, as_json(shown, order, False))
    cells = {
        row.cell: [row.prompt.text, row.seed] for rows in data.samples.values() for row in rows
    }
    steps = course(data.results.trials, data.last, data.results.study.objectives)
    return {
        "objectives": data.results.study.objectives,
        "points": front_points(data, answer.trial),
        "states": STATES,
        "effects": effect_points(data),
        "course": course_figure(steps, _base_volume(data)),
        "trials": {str(trial.number): _trial(data, trial) for trial in data.results.trials}
        | ({"base": _base(data)} if data.results.base else {}),
        "samples": samples,
        "cells": cells,
        "judges": order,
        "rows": [key(who) for who in pictures.wall],
    } | judged_facts(data)


def _trial(data: StudyData, row: TrialRow) -> dict[str, Any]:
    rung = data.last.get(row.number)
    facts: dict[str, Any] = {
        "title": f"Trial {row.number}: {row.state}",
        "reason": row.reason or "",
        "parameters": words(row.parameters),
        "total": len(data.samples.get(row.number, ())),
    }
    if rung:
        samples = data.folder.trial(row.number).rung(rung.step).samples
        facts["numbers"] = _numbers(rung)
        facts["step"] = rung.step
        facts["folder"] = data.folder.relative(samples)
    return facts


def _base(data: StudyData) -> dict[str, Any]:
    rung = data.results.base
    assert rung is not None
    return {
        "title": "The base without LoRA",
        "reason": "",
        "parameters": data.results.study.base,
        "total": len(data.samples[None]),
        "numbers": _numbers(rung),
    }


def _numbers(rung: RungRow) -> list[list[str]]:
    values = (*rung.objectives.values(), *rung.rates.values())
    rows = [
        [value.name, interval(value) if value.n else "-", f"{value.n} of {value.total}"]
        for value in values
    ]
    for name in (IDENTITY, ONE_FACE):
        if name in rung.measures and name not in rung.objectives:
            measure = rung.measures[name]
            known = as_objective(measure)
            of = measure.note or "" if known is None else f"{known.n} of {known.total}"
            rows.append([name, "-" if known is None else interval(known), of])
    return rows


def _base_volume(data: StudyData) -> float | None:
    base, names = data.results.base, data.results.study.objectives
    if base is None or any(name not in base.objectives for name in names):
        return None
    return hypervolumes([[base.objectives[name].value for name in names]])[0]


def _in_script(facts: dict[str, Any]) -> str:
    """Return the facts as JSON for a script element; no text in them can end the element."""
    return json_text(facts).replace("<", "\\u003c")


def write_report(folder: StudyFolder, out: Path | None = None) -> Path:
    """Write the report to `out`, by default beside results.db, and return its path.

    The study is only read. Raises ConfigError if no study was begun in the folder, TunerError if
    the report cannot be written.
    """
    path = out or folder.report
    data = read_study_data(folder)
    answer = answer_of(data)
    try:
        write_text(path, render_page(data, answer, pictures(data, answer.trial)))
    except OSError as error:
        if error.errno in FULL:
            raise
        raise TunerError(
            f"{path} cannot be written ({error.strerror}); give another file with --out"
        ) from error
    return path
