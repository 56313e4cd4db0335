"""Are the judges right? Ask them about pictures whose truth is known, and count.

A judge finds a fault where its value is below one half. The area under the curve (AUC) is the
chance that a faulty picture has a lower value than a sound one.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from metrics import gender
from metrics.contract import Image, Objective, Score
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.intervals import wilson
from metrics.judges import JUDGES
from tuner.calibration import Cut
from tuner.cases import SOUND, Case

_FOUND = 0.5
_FLOOR = 0.01
"""Least value that still has to fall when a fault grows stronger."""


@dataclass(frozen=True)
class Answer:
    """What a judge said of a case, and in how many seconds.

    `side` is the picture's shorter side in pixels, `picture` its digest.
    """

    group: str
    source: int
    kind: str
    strength: float
    judge: str
    score: Score
    seconds: float
    side: int = 0
    picture: str = ""


@dataclass(frozen=True)
class Fault:
    """How well one fault is seen: `auc` is None where either side has no judged picture."""

    kind: str
    strength: float
    auc: float | None
    found: Objective


@dataclass(frozen=True)
class Ladder:
    """How the value follows a fault's strength, the sound picture at 0.

    `spearman` is the mean over the pictures of which at least three rungs were judged, -1 where
    every step lowers the value and None without such a picture. `falls`: each step lowers the
    mean over them. A ladder ends where the value has come to its least and stays there.
    """

    kind: str
    spearman: float | None
    falls: bool
    pictures: int


@dataclass(frozen=True)
class EqualError:
    """The probability of a woman from which to say so, that women and men are mistaken equally
    often, and the share of the `n` figures that is mistaken then."""

    threshold: float
    error: float
    n: int


@dataclass(frozen=True)
class Measure:
    """One judge on one group of pictures; `auc`, `found` and `cut` are those over all its faults.

    `sexes` is the gender judge's alone, over sound pictures, those too that it abstained on.
    `sides` are the least and the largest of the pictures' shorter sides, `data` is the digest of
    all of them.
    """

    group: str
    judge: str
    auc: float | None
    found: Objective
    false_alarms: Objective
    faults: tuple[Fault, ...]
    ladders: tuple[Ladder, ...]
    abstained: int
    asked: int
    reasons: Mapping[str, int]
    seconds: float
    cut: Cut | None
    sides: tuple[int, int]
    data: str
    sexes: EqualError | None = None


def answers(cases: Iterable[Case], judges: Detectors) -> Iterator[Answer]:
    """What the judges say of each case, in order.

    A network that several judges share counts towards the seconds of the first that asks it.
    Raises metrics.models.ModelUnavailableError for a missing model.
    """
    opened = False
    for case in cases:
        if not opened:  # loading the networks is no part of judging a picture
            opened = True
            evidence = Evidence(case.sample, judges)
            for judge in JUDGES:
                judge.score(case.sample, evidence)
        evidence = Evidence(case.sample, judges)
        side, picture = min(case.sample.image.shape[:2]), _digest(case.sample.image)
        for judge in JUDGES:
            if judge.name in case.judges:
                start = time.perf_counter()
                score = judge.score(case.sample, evidence)
                spent = time.perf_counter() - start
                about = (case.group, case.source, case.kind, case.strength)
                yield Answer(*about, judge.name, score, spent, side, picture)


def measures(answered: Sequence[Answer]) -> list[Measure]:
    """One measure for each judge and group, groups in the order in which they were asked."""
    found = []
    for group in dict.fromkeys(one.group for one in answered):
        for judge in JUDGES:
            own = [one for one in answered if one.group == group and one.judge == judge.name]
            if own:
                found.append(_measure(own))
    return found


def area_under_curve(faulty: Sequence[float], sound: Sequence[float]) -> float | None:
    """Chance that a faulty picture has the lower value, ties one half; None without either.

    Mann and Whitney's U over all pairs, from ranks.
    """
    if not faulty or not sound:
        return None
    ranks = rankdata([*sound, *faulty])[: len(sound)]
    above = float(ranks.sum()) - len(sound) * (len(sound) + 1) / 2
    return above / (len(sound) * len(faulty))


def best_cut(faulty: Sequence[float], sound: Sequence[float]) -> Cut | None:
    """Where to call a fault so that faulty and sound pictures are told apart best.

    Half way between two values, of equally good places that nearest one half; None where a side
    has no judged picture or all have the same value.
    """
    values = np.unique([*faulty, *sound])
    if not faulty or not sound or len(values) < 2:
        return None
    places = (values[1:] + values[:-1]) / 2
    found, alarms = ((np.array(side)[:, None] < places).mean(axis=0) for side in (faulty, sound))
    best = max(
        range(len(places)), key=lambda i: (round(found[i] - alarms[i], 9), -abs(places[i] - _FOUND))
    )
    return Cut(float(places[best]), float(found[best]), float(alarms[best]))


def equal_error(women: Sequence[float], men: Sequence[float]) -> EqualError | None:
    """Where to part women from men by their probability of a woman, as `metrics.gender` has it.

    Half way between two values, where the shares of women below and of men above differ least; of
    equally good places the one with fewer errors, then that nearest one half. None without either.
    """
    values = np.unique([*women, *men])
    if not women or not men or len(values) < 2:
        return None
    places = (values[1:] + values[:-1]) / 2
    missed = (np.array(women)[:, None] < places).mean(axis=0)
    taken = (np.array(men)[:, None] >= places).mean(axis=0)
    best = min(
        range(len(places)),
        key=lambda i: (abs(missed[i] - taken[i]), missed[i] + taken[i], abs(places[i] - _FOUND)),
    )
    wrong = missed[best] * len(women) + taken[best] * len(men)
    count = len(women) + len(men)
    return EqualError(float(places[best]), float(wrong) / count, count)


def spearman(strengths: Sequence[float], values: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where either does not change: nothing follows."""
    x, y = rankdata(strengths), rankdata(values)
    spread = float(x.std() * y.std())
    return float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread else 0.0


def _measure(own: Sequence[Answer]) -> Measure:
    sound = [one for one in own if one.kind == SOUND]
    faulty = [one for one in own if one.kind != SOUND]
    rungs = dict.fromkeys((one.kind, one.strength) for one in faulty)
    faults = [
        _fault(kind, at, [one for one in faulty if (one.kind, one.strength) == (kind, at)], sound)
        for kind, at in rungs
    ]
    graded = dict.fromkeys(kind for kind, at in rungs if at)
    reasons = Counter(one.score.reason or "" for one in own if one.score.value is None)
    whole = _fault("", 0.0, faulty, sound)
    return Measure(
        own[0].group,
        own[0].judge,
        whole.auc,
        whole.found,
        _below_half("false alarms", sound),
        tuple(faults),
        tuple(_ladder(kind, own) for kind in graded),
        reasons.total(),
        len(own),
        dict(reasons.most_common()),
        float(np.mean([one.seconds for one in sound or faulty])),
        best_cut(_values(faulty), _values(sound)),
        (min(one.side for one in own), max(one.side for one in own)),
        hashlib.sha256("".join(one.picture for one in own).encode()).hexdigest(),
        _sexes(sound) if own[0].judge == gender.NAME else None,
    )


def _sexes(sound: Sequence[Answer]) -> EqualError | None:
    told = [one.score.evidence for one in sound if "female" in one.score.evidence]
    women, men = (
        [float(str(one["female"])) for one in told if one["asked"] == sex]
        for sex in ("female", "male")
    )
    return equal_error(women, men)


def _digest(image: Image) -> str:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def _fault(kind: str, at: float, faulty: Sequence[Answer], sound: Sequence[Answer]) -> Fault:
    area = area_under_curve(_values(faulty), _values(sound))
    return Fault(kind, at, area, _below_half("found", faulty))


def _below_half(name: str, asked: Sequence[Answer]) -> Objective:
    values = _values(asked)
    count = sum(value < _FOUND for value in values)
    low, high = wilson(count, len(values))
    return Objective(name, count / max(1, len(values)), low, high, len(values), len(asked))


def _values(asked: Iterable[Answer]) -> list[float]:
    return [one.score.value for one in asked if one.score.value is not None]


def _ladder(kind: str, own: Sequence[Answer]) -> Ladder:
    rungs = sorted({one.strength for one in own if one.kind == kind} | {0.0})
    by_source: dict[int, dict[float, float]] = {}
    for one in own:
        if one.kind in (kind, SOUND) and one.score.value is not None:
            by_source.setdefault(one.source, {})[one.strength] = one.score.value
    judged = [values for values in by_source.values() if len(values) >= 3]
    if not judged:
        return Ladder(kind, None, False, 0)
    rank = []
    for values in judged:
        told = _to_floor([values[at] for at in rungs if at in values])
        rank.append(spearman(range(len(told)), told))
    means = _to_floor([_mean([values[at] for values in judged if at in values]) for at in rungs])
    falls = all(b < a for a, b in itertools.pairwise(means))
    return Ladder(kind, _mean(rank), falls, len(judged))


def _to_floor(values: Sequence[float]) -> list[float]:
    """The values up to the first from which all are at the floor."""
    above = [place for place, value in enumerate(values) if value > _FLOOR]
    return list(values[: above[-1] + 2 if above else 1])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
