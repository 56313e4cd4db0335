"""Accuracy of the judges, measured on pictures whose faults are known.

A judge finds a fault if its value is below one half. The area under the curve (AUC) is the
probability that a faulty picture has a lower value than a sound one.
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
from scipy.stats import rankdata, spearmanr

from metrics.contract import Image, Objective, Score
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.intervals import wilson
from metrics.judges import gender
from metrics.scoring import JUDGES, OPTIONAL_JUDGES, judges_for
from tuner.judging.calibration import Cut
from tuner.judging.cases import SOUND, Case

_FAULT_BELOW = 0.5
_FLOOR = 0.01
"""At or below this value, a judge's value may stay equal when a fault grows stronger."""


@dataclass(frozen=True)
class CaseScore:
    """A judge's score of a case, with the seconds it took.

    `side` is the picture's shorter side in pixels, `picture` the digest of its pixels.
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
    """A judge's accuracy on one fault.

    `auc` is None if no faulty or no sound picture was judged. `found` is the share of faults found.
    """

    kind: str
    strength: float
    auc: float | None
    found: Objective


@dataclass(frozen=True)
class Ladder:
    """Relation of a judge's value to the strength of a fault; the sound picture has strength 0.

    `spearman` is the mean correlation over the `pictures` with at least three judged strengths: -1
    if every step lowers the value, None without such a picture. `falls` is true if each step lowers
    the mean value. Strengths after the value has reached its minimum for good do not count.
    """

    kind: str
    spearman: float | None
    falls: bool
    pictures: int


@dataclass(frozen=True)
class EqualError:
    """The threshold at which equal shares of women and of men are misjudged.

    A figure counts as a woman if its probability of a woman is at least `threshold`; `error` is the
    share of all `n` figures that is then misjudged.
    """

    threshold: float
    error: float
    n: int


@dataclass(frozen=True)
class JudgeReport:
    """Accuracy of one judge on one group of pictures; `auc`, `found` and `cut` cover all faults.

    `pictures` counts the judged pictures and `seconds` is the mean per picture. `sides` are the
    least and the largest of the pictures' shorter sides (px), `data` is the digest of all
    pictures. `sexes` is set for the gender judge only, over the sound pictures, including those
    it abstained on.
    """

    group: str
    judge: str
    auc: float | None
    found: Objective
    false_alarms: Objective
    faults: tuple[Fault, ...]
    ladders: tuple[Ladder, ...]
    abstained: int
    pictures: int
    reasons: Mapping[str, int]
    seconds: float
    cut: Cut | None
    sides: tuple[int, int]
    data: str
    sexes: EqualError | None = None


def score_cases(cases: Iterable[Case], judges: Detectors) -> Iterator[CaseScore]:
    """Yield the score of each of a case's judges, case by case.

    The time of a network that several judges share is counted for the first judge that uses it.
    Raises metrics.detectors.models.ModelUnavailableError for a missing model.
    """
    opened, used = False, judges_for(judges.settings)
    for case in cases:
        if not opened:  # loading the networks does not count as judging time
            opened = True
            evidence = Evidence(case.sample, judges)
            for judge in used:
                judge.score(case.sample, evidence)
        evidence = Evidence(case.sample, judges)
        side, picture = min(case.sample.image.shape[:2]), _digest(case.sample.image)
        for judge in used:
            if judge.name in case.judges:
                start = time.perf_counter()
                score = judge.score(case.sample, evidence)
                spent = time.perf_counter() - start
                about = (case.group, case.source, case.kind, case.strength)
                yield CaseScore(*about, judge.name, score, spent, side, picture)


def judge_reports(scores: Sequence[CaseScore]) -> list[JudgeReport]:
    """Return a report for each group and judge, groups in the order of their first case."""
    reports = []
    for group in dict.fromkeys(score.group for score in scores):
        for judge in (*JUDGES, *OPTIONAL_JUDGES):
            own = [score for score in scores if (score.group, score.judge) == (group, judge.name)]
            if own:
                reports.append(_report(own))
    return reports


def area_under_curve(faulty: Sequence[float], sound: Sequence[float]) -> float | None:
    """Return the probability that a faulty picture has the lower value; a tie counts one half.

    Computed from ranks as Mann and Whitney's U over the number of pairs. None if a side is empty.
    """
    if not faulty or not sound:
        return None
    ranks = rankdata([*sound, *faulty])[: len(sound)]
    above = float(ranks.sum()) - len(sound) * (len(sound) + 1) / 2
    return above / (len(sound) * len(faulty))


def best_cut(faulty: Sequence[float], sound: Sequence[float]) -> Cut | None:
    """Return the threshold that best separates faulty from sound pictures.

    It lies half-way between two values; of equally good ones it is the nearest to one half. None if
    a side is empty or all values are equal.
    """
    values = np.unique([*faulty, *sound])
    if not faulty or not sound or len(values) < 2:
        return None
    cuts = (values[1:] + values[:-1]) / 2
    hits, alarms = ((np.array(side)[:, None] < cuts).mean(axis=0) for side in (faulty, sound))
    # The last key counts first; rounded, because equal gains may differ in their last digits.
    best = np.lexsort((np.abs(cuts - _FAULT_BELOW), -np.round(hits - alarms, 9)))[0]
    return Cut(float(cuts[best]), float(hits[best]), float(alarms[best]))


def equal_error(women: Sequence[float], men: Sequence[float]) -> EqualError | None:
    """Return the probability of a woman at which both sexes are misjudged equally often.

    It lies half-way between two values, where the shares of women below and of men above differ
    least; of equally good ones it has the fewest errors, then is the nearest to one half. None if
    a side is empty or all values are equal.
    """
    values = np.unique([*women, *men])
    if not women or not men or len(values) < 2:
        return None
    cuts = (values[1:] + values[:-1]) / 2
    missed = (np.array(women)[:, None] < cuts).mean(axis=0)
    mistaken = (np.array(men)[:, None] >= cuts).mean(axis=0)
    keys = (np.abs(cuts - _FAULT_BELOW), missed + mistaken, np.abs(missed - mistaken))
    best = np.lexsort(keys)[0]  # the last key counts first
    wrong = missed[best] * len(women) + mistaken[best] * len(men)
    count = len(women) + len(men)
    return EqualError(float(cuts[best]), float(wrong) / count, count)


def spearman(strengths: Sequence[float], values: Sequence[float]) -> float:
    """Return Spearman's rank correlation, 0 if either side is constant."""
    if len(set(strengths)) < 2 or len(set(values)) < 2:
        return 0.0
    return float(spearmanr(strengths, values).statistic)


def _report(own: Sequence[CaseScore]) -> JudgeReport:
    sound = [case for case in own if case.kind == SOUND]
    faulty = [case for case in own if case.kind != SOUND]
    degrees = dict.fromkeys((case.kind, case.strength) for case in faulty)
    faults = [
        _fault(*degree, [case for case in faulty if (case.kind, case.strength) == degree], sound)
        for degree in degrees
    ]
    graded = dict.fromkeys(kind for kind, strength in degrees if strength)
    reasons = Counter(case.score.reason or "" for case in own if case.score.value is None)
    whole = _fault("", 0.0, faulty, sound)
    return JudgeReport(
        group=own[0].group,
        judge=own[0].judge,
        auc=whole.auc,
        found=whole.found,
        false_alarms=_below_half("false alarms", sound),
        faults=tuple(faults),
        ladders=tuple(_ladder(kind, own) for kind in graded),
        abstained=reasons.total(),
        pictures=len(own),
        reasons=dict(reasons.most_common()),
        seconds=float(np.mean([case.seconds for case in sound or faulty])),
        cut=best_cut(_values(faulty), _values(sound)),
        sides=(min(case.side for case in own), max(case.side for case in own)),
        data=hashlib.sha256("".join(case.picture for case in own).encode()).hexdigest(),
        sexes=_sexes(sound) if own[0].judge == gender.NAME else None,
    )


def _sexes(sound: Sequence[CaseScore]) -> EqualError | None:
    evidences = [case.score.evidence for case in sound if "female" in case.score.evidence]
    women, men = (
        [float(str(evidence["female"])) for evidence in evidences if evidence["asked"] == sex]
        for sex in ("female", "male")
    )
    return equal_error(women, men)


def _digest(image: Image) -> str:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def _fault(
    kind: str, strength: float, faulty: Sequence[CaseScore], sound: Sequence[CaseScore]
) -> Fault:
    area = area_under_curve(_values(faulty), _values(sound))
    return Fault(kind, strength, area, _below_half("found", faulty))


def _below_half(name: str, cases: Sequence[CaseScore]) -> Objective:
    values = _values(cases)
    count = sum(value < _FAULT_BELOW for value in values)
    low, high = wilson(count, len(values))
    return Objective(name, count / max(1, len(values)), low, high, len(values), len(cases))


def _values(cases: Iterable[CaseScore]) -> list[float]:
    return [case.score.value for case in cases if case.score.value is not None]


def _ladder(kind: str, own: Sequence[CaseScore]) -> Ladder:
    strengths = sorted({case.strength for case in own if case.kind == kind} | {0.0})
    by_source: dict[int, dict[float, float]] = {}
    for case in own:
        if case.kind in (kind, SOUND) and case.score.value is not None:
            by_source.setdefault(case.source, {})[case.strength] = case.score.value
    judged = [values for values in by_source.values() if len(values) >= 3]
    if not judged:
        return Ladder(kind, None, False, 0)
    correlations = []
    for values in judged:
        falling = _to_floor([values[at] for at in strengths if at in values])
        correlations.append(spearman(range(len(falling)), falling))
    means = _to_floor(
        [_mean([values[at] for values in judged if at in values]) for at in strengths]
    )
    falls = all(b < a for a, b in itertools.pairwise(means))
    return Ladder(kind, _mean(correlations), falls, len(judged))


def _to_floor(values: Sequence[float]) -> list[float]:
    """Return the values up to the first from which all are at the floor."""
    above = [place for place, value in enumerate(values) if value > _FLOOR]
    return list(values[: above[-1] + 2 if above else 1])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
