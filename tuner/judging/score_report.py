"""Printed tables of judged pictures, and CSV and JSON files for other programs."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich import box
from rich.table import Table

from metrics.contract import Objective, Score, ScoredSample
from metrics.objectives import objectives, rates
from metrics.sets.measures import as_objective, measures
from tuner.errors import ConfigError
from tuner.judging.calibration import ABOUT, Trust, marked, uncalibrated_numbers
from tuner.judging.score_folder import FoundPictures, left_out
from tuner.storage.files import write_whole
from tuner.storage.json_text import json_text
from tuner.terminal import console
from tuner.text import interval

_T = TypeVar("_T")
_WORST = 5
_LINE_EVERY = 30.0
"""Seconds between two lines of progress."""


def print_scores(pictures: FoundPictures, scored: Sequence[ScoredSample], trust: Trust) -> None:
    """Print objectives and rates, the judges' abstentions, the worst pictures, and those left out.

    Numbers without a selfcheck are marked. Raises ConfigError if no picture was judged, because all
    were removed meanwhile.
    """
    if not scored:
        raise ConfigError(f"{pictures.root}: the pictures cannot be read any more")
    uncalibrated = _uncalibrated(scored, trust)
    console().print(_numbers(scored, uncalibrated_numbers(uncalibrated)))
    console().print(_judges(scored, uncalibrated))
    print(_framings(scored))
    if uncalibrated:
        print(f"{ABOUT};\n  tuner selfcheck with --data or --labels makes one\n")
    print("\n".join(_worst(pictures, scored)))
    promptless = sum(not picture.sample.prompt.text for picture in scored)
    notes = left_out(pictures)
    if promptless:
        notes.append(
            f"{promptless} came without a prompt: their gender is not judged, and they count as "
            "naming no clothes (--prompt gives one to all)"
        )
    if gone := len(pictures.prompted) - len(scored):
        notes.append(f"{gone} could not be read any more")
    for line in notes:
        print(line, file=sys.stderr)


def write_rows(
    pictures: FoundPictures,
    scored: Sequence[ScoredSample],
    files: tuple[Path | None, Path | None],
    trust: Trust,
) -> None:
    """Write a row for each picture to the CSV and JSON `files`; None is not written.

    CSV: file, prompt and its requirements, each judge's value or reason of abstention, and the
    uncalibrated judges. JSON: the same with evidence and the judges' versions, the objectives and
    rates, and the pictures left out. A file is written whole or not at all. Raises ConfigError if
    one cannot be written.
    """
    csv_file, json_file = files
    if csv_file:
        write_whole(csv_file, _as_csv(pictures, scored, trust))
    if json_file:
        document = score_document(pictures, scored, trust)
        write_whole(json_file, json_text(document, indent=1, ascii_only=True) + "\n")


def _uncalibrated(scored: Sequence[ScoredSample], trust: Trust) -> frozenset[str]:
    """Return the judges that are uncalibrated for at least one picture."""
    return frozenset(name for picture in scored for name in trust.uncalibrated_judges(picture))


def _numbers(scored: Sequence[ScoredSample], marks: frozenset[str]) -> Table:
    title = f"pictures judged: {len(scored)}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("objective", "value [95 %]", "judged"):
        table.add_column(column)
    for objective in objectives(scored, None).values():
        table.add_row(marked(objective.name, marks), *_cells(objective))
    table.add_section()
    for rate in rates(scored).values():
        table.add_row(f"{marked(rate.name, marks)} (low is good)", *_cells(rate))
    table.add_section()
    for measure in measures(scored, None).values():
        if known := as_objective(measure):  # most of them need a base
            table.add_row(known.name, *_cells(known))
    return table


def _cells(number: Objective) -> tuple[str, str]:
    return interval(number) if number.n else "-", f"{number.n} of {number.total}"


def _judges(scored: Sequence[ScoredSample], uncalibrated: frozenset[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("judge", "mean", "judged", "abstained", "most often because"):
        table.add_column(column)
    for name in scored[0].scores:
        scores = [picture.scores[name] for picture in scored]
        values = [score for score in scores if score.value is not None]
        reasons = Counter(score.reason for score in scores if score.value is None)
        mean = f"{_mean(values):.2f}" if values else "-"
        why = reasons.most_common(1)[0][0] if reasons else ""
        abstained = str(reasons.total())
        table.add_row(marked(name, uncalibrated), mean, str(len(values)), abstained, why)
    return table


def _framings(scored: Sequence[ScoredSample]) -> str:
    """Return a line that counts the pictures of each framing."""
    framings = Counter(picture.features.framing for picture in scored if picture.features)
    return "framing: " + ", ".join(f"{name} {count}" for name, count in framings.most_common())


def _worst(pictures: FoundPictures, scored: Sequence[ScoredSample]) -> list[str]:
    """Return lines for the pictures with a fault that have the lowest mean of all judges."""
    faulty = [picture for picture in scored if _faults(picture)]
    if not faulty:
        return ["no judge finds a fault in any picture"]
    faulty.sort(key=lambda picture: (_mean(picture.scores.values()), _file(pictures, picture)))
    lines = [f"worst of the {len(faulty)} in which a judge finds a fault:"]
    for worst in faulty[:_WORST]:
        faults = ", ".join(f"{score.judge} {score.value:.2f}" for score in _faults(worst))
        lines.append(f"  {_file(pictures, worst)}: {faults}")
    return lines


def _mean(scores: Iterable[Score]) -> float:
    return float(np.mean([score.value for score in scores if score.value is not None]))


def _faults(scored: ScoredSample) -> list[Score]:
    scores = scored.scores.values()
    return [score for score in scores if score.value is not None and score.value < 0.5]


def _as_csv(pictures: FoundPictures, scored: Sequence[ScoredSample], trust: Trust) -> str:
    judges = list(scored[0].scores)
    columns = [column for name in judges for column in (name, f"{name}_reason")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["file", "prompt", "sex", "framing", "names_clothes"]
    writer.writerow([*head, *columns, "uncalibrated"])
    for picture in scored:
        prompt = picture.sample.prompt
        about = [_file(pictures, picture), prompt.text, prompt.sex, prompt.framing]
        scores = [picture.scores[name] for name in judges]
        cells = [cell for score in scores for cell in (score.value, score.reason)]
        uncalibrated = " ".join(trust.uncalibrated_judges(picture))
        writer.writerow([*about, int(prompt.names_clothes), *cells, uncalibrated])
    return text.getvalue()


def score_document(
    pictures: FoundPictures, scored: Sequence[ScoredSample], trust: Trust
) -> dict[str, Any]:
    """Return the objectives, rates and measures, every picture with its scores, those left out."""
    marks = uncalibrated_numbers(_uncalibrated(scored, trust))
    return {
        "objectives": {name: _plain(n, marks) for name, n in objectives(scored, None).items()},
        "rates": {name: _plain(n, marks) for name, n in rates(scored).items()},
        "measures": measures(scored, None),
        "images": [_row(pictures, picture, trust) for picture in scored],
        "unreadable": [
            {"file": pictures.name(path), "reason": why} for path, why in pictures.unreadable
        ],
        "refused": pictures.refused,
    }


def _row(pictures: FoundPictures, scored: ScoredSample, trust: Trust) -> dict[str, Any]:
    prompt = scored.sample.prompt
    uncalibrated = trust.uncalibrated_judges(scored)
    return {
        "file": _file(pictures, scored),
        "prompt": prompt.text,
        "sex": prompt.sex,
        "framing": prompt.framing,
        "names_clothes": prompt.names_clothes,
        "framing_seen": scored.features.framing if scored.features else None,
        "scores": {
            name: {
                "value": score.value,
                "reason": score.reason,
                "calibrated": None if score.value is None else name not in uncalibrated,
                "version": score.version,
                "evidence": dict(score.evidence),
            }
            for name, score in scored.scores.items()
        },
    }


def _plain(number: Objective, marks: frozenset[str]) -> dict[str, float | int | bool]:
    return {
        "value": number.value,
        "low": number.low,
        "high": number.high,
        "n": number.n,
        "total": number.total,
        "calibrated": number.name not in marks,
    }


def _file(pictures: FoundPictures, scored: ScoredSample) -> str:
    assert scored.sample.path is not None
    return pictures.name(scored.sample.path)
