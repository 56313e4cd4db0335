"""Judge each claim by runs with several training seeds: differences, p values, verdicts.

Pure functions. The unit is the training seed: a run of `arm` and one of `against` with the same
seed give one difference, and both were sampled from the same noise. The rule, which is fixed before
any run:

- every deciding comparison has a two-sided p value of Student's t test that its mean difference is
  0; the p values of all of them are corrected by Holm's method (Holm 1979);
- a difference whose 95 % interval lies wholly within -least and +least does not matter;
- `higher` and `lower` are supported if the corrected p is below 0.05 in that direction and the
  difference matters, refuted if it is below 0.05 in the other direction or does not matter;
- `alike` is supported if the difference does not matter, refuted if p is below 0.05;
- `not_higher` is supported if the interval ends below +least, refuted if p is below 0.05 and the
  difference above 0; `not_lower` the other way round;
- anything else, and fewer than five training seeds, is undecided;
- a claim of several comparisons is supported if all of them are, refuted if one is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from tuner.space.recipes import BASE, Expected, Hypothesis, Value, named

Verdict = Literal["supported", "refuted", "undecided"]
Runs = Mapping[tuple[str, int | None], Mapping[int, Mapping[str, Value]]]
"""Measures of each recipe at a rung (None: its last one), by training seed. Those of the base
are under BASE, with one entry that belongs to no seed.
"""

LEVEL = 0.05
FEWEST_SEEDS = 5


@dataclass(frozen=True)
class SeedDifference:
    """Mean of paired differences over `n` training seeds, 95 % interval and two-sided p value.

    The interval of a single seed is infinite.
    """

    value: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Result for one hypothesis.

    `arm` and `against` are the means over the seeds that both have; `holm` is the corrected p
    value. `holm` and `verdict` are None for a hypothesis that does not decide.
    """

    hypothesis: Hypothesis
    arm: float | None
    against: float | None
    difference: SeedDifference | None
    holm: float | None
    verdict: Verdict | None


def compare(hypotheses: Sequence[Hypothesis], runs: Runs) -> list[Comparison]:
    """Return the comparison of every hypothesis on the runs, in the same order."""
    pairs = [_pairs(hypothesis, runs) for hypothesis in hypotheses]
    differences = [difference([a - b for a, b in pair]) if pair else None for pair in pairs]
    deciding = [index for index, each in enumerate(hypotheses) if each.decides]
    p_values = [each.p if (each := differences[index]) else 1.0 for index in deciding]
    corrected = dict(zip(deciding, holm(p_values), strict=True))
    compared = []
    for index, (hypothesis, pair, apart) in enumerate(
        zip(hypotheses, pairs, differences, strict=True)
    ):
        p = corrected.get(index)
        arm, against = (statistics.fmean(side) if side else None for side in _sides(pair))
        verdict = None if p is None else decide(hypothesis.expected, hypothesis.least, apart, p)
        compared.append(Comparison(hypothesis, arm, against, apart, p, verdict))
    return compared


def difference(values: Sequence[float]) -> SeedDifference:
    """Return the mean of independent differences, at least one, by Student's t."""
    value, n = statistics.fmean(values), len(values)
    if n < 2:
        return SeedDifference(value, -math.inf, math.inf, 1.0, n)
    error = statistics.stdev(values) / math.sqrt(n)
    if error == 0:
        return SeedDifference(value, value, value, float(value == 0), n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, n - 1))
    return SeedDifference(value, value - half, value + half, p, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected for their number (Holm 1979), in the same order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def decide(
    expected: Expected, least: float, difference: SeedDifference | None, p: float
) -> Verdict:
    """Return the verdict on one comparison; `p` is the corrected p value."""
    if difference is None or difference.n < FEWEST_SEEDS:
        return "undecided"
    shown = 0 if p >= LEVEL else 1 if difference.value > 0 else -1
    small = -least < difference.low and difference.high < least
    if expected == "alike":
        return "supported" if small else "refuted" if shown else "undecided"
    if expected in ("not_higher", "not_lower"):
        above = expected == "not_higher"
        within = difference.high < least if above else difference.low > -least
        wrong = shown == (1 if above else -1)
        return "supported" if within else "refuted" if wrong else "undecided"
    if small:
        return "refuted"
    right = 1 if expected == "higher" else -1
    return "supported" if shown == right else "refuted" if shown == -right else "undecided"


def overall(comparisons: Sequence[Comparison]) -> dict[int, Verdict]:
    """Return the verdict on each claim by its number."""
    parts: dict[int, list[Verdict]] = {}
    for comparison in comparisons:
        of = parts.setdefault(comparison.hypothesis.number, [])
        of += [] if comparison.verdict is None else [comparison.verdict]
    return {number: _joined(of) for number, of in sorted(parts.items())}


def _joined(parts: Sequence[Verdict]) -> Verdict:
    if "refuted" in parts:
        return "refuted"
    return "supported" if parts and set(parts) == {"supported"} else "undecided"


def _pairs(hypothesis: Hypothesis, runs: Runs) -> list[tuple[float, float]]:
    """Return the values of both sides for each training seed that has both."""
    arms = _values(runs.get(named(hypothesis.arm), {}), hypothesis.measure)
    if hypothesis.against == BASE:
        base = next(iter(_values(runs.get((BASE, None), {}), hypothesis.measure).values()), None)
        others = {} if base is None else dict.fromkeys(arms, base)
    else:
        others = _values(runs.get(named(hypothesis.against), {}), hypothesis.measure)
    return [(arms[seed], others[seed]) for seed in sorted(arms.keys() & others.keys())]


def _values(runs: Mapping[int, Mapping[str, Value]], measure: str) -> dict[int, float]:
    measured = {seed: measures.get(measure) for seed, measures in runs.items()}
    return {seed: value for seed, value in measured.items() if value is not None}


def _sides(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [arm for arm, _ in pairs], [against for _, against in pairs]
