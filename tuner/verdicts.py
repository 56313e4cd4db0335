"""What runs with several training seeds say of a claim: differences, p values, verdicts.

Pure functions. The unit is the training seed: a run of `arm` and one of `against` with the same
seed give one difference, which saw the same noise. The rule, which is fixed before any run:

- every deciding comparison has a two-sided p value of Student's t test that its mean difference is
  0, and over all of them these are corrected by Holm's method (Holm 1979);
- a difference whose 95 % interval lies wholly within -least and +least does not matter;
- `higher` and `lower` are supported where the corrected p is below 0.05 in that direction and the
  difference matters, refuted where it is below 0.05 in the other one or does not matter;
- `alike` is supported where the difference does not matter, refuted where p is below 0.05;
- `not_higher` is supported where the interval ends below +least, refuted where p is below 0.05 and
  the difference above 0; `not_lower` the other way round;
- anything else, and fewer than five training seeds, is undecided;
- a claim of several comparisons is supported where all of them are, refuted where one is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from tuner.recipes import BASE, Expected, Hypothesis, Value, named

Verdict = Literal["supported", "refuted", "undecided"]
Runs = Mapping[tuple[str, int | None], Mapping[int, Mapping[str, Value]]]
"""The measures of each recipe, at a rung or at its last one (None), by training seed; those of the
base under BASE, by no seed of their own."""

LEVEL = 0.05
FEWEST_SEEDS = 5


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences over `n` training seeds, 95 % interval and two-sided p value.

    Of a single seed nothing is known: the interval is endless.
    """

    value: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """What was found for one hypothesis.

    `arm` and `against` are the means over the seeds that both have; `holm` is the corrected p
    value, None for one that does not decide; `verdict` is None there, too.
    """

    asked: Hypothesis
    arm: float | None
    against: float | None
    difference: Difference | None
    holm: float | None
    verdict: Verdict | None


def compare(hypotheses: Sequence[Hypothesis], runs: Runs) -> list[Comparison]:
    """Every hypothesis with what the runs say of it, in the same order."""
    pairs = [_pairs(one, runs) for one in hypotheses]
    found = [difference([a - b for a, b in pair]) if pair else None for pair in pairs]
    deciding = [index for index, one in enumerate(hypotheses) if one.decides]
    p_values = [each.p if (each := found[index]) else 1.0 for index in deciding]
    corrected = dict(zip(deciding, holm(p_values), strict=True))
    told = []
    for index, (one, pair, each) in enumerate(zip(hypotheses, pairs, found, strict=True)):
        p = corrected.get(index)
        arm, against = (statistics.fmean(side) if side else None for side in _sides(pair))
        verdict = None if p is None else decide(one.expected, one.least, each, p)
        told.append(Comparison(one, arm, against, each, p, verdict))
    return told


def difference(values: Sequence[float]) -> Difference:
    """The mean of independent differences, at least one, by Student's t."""
    value, n = statistics.fmean(values), len(values)
    if n < 2:
        return Difference(value, -math.inf, math.inf, 1.0, n)
    error = statistics.stdev(values) / math.sqrt(n)
    if error == 0:
        return Difference(value, value, value, float(value == 0), n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, n - 1))
    return Difference(value, value - half, value + half, p, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for how many there are (Holm 1979), in the same order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def decide(expected: Expected, least: float, found: Difference | None, p: float) -> Verdict:
    """The verdict on one comparison; `p` is corrected."""
    if found is None or found.n < FEWEST_SEEDS:
        return "undecided"
    shown = 0 if p >= LEVEL else 1 if found.value > 0 else -1
    small = -least < found.low and found.high < least
    if expected == "alike":
        return "supported" if small else "refuted" if shown else "undecided"
    if expected in ("not_higher", "not_lower"):
        above = expected == "not_higher"
        within = found.high < least if above else found.low > -least
        wrong = shown == (1 if above else -1)
        return "supported" if within else "refuted" if wrong else "undecided"
    if small:
        return "refuted"
    right = 1 if expected == "higher" else -1
    return "supported" if shown == right else "refuted" if shown == -right else "undecided"


def overall(found: Sequence[Comparison]) -> dict[int, Verdict]:
    """The verdict on each claim by its number."""
    parts: dict[int, list[Verdict]] = {}
    for one in found:
        of = parts.setdefault(one.asked.number, [])
        of += [] if one.verdict is None else [one.verdict]
    return {number: _joined(of) for number, of in sorted(parts.items())}


def _joined(parts: Sequence[Verdict]) -> Verdict:
    if "refuted" in parts:
        return "refuted"
    return "supported" if parts and set(parts) == {"supported"} else "undecided"


def _pairs(one: Hypothesis, runs: Runs) -> list[tuple[float, float]]:
    """The values of both sides for each training seed that has both."""
    arms = _values(runs.get(named(one.arm), {}), one.measure)
    if one.against == BASE:
        base = next(iter(_values(runs.get((BASE, None), {}), one.measure).values()), None)
        others = {} if base is None else dict.fromkeys(arms, base)
    else:
        others = _values(runs.get(named(one.against), {}), one.measure)
    return [(arms[seed], others[seed]) for seed in sorted(arms.keys() & others.keys())]


def _values(runs: Mapping[int, Mapping[str, Value]], measure: str) -> dict[int, float]:
    found = {seed: measures.get(measure) for seed, measures in runs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _sides(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [arm for arm, _ in pairs], [against for _, against in pairs]
