"""The tables of benchmarks/real_pictures.py: shares of alarms, abstentions and faults found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from metrics.contract import JudgeSettings
from metrics.intervals import wilson
from tuner.judging.selfcheck import area_under_curve
from tuner.judging.thresholds import SCALED, set_thresholds

KINDS = {"photo": "photographs", "generated": "generated pictures"}
SOUND_LABELS = dict(limbs="yes", readable="yes", clothed="yes", quality="sharp", several="no")
FAULTS = (
    ("missing or extra limbs", "limbs", ("missing", "extra"), ("limbs",)),
    ("bare torsos", "clothed", ("bare",), ("cloth_share", "no_explicit_parts")),
    ("artefacts and blur", "quality", ("artefact", "blurred"), ("clean", "sharp")),
    ("several people", "several", ("yes",), ("one_person",)),
)
ALARMS = (
    *("pose_readable", "limbs", "one_person", "cloth_share"),
    *("no_explicit_parts", "sharp", "clean", "no_red_eyes"),
)
"""The judges that may raise an alarm without knowing what the prompt asks for."""

Labels = dict[str, str]


@dataclass(frozen=True)
class Judged:
    """A picture's labels and its scores by judge, None for an abstention; `framing` is the class
    that was read."""

    labels: Labels
    scores: dict[str, float | None]
    framing: str
    thresholds: dict[str, float] = field(default_factory=dict)
    fault: str = ""

    def alarms(self, judge: str) -> bool:
        """True if the judge's score is below its threshold."""
        value = self.scores[judge]
        return value is not None and value < self.thresholds.get(judge, 0.5)

    def abstains(self, judge: str) -> bool:
        """True if the judge gave no score."""
        return self.scores[judge] is None


@dataclass(frozen=True)
class Row:
    """A row of the table: the share of the pictures in `among` that pass the test."""

    title: str
    among: Callable[[Judged], bool]
    test: Callable[[Judged], bool]


def with_thresholds(judged: Sequence[Judged]) -> list[Judged]:
    """Return the pictures with the thresholds that the sound pictures of other sources set."""
    by_source: dict[str, dict[str, float]] = {}
    for source in {picture.labels["repo"] for picture in judged}:
        others = [p for p in judged if p.labels["repo"] != source and is_sound(p)]
        scores = [{name: [p.scores[name]] for name in SCALED} for p in others]
        thresholds = set_thresholds(scores, "other sources")
        by_source[source] = {each.judge: each.threshold for each in thresholds.judges}
    return [replace(p, thresholds=by_source[p.labels["repo"]]) for p in judged]


def share(pictures: Sequence[Judged], row: Row) -> str:
    """Return `3 of 40, 8 % [3, 20]`: how many pass the row's test, with Wilson's interval."""
    among = [picture for picture in pictures if row.among(picture)]
    n, hits = len(among), sum(map(row.test, among))
    if not n:
        return "none"
    low, high = (100 * bound for bound in wilson(hits, n))
    return f"{hits} of {n}, {100 * hits / n:.0f} % [{low:.0f}, {high:.0f}]"


def sound_rows() -> Iterator[Row]:
    """Yield the rows on sound pictures: alarms, which are false there, and abstentions."""
    yield Row("sound: any alarm", is_sound, lambda p: any(map(p.alarms, ALARMS)))
    for judge in ALARMS:
        yield Row(f"sound: `{judge}` alarms", is_sound, partial(Judged.alarms, judge=judge))
        yield Row(f"sound: `{judge}` abstains", is_sound, partial(Judged.abstains, judge=judge))


def label_rows() -> Iterator[Row]:
    """Yield the rows on labelled faults, on the sex and on the framing."""
    for title, column, values, judges in FAULTS:
        yield Row(
            f"{title} found by {' or '.join(f'`{judge}`' for judge in judges)}",
            partial(is_labelled, column=column, values=values),
            partial(any_alarm, judges=judges),
        )
    sexed = partial(is_labelled, column="sex", values=("female", "male"))
    yield Row("sex: not judged", sexed, lambda p: p.abstains("gender"))
    yield Row(
        "sex: right, of those judged",
        lambda p: sexed(p) and not p.abstains("gender"),
        lambda p: not p.alarms("gender"),
    )
    yield Row(
        "framing as labelled",
        lambda p: bool(p.labels["framing"]),
        lambda p: p.framing == p.labels["framing"],
    )


def is_sound(picture: Judged) -> bool:
    """Return True if no label names a fault."""
    return all(picture.labels[name] == fine for name, fine in SOUND_LABELS.items())


def is_labelled(picture: Judged, column: str, values: Sequence[str]) -> bool:
    """Return True if the label in `column` is one of `values`."""
    return picture.labels[column] in values


def any_alarm(picture: Judged, judges: Sequence[str]) -> bool:
    """Return True if one of `judges` raises an alarm."""
    return any(map(picture.alarms, judges))


def page(judged: Sequence[Judged], painted: Sequence[Judged], settings: JudgeSettings) -> str:
    """Return the tables as Markdown."""
    parts = [[p for p in judged if p.labels["kind"] == kind] for kind in KINDS]
    lines = [
        "# The judges on real pictures",
        "",
        f"`python benchmarks/real_pictures.py FOLDER`, {len(judged)} pictures with labels by eye; "
        f"gender by {settings.gender_model or 'the face alone'}, persons by "
        f"{settings.person_model}. Shares with Wilson's 95 % interval.",
        "",
        f"| | {' | '.join(KINDS.values())} |",
        "|---|---|---|",
    ]
    for row in (*sound_rows(), *label_rows()):
        lines.append(f"| {row.title} | {' | '.join(share(part, row) for part in parts)} |")
    lines.append(f"| `limbs`: area under the curve | {' | '.join(map(limbs_area, parts))} |")
    for kind in dict.fromkeys(picture.fault for picture in painted):
        own = [[p for p in painted if p.fault == kind and p.labels["kind"] == k] for k in KINDS]
        judge = "pose_readable" if kind.startswith("figure") else "limbs"
        areas = [area(judge, *sides) for sides in zip(own, parts, strict=True)]
        lines.append(f"| painted: {kind}, `{judge}` | {' | '.join(areas)} |")
    if painted:
        wrong = [p for p in painted if not p.fault.startswith("figure")]
        own = [[p for p in wrong if p.labels["kind"] == kind] for kind in KINDS]
        areas = [area("limbs", *sides) for sides in zip(own, parts, strict=True)]
        lines.append(f"| painted: all wrong limbs, `limbs` | {' | '.join(areas)} |")
    return "\n".join(lines) + "\n"


def limbs_area(pictures: Sequence[Judged]) -> str:
    """Return the area under the curve of `limbs`, and how many faults it was not judged on."""
    return area(
        "limbs", [p for p in pictures if p.labels["limbs"] in ("missing", "extra")], pictures
    )


def area(judge: str, faulty: Sequence[Judged], pictures: Sequence[Judged]) -> str:
    """Return the area under the curve of faulty against the sound ones of these pictures.

    An abstention says as much as a score of one half.
    """
    bad, good = (
        [0.5 if p.scores[judge] is None else float(p.scores[judge] or 0.0) for p in side]
        for side in (faulty, filter(is_sound, pictures))
    )
    value = area_under_curve(bad, good)
    if value is None:
        return "none"
    unknown = sum(p.scores[judge] is None for p in faulty)
    return f"{value:.2f}, {unknown} of {len(faulty)} faults not judged"
