"""Which samples a report shows: the wall, some of every other trial, each judge's extremes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuner.findings import ASKS, READ, Drawing, Finding, Point, drawing, findings
from tuner.report_data import StudyData, Who
from tuner.rows import SampleRow
from tuner.thumbnails import Thumbnail, thumbnails

MOST_ROWS = 20
"""Trials on the wall, the strongest of the front."""

MOST_PICTURES = 2000
"""Pictures in a report, so that it stays under 20 MB and 20 s for 300 trials."""

EACH = 5
"""Samples of each judge at either end."""


@dataclass(frozen=True)
class Shown:
    """A sample on the page: its trial's key, its small picture (None: gone), what judges found."""

    key: str
    row: SampleRow
    picture: Thumbnail | None
    findings: Sequence[Finding]
    drawing: Drawing

    def of(self, judge: str) -> Shown:
        """The same sample with what one judge found alone."""
        seen = {name: self.row.scores[name] for name in self.row.scores if name in (judge, READ)}
        found = [one for one in self.findings if one.judge == judge]
        return replace(self, findings=found, drawing=drawing(seen))

    @property
    def words(self) -> str:
        """The findings in words."""
        return "; ".join(one.words for one in self.findings)

    @property
    def view(self) -> str:
        """The SVG view box of what is drawn over the picture: its pixels."""
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
    """A judge's best and worst samples with their values; one from each trial as far as it goes."""

    judge: str
    best: Sequence[tuple[Shown, float]]
    worst: Sequence[tuple[Shown, float]]


@dataclass(frozen=True)
class Pictures:
    """All samples of the page: `wall` in the order of its rows, `others` of trials not on it."""

    wall: Mapping[Who, Sequence[Shown]]
    others: Mapping[Who, Sequence[Shown]]
    extremes: Sequence[Extremes]


def key(who: Who) -> str:
    """What a trial, or the base, is called on the page."""
    return "base" if who is None else str(who)


def pictures(data: StudyData, chosen: int | None) -> Pictures:
    """The samples to show, with their small pictures."""
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
    return Pictures(
        {who: shown[who] for who in wall},
        {who: shown[who] for who in rest},
        [
            Extremes(judge, _valued(judge, best, small), _valued(judge, worst, small))
            for judge, best, worst in ends
        ],
    )


def judges(data: StudyData) -> list[str]:
    """The judges whose scores the study keeps, in the order of ASKS, others after them."""
    found = {name for of in data.samples.values() for row in of[:1] for name in row.scores}
    return [*(name for name in ASKS if name in found), *sorted(found - set(ASKS))]


def spread(rows: Sequence[SampleRow], count: int) -> list[SampleRow]:
    """At most `count` samples, the same cells of every trial: each prompt once, then again."""
    turns: dict[str, int] = {}
    placed = []
    for row in rows:
        turn = turns[row.prompt.text] = turns.get(row.prompt.text, -1) + 1
        placed.append((turn, row.cell, row))
    kept = sorted(placed, key=lambda one: one[:2])[:count]
    return [row for _, _, row in sorted(kept, key=lambda one: one[1])]


def extremes(
    samples: Mapping[Who, Sequence[SampleRow]], judge: str
) -> tuple[list[tuple[Who, SampleRow]], list[tuple[Who, SampleRow]]]:
    """A judge's best and worst samples, the furthest out first.

    One from each trial before a second from any: else one collapsed trial is all there is.
    """
    best = _furthest(samples, judge, -1.0)
    taken = {(who, row.cell) for who, row in best}
    worst = _furthest(samples, judge, 1.0)
    return best, [(who, row) for who, row in worst if (who, row.cell) not in taken]


def as_json(one: Shown, order: Sequence[str], with_picture: bool) -> dict[str, Any]:
    """What the page's script needs of a sample; its values in the `order` of the judges."""
    told: dict[str, Any] = {"v": [_short(_value(one.row, name)) for name in order]}
    for name, value in (("f", one.words), ("o", one.bones), ("b", one.boxes)):
        if value:
            told[name] = value
    if one.bones or one.boxes:
        told["s"] = one.view
    if with_picture and one.picture:
        told["i"] = one.picture.address
    return told


def _wall(data: StudyData, chosen: int | None) -> list[Who]:
    """The base, the chosen trial, and the strongest others of the front."""
    rows: list[Who] = [None] if None in data.samples else []
    first = [] if chosen is None else [chosen]
    return rows + [*first, *(one for one in data.front if one != chosen)][:MOST_ROWS]


def _furthest(
    samples: Mapping[Who, Sequence[SampleRow]], judge: str, sign: float
) -> list[tuple[Who, SampleRow]]:
    found = []
    for turn, (who, rows) in enumerate(samples.items()):
        judged = [(_value(row, judge), row) for row in rows]
        known = [(sign * value, row) for value, row in judged if value is not None]
        # Among equals each trial gives another prompt: a yes-or-no judge has many.
        of = len(rows)
        known.sort(key=lambda one: (one[0], (one[1].cell - turn * 5) % of))
        found += [(place, value, who, row) for place, (value, row) in enumerate(known[:EACH])]
    furthest = sorted(found, key=lambda one: (one[0], one[1]))[:EACH]
    return [(who, row) for _, _, who, row in sorted(furthest, key=lambda one: one[1])]


def _valued(
    judge: str, pairs: Iterable[tuple[Who, SampleRow]], small: Mapping[Path, Thumbnail]
) -> list[tuple[Shown, float]]:
    return [(_shown(who, row, small), _value(row, judge) or 0.0) for who, row in pairs]


def _shown(who: Who, row: SampleRow, small: Mapping[Path, Thumbnail]) -> Shown:
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
