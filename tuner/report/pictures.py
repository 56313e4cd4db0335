"""Choose the samples of a report: the wall, some of every other trial, each judge's extremes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuner.report.findings import QUESTIONS, READ, Drawing, Finding, Point, drawing, findings
from tuner.report.thumbnails import Thumbnail, thumbnails
from tuner.results.judged import of_files
from tuner.results.study_data import StudyData, TrialKey
from tuner.storage.rows import SampleRow

MOST_ROWS = 20
"""Most trials on the wall: the strongest of the front."""

MOST_PICTURES = 2000
"""Most pictures in a report: it stays under 20 MB and takes under 20 s for 300 trials."""

EACH = 5
"""Number of best and of worst samples for each judge."""


@dataclass(frozen=True)
class Shown:
    """A sample on the page: its trial's key, its small picture (None: gone), its faults."""

    key: str
    row: SampleRow
    picture: Thumbnail | None
    findings: Sequence[Finding]
    drawing: Drawing

    def of(self, judge: str) -> Shown:
        """Return the same sample with the findings of one judge only."""
        scores = {name: self.row.scores[name] for name in self.row.scores if name in (judge, READ)}
        faults = [finding for finding in self.findings if finding.judge == judge]
        return replace(self, findings=faults, drawing=drawing(scores))

    @property
    def words(self) -> str:
        """The findings in words."""
        return "; ".join(finding.words for finding in self.findings)

    @property
    def view(self) -> str:
        """The SVG view box of the lines over the picture, in pixels."""
        return "0 0 {:.0f} {:.0f}".format(*self._size)

    @property
    def bones(self) -> str:
        """The skeleton as an SVG path."""
        return "".join(f"M{self._at(a)}L{self._at(b)}" for a, b in self.drawing.bones)

    @property
    def boxes(self) -> str:
        """The boxes as an SVG path."""
        return "".join(
            f"M{self._at((x0, y0))}H{x1 * self._size[0]:.1f}V{y1 * self._size[1]:.1f}"
            f"H{x0 * self._size[0]:.1f}Z"
            for x0, y0, x1, y1 in self.drawing.boxes
        )

    @property
    def _size(self) -> tuple[float, float]:
        return (self.picture.width, self.picture.height) if self.picture else (100, 100)

    def _at(self, point: Point) -> str:
        return f"{point[0] * self._size[0]:.1f} {point[1] * self._size[1]:.1f}"


@dataclass(frozen=True)
class Extremes:
    """A judge's best and worst samples with their values, from as many trials as possible."""

    judge: str
    best: Sequence[tuple[Shown, float]]
    worst: Sequence[tuple[Shown, float]]


@dataclass(frozen=True)
class Wall:
    """All samples of the page: `wall` in the order of its rows, `others` of trials not on it."""

    wall: Mapping[TrialKey, Sequence[Shown]]
    others: Mapping[TrialKey, Sequence[Shown]]
    extremes: Sequence[Extremes]


def key(who: TrialKey) -> str:
    """Return the name of a trial, or of the base, on the page."""
    return "base" if who is None else str(who)


def pictures(data: StudyData, chosen: int | None) -> Wall:
    """Return the samples to show, with their small pictures."""
    wall = _wall(data, chosen)
    rows = {who: list(data.samples[who]) for who in wall}
    rest = [who for who in data.samples if who not in wall]
    spent = sum(len(of) for of in rows.values())
    share = max(1, (MOST_PICTURES - spent) // max(1, len(rest)))
    rows |= {who: spread(data.samples[who], share) for who in rest}
    ends = [(judge, *extremes(data.samples, judge)) for judge in judges(data)]
    pairs = [pair for _, best, worst in ends for pair in (*best, *worst)]
    paths = [row.path for of in rows.values() for row in of] + [row.path for _, row in pairs]
    small = thumbnails(paths)
    shown = {who: [_shown(who, row, small) for row in of] for who, of in rows.items()}
    return Wall(
        {who: shown[who] for who in wall},
        {who: shown[who] for who in rest},
        [
            Extremes(judge, _valued(judge, best, small), _valued(judge, worst, small))
            for judge, best, worst in ends
        ],
    )


def judges(data: StudyData) -> list[str]:
    """Return the judges with scores in the study: those of QUESTIONS in order, then others."""
    known = {name for of in data.samples.values() for row in of[:1] for name in row.scores}
    return [*(name for name in QUESTIONS if name in known), *sorted(known - set(QUESTIONS))]


def spread(rows: Sequence[SampleRow], count: int) -> list[SampleRow]:
    """Return at most `count` samples, the same cells of every trial: every prompt once first."""
    turns: dict[str, int] = {}
    placed = []
    for row in rows:
        turn = turns[row.prompt.text] = turns.get(row.prompt.text, -1) + 1
        placed.append((turn, row.cell, row))
    kept = sorted(placed, key=lambda entry: entry[:2])[:count]
    return [row for _, _, row in sorted(kept, key=lambda entry: entry[1])]


def extremes(
    samples: Mapping[TrialKey, Sequence[SampleRow]], judge: str
) -> tuple[list[tuple[TrialKey, SampleRow]], list[tuple[TrialKey, SampleRow]]]:
    """Return a judge's best and worst samples, the most extreme first.

    One from each trial comes before a second from any: else one collapsed trial would fill the
    list.
    """
    best = _furthest(samples, judge, -1.0)
    taken = {(who, row.cell) for who, row in best}
    worst = _furthest(samples, judge, 1.0)
    return best, [(who, row) for who, row in worst if (who, row.cell) not in taken]


def as_json(sample: Shown, order: Sequence[str], with_picture: bool) -> dict[str, Any]:
    """Return the values of a sample for the page's script, in the `order` of the judges."""
    values: dict[str, Any] = {"v": [_short(_value(sample.row, name)) for name in order]}
    for name, value in (("f", sample.words), ("o", sample.bones), ("b", sample.boxes)):
        if value:
            values[name] = value
    if sample.bones or sample.boxes:
        values["s"] = sample.view
    if with_picture and sample.picture:
        values["i"] = sample.picture.address
    return values


def _wall(data: StudyData, chosen: int | None) -> list[TrialKey]:
    """Return the base, the chosen trial, and the strongest others of the front.

    In a study of existing files they are the base and the files, in their order.
    """
    rows: list[TrialKey] = [None] if None in data.samples else []
    if of_files(data.results):  # all of them: a slider chooses the strength
        cells = max((len(of) for of in data.samples.values()), default=1)
        judged = [who for who in data.samples if who is not None]
        return rows + judged[: max(1, MOST_PICTURES // max(1, cells) - 1)]
    first = [] if chosen is None else [chosen]
    return rows + [*first, *(trial for trial in data.front if trial != chosen)][:MOST_ROWS]


def _furthest(
    samples: Mapping[TrialKey, Sequence[SampleRow]], judge: str, sign: float
) -> list[tuple[TrialKey, SampleRow]]:
    candidates = []
    for turn, (who, rows) in enumerate(samples.items()):
        judged = [(_value(row, judge), row) for row in rows]
        known = [(sign * value, row) for value, row in judged if value is not None]
        # Among equals each trial gives another prompt: a yes-or-no judge has many.
        of = len(rows)
        known.sort(key=lambda entry: (entry[0], (entry[1].cell - turn * 5) % of))
        candidates += [(place, value, who, row) for place, (value, row) in enumerate(known[:EACH])]
    furthest = sorted(candidates, key=lambda entry: (entry[0], entry[1]))[:EACH]
    return [(who, row) for _, _, who, row in sorted(furthest, key=lambda entry: entry[1])]


def _valued(
    judge: str, pairs: Iterable[tuple[TrialKey, SampleRow]], small: Mapping[Path, Thumbnail]
) -> list[tuple[Shown, float]]:
    return [(_shown(who, row, small), _value(row, judge) or 0.0) for who, row in pairs]


def _shown(who: TrialKey, row: SampleRow, small: Mapping[Path, Thumbnail]) -> Shown:
    return Shown(
        key(who),
        row,
        small.get(row.path),
        findings(row.scores, row.prompt.sex),
        drawing(row.scores),
    )


def _value(row: SampleRow, judge: str) -> float | None:
    return row.scores[judge].value if judge in row.scores else None


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
