"""What is told of judged pictures: tables for the person at the terminal, rows for programs."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich import box
from rich.table import Table

from metrics.contract import Objective, Score, ScoredSample
from metrics.measures import as_objective, measures
from metrics.objectives import objectives, rates
from tuner.calibration import ABOUT, Trust, marked, unknown_numbers
from tuner.errors import ConfigError
from tuner.progress import console
from tuner.results_table import interval
from tuner.score_folder import Pictures, left_out
from tuner.study_folder import write_text

_T = TypeVar("_T")
_WORST = 5
_LINE_EVERY = 30.0
"""Seconds between two lines of progress."""


def check_outputs(csv_file: Path | None, json_file: Path | None) -> None:
    """Raises ConfigError where a table cannot be written there, before anything is judged."""
    check_output(csv_file, ".csv")
    check_output(json_file, ".json")


def check_output(path: Path | None, suffix: str) -> None:
    """Raises ConfigError where no file of that suffix can be written; None is nothing to write.

    The suffix has to be right, so that no picture is written over by a slip.
    """
    if path is None:
        return
    if path.suffix.lower() != suffix or path.is_dir():
        raise ConfigError(f"{path}: name a file that ends in {suffix}")
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: {parent} is no folder to write in")


def with_progress(judged: Iterable[_T], total: int | None = None) -> Iterator[_T]:
    """The same, one for each picture; a line on stderr now and then says how far it is."""
    spoke = time.monotonic()
    of = "" if total is None else f" of {total}"
    for done, one in enumerate(judged, 1):
        yield one
        if time.monotonic() - spoke >= _LINE_EVERY:
            print(f"{done}{of} pictures judged", file=sys.stderr, flush=True)
            spoke = time.monotonic()


def print_scores(found: Pictures, scored: Sequence[ScoredSample], trust: Trust) -> None:
    """Print objectives and rates, the judges' abstentions, the worst pictures, what was left out.

    What no selfcheck stands behind is marked.
    Raises ConfigError where no picture was judged: all have gone meanwhile.
    """
    if not scored:
        raise ConfigError(f"{found.root}: the pictures cannot be read any more")
    unknown = _unknown(scored, trust)
    console().print(_numbers(scored, unknown_numbers(unknown)))
    console().print(_judges(scored, unknown))
    print(_framings(scored))
    if unknown:
        print(f"{ABOUT};\n  tuner selfcheck with --data or --labels makes one\n")
    print("\n".join(_worst(found, scored)))
    silent = sum(not one.sample.prompt.text for one in scored)
    notes = left_out(found)
    if silent:
        notes.append(
            f"{silent} came without a prompt: their gender is not asked, and they count as naming "
            "no clothes (--prompt gives one to all)"
        )
    if gone := len(found.prompted) - len(scored):
        notes.append(f"{gone} could not be read any more")
    for line in notes:
        print(line, file=sys.stderr)


def write_rows(
    found: Pictures,
    scored: Sequence[ScoredSample],
    files: tuple[Path | None, Path | None],
    trust: Trust,
) -> None:
    """Write a row for each picture to the CSV and JSON `files` that are asked for.

    CSV: file, prompt and what it asks for, each judge's value and, where it abstained, its reason,
    and which of the values are uncalibrated. JSON: that with the evidence and the judges' versions,
    the objectives and rates, and what was left out. A file is written whole or not at all. Raises
    ConfigError where one cannot be written.
    """
    csv_file, json_file = files
    if csv_file:
        write_whole(csv_file, _as_csv(found, scored, trust))
    if json_file:
        write_whole(json_file, _as_json(found, scored, trust))


def _unknown(scored: Sequence[ScoredSample], trust: Trust) -> frozenset[str]:
    """The judges that are uncalibrated for a picture or more."""
    return frozenset(name for one in scored for name in trust.unknown_judges(one))


def _numbers(scored: Sequence[ScoredSample], marks: frozenset[str]) -> Table:
    title = f"pictures judged: {len(scored)}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("objective", "value [95 %]", "judged"):
        table.add_column(column)
    for one in objectives(scored, None).values():
        table.add_row(marked(one.name, marks), *_cells(one))
    table.add_section()
    for one in rates(scored).values():
        table.add_row(f"{marked(one.name, marks)} (low is good)", *_cells(one))
    table.add_section()
    for measure in measures(scored, None).values():
        if known := as_objective(measure):  # most of them need a base
            table.add_row(known.name, *_cells(known))
    return table


def _cells(one: Objective) -> tuple[str, str]:
    return interval(one) if one.n else "-", f"{one.n} of {one.total}"


def _judges(scored: Sequence[ScoredSample], unknown: frozenset[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("judge", "mean", "judged", "abstained", "most often because"):
        table.add_column(column)
    for name in scored[0].scores:
        scores = [one.scores[name] for one in scored]
        values = [score for score in scores if score.value is not None]
        reasons = Counter(score.reason for score in scores if score.value is None)
        mean = f"{_mean(values):.2f}" if values else "-"
        why = reasons.most_common(1)[0][0] if reasons else ""
        abstained = str(reasons.total())
        table.add_row(marked(name, unknown), mean, str(len(values)), abstained, why)
    return table


def _framings(scored: Sequence[ScoredSample]) -> str:
    """How much of the figure the pictures show, in one line."""
    seen = Counter(one.features.framing for one in scored if one.features)
    return "framing: " + ", ".join(f"{name} {count}" for name, count in seen.most_common())


def _worst(found: Pictures, scored: Sequence[ScoredSample]) -> list[str]:
    """The pictures with the lowest mean of what their judges say, of those with a fault at all."""
    faulty = [one for one in scored if _faults(one)]
    if not faulty:
        return ["no judge finds a fault in any picture"]
    faulty.sort(key=lambda one: (_mean(one.scores.values()), _file(found, one)))
    lines = [f"worst of the {len(faulty)} in which a judge finds a fault:"]
    for one in faulty[:_WORST]:
        told = ", ".join(f"{score.judge} {score.value:.2f}" for score in _faults(one))
        lines.append(f"  {_file(found, one)}: {told}")
    return lines


def _mean(scores: Iterable[Score]) -> float:
    return float(np.mean([score.value for score in scores if score.value is not None]))


def _faults(one: ScoredSample) -> list[Score]:
    return [score for score in one.scores.values() if score.value is not None and score.value < 0.5]


def _as_csv(found: Pictures, scored: Sequence[ScoredSample], trust: Trust) -> str:
    judges = list(scored[0].scores)
    columns = [column for name in judges for column in (name, f"{name}_reason")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["file", "prompt", "sex", "framing", "names_clothes"]
    writer.writerow([*head, *columns, "uncalibrated"])
    for one in scored:
        prompt = one.sample.prompt
        about = [_file(found, one), prompt.text, prompt.sex, prompt.framing]
        scores = [one.scores[name] for name in judges]
        cells = [cell for score in scores for cell in (score.value, score.reason)]
        unknown = " ".join(trust.unknown_judges(one))
        writer.writerow([*about, int(prompt.names_clothes), *cells, unknown])
    return text.getvalue()


def _as_json(found: Pictures, scored: Sequence[ScoredSample], trust: Trust) -> str:
    marks = unknown_numbers(_unknown(scored, trust))
    whole = {
        "objectives": {n: _plain(one, marks) for n, one in objectives(scored, None).items()},
        "rates": {name: _plain(one, marks) for name, one in rates(scored).items()},
        "measures": {one.name: asdict(one) for one in measures(scored, None).values()},
        "images": [_row(found, one, trust) for one in scored],
        "unreadable": [{"file": found.name(at), "reason": why} for at, why in found.unreadable],
        "refused": found.refused,
    }
    return json.dumps(whole, indent=1) + "\n"


def _row(found: Pictures, one: ScoredSample, trust: Trust) -> dict[str, Any]:
    prompt = one.sample.prompt
    unknown = trust.unknown_judges(one)
    return {
        "file": _file(found, one),
        "prompt": prompt.text,
        "sex": prompt.sex,
        "framing": prompt.framing,
        "names_clothes": prompt.names_clothes,
        "framing_seen": one.features.framing if one.features else None,
        "scores": {
            name: {
                "value": score.value,
                "reason": score.reason,
                "calibrated": None if score.value is None else name not in unknown,
                "version": score.version,
                "evidence": dict(score.evidence),
            }
            for name, score in one.scores.items()
        },
    }


def _plain(one: Objective, marks: frozenset[str]) -> dict[str, float | int | bool]:
    numbers = {"value": one.value, "low": one.low, "high": one.high, "n": one.n, "total": one.total}
    return {**numbers, "calibrated": one.name not in marks}


def _file(found: Pictures, one: ScoredSample) -> str:
    assert one.sample.path is not None
    return found.name(one.sample.path)


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises ConfigError where it cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
