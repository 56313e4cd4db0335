"""Rank the confirmed LoRAs and state how sure the ranking is. Pure functions of scored samples.

The samples that chose the candidates are not used here: every number comes from fresh noise, on
which no trial was sampled. Two things are kept apart. A *file* is one training; its interval is
over noise. A *retrained* value belongs to the parameters: its interval is over training seeds too,
and comes from trainings that were not used for the choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import stdtrit

from metrics.contract import Measure, Objective
from metrics.intervals import DRAWS, Floats, central
from metrics.objectives import Difference
from metrics.posterior import STRENGTH, Judged, draws, strength, strength_difference
from metrics.sets.effect import NOISE

FEWEST_SAMPLES = 104
"""Fewest fresh samples to show that a limit holds: 0 of 104 is at most 0.036, 0 of 52 0.069."""

REPEATS = 2
"""Default number of times that each candidate is trained again with another seed."""

_SEED = 0


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that may be the best: a trial and the optimizer step of one of its rungs."""

    trial: int
    step: int


@dataclass(frozen=True)
class Run:
    """One LoRA file on the fresh samples: objectives, rates, distance from the base."""

    judged: Judged
    rates: Mapping[str, Objective]
    effect: Measure | None = None


@dataclass(frozen=True)
class Entry:
    """A candidate's own file on the fresh samples, and its parameters trained with other seeds.

    `failed`: one reason for each training with another seed that gave no LoRA.
    """

    candidate: Candidate
    own: Run
    repeats: tuple[Run, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Noise:
    """Variation of an objective between trainings of the same parameters.

    `sd` is the standard deviation over training seeds on the same noise, pooled over the
    candidates, with `df` degrees of freedom.
    """

    sd: float
    df: int

    @property
    def floor(self) -> float:
        """Difference that two trainings of the same parameters stay below in 95 of 100 cases."""
        return float(stdtrit(self.df, 0.975)) * math.sqrt(2) * self.sd


@dataclass(frozen=True)
class Ranked:
    """One confirmed candidate with its place in the ranking and its intervals.

    `objectives` are those of the file; their 95 % intervals hold together. `strength` is their
    geometric mean (95 % by itself). `retrained`: what one more training of the parameters gives,
    95 %; empty without repeats. `best` and `front`: shares of the posterior draws in which it is
    the strongest and in which no other candidate beats it in every objective; None if it may not
    win. `broken`: limits that it breaks; `unshown`: limits that it is not shown to keep. `lead`:
    strength of the winner minus its own, paired; None for the winner itself.
    """

    candidate: Candidate
    objectives: Mapping[str, Objective]
    strength: Objective
    retrained: Mapping[str, Objective]
    does_nothing: bool
    broken: tuple[str, ...]
    unshown: tuple[str, ...]
    effect: Measure | None = None
    failed: tuple[str, ...] = ()
    best: float | None = None
    front: float | None = None
    lead: Difference | None = None

    @property
    def may_win(self) -> bool:
        """True if it changes the pictures and breaks no limit."""
        return not self.does_nothing and not self.broken


@dataclass(frozen=True)
class Ranking:
    """The confirmed candidates: the winner first, then by strength, then those that may not win.

    `noise` is the noise of each objective, empty without repeats; `gain` is the strength of the
    winner minus that of the base.
    """

    ranked: tuple[Ranked, ...]
    noise: Mapping[str, Noise] = field(default_factory=dict)
    gain: Difference | None = None

    @property
    def winner(self) -> Ranked | None:
        """The candidate with the highest lower bound of strength; None if none may win."""
        first = self.ranked[0] if self.ranked else None
        return first if first is not None and first.may_win else None

    @property
    def tied(self) -> tuple[Ranked, ...]:
        """Candidates that may win and are not distinguishable from the winner."""
        rivals = [rival for rival in self.ranked[1:] if rival.may_win and rival.lead is not None]
        return tuple(
            rival for rival in rivals if rival.lead and rival.lead.low <= 0 <= rival.lead.high
        )

    @property
    def single(self) -> bool:
        """True if there is a winner and no other candidate is tied with it."""
        return self.winner is not None and not self.tied


def rank(
    entries: Sequence[Entry], base: Judged, names: Sequence[str], constraints: Mapping[str, float]
) -> Ranking:
    """Return the ranking of `entries`, which were sampled on the same fresh noise as `base`.

    The winner has the highest lower bound of strength among those that may win. Rivals whose paired
    difference from it does not exclude 0 are tied with it.
    """
    rng = np.random.default_rng(_SEED)
    posterior = [_posterior(entry.own.judged, base, names, rng) for entry in entries]
    noise = noise_floors(entries, names)
    level = 0.05 / max(1, len(entries) * len(names))
    judged = [
        _place(entry, drawn, base, names, constraints, noise, level)
        for entry, drawn in zip(entries, posterior, strict=True)
    ]
    eligible = [index for index, candidate in enumerate(judged) if candidate.may_win]
    shares = _shares(np.stack([posterior[index] for index in eligible])) if eligible else []
    for index, (best, front) in zip(eligible, shares, strict=True):
        judged[index] = replace(judged[index], best=best, front=front)
    order = sorted(
        range(len(judged)), key=lambda at: (not judged[at].may_win, -_low(judged[at]), at)
    )
    if not eligible:
        return Ranking(tuple(judged[at] for at in order), noise)
    first = entries[order[0]].own.judged
    ranked = [judged[order[0]]]
    for at in order[1:]:
        lead = strength_difference(first, entries[at].own.judged, names, base)
        ranked.append(replace(judged[at], lead=lead))
    return Ranking(tuple(ranked), noise, strength_difference(first, base, names, base))


def noise_floors(entries: Sequence[Entry], names: Sequence[str]) -> dict[str, Noise]:
    """Return each objective's spread over training seeds; empty if nothing was retrained."""
    floors = {}
    for name in names:
        groups = [
            np.array([run.judged.objectives[name].value for run in (entry.own, *entry.repeats)])
            for entry in entries
            if entry.repeats
        ]
        df = sum(len(values) - 1 for values in groups)
        if df:
            squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
            floors[name] = Noise(math.sqrt(squares / df), df)
    return floors


def retrained(repeats: Sequence[Run], base: Judged, name: str, noise: Noise) -> Objective:
    """Return what one more training of the parameters gives in an objective, with a 95 % interval.

    Student's t over training seeds, with the pooled spread, around the mean of the repeats. Their
    own uncertainty over noise is added as if they were one run, because they share the noise. The
    candidate's own file is left out: it was chosen for being high.
    """
    rng = np.random.default_rng(_SEED)
    each = [np.sort(draws(name, run.judged, base, rng)) for run in repeats]
    mean = rng.permutation(np.mean(each, axis=0))
    apart = noise.sd * math.sqrt(1 + 1 / len(repeats)) * rng.standard_t(noise.df, DRAWS)
    measured = [run.judged.objectives[name] for run in repeats]
    value = float(np.mean([objective.value for objective in measured]))
    low, high = central(np.clip(mean + apart, 0.0, 1.0), value)
    n, total = (
        sum(objective.n for objective in measured),
        sum(objective.total for objective in measured),
    )
    return Objective(name, value, low, high, n, total)


def _posterior(
    judged: Judged, base: Judged, names: Sequence[str], rng: np.random.Generator
) -> Floats:
    """Return draws of the objectives, shape (objectives, DRAWS)."""
    return np.stack([draws(name, judged, base, rng) for name in names])


def _place(  # noqa: PLR0913 - a candidate's samples and what they are compared with
    entry: Entry,
    drawn: Floats,
    base: Judged,
    names: Sequence[str],
    constraints: Mapping[str, float],
    noise: Mapping[str, Noise],
    level: float,
) -> Ranked:
    own, objectives = entry.own, entry.own.judged.objectives
    value = float(strength(np.array([objectives[name].value for name in names])))
    low, high = central(strength(drawn), value)
    named = [objectives[name] for name in names]
    effect = own.effect
    return Ranked(
        candidate=entry.candidate,
        objectives={
            objective.name: _stated(objective, values, level)
            for objective, values in zip(named, drawn, strict=True)
        },
        strength=Objective(
            STRENGTH, value, low, high, min(o.n for o in named), len(own.judged.scored)
        ),
        retrained={n: retrained(entry.repeats, base, n, noise[n]) for n in names if entry.repeats},
        does_nothing=effect is not None and effect.value is not None and effect.value < NOISE,
        broken=tuple(n for n, limit in constraints.items() if own.rates[n].low > limit),
        unshown=tuple(n for n, limit in constraints.items() if not is_kept(own.rates[n], limit)),
        effect=effect,
        failed=entry.failed,
    )


def is_kept(rate: Objective, limit: float) -> bool:
    """Return True if enough samples show by the upper bound that a rate is within its limit."""
    return rate.total >= FEWEST_SAMPLES and rate.high <= limit


def _stated(objective: Objective, drawn: Floats, level: float) -> Objective:
    """Return the objective with an interval that is wrong in a share `level` of the cases.

    With `level` = 0.05 / (candidates x objectives) all intervals hold at once in 95 of 100 cases,
    including those of the candidate that is then chosen (Bonferroni).
    """
    low, high = np.quantile(drawn, [level / 2, 1 - level / 2])
    value = objective.value
    return replace(objective, low=min(float(low), value), high=max(float(high), value))


def _shares(posterior: Floats) -> list[tuple[float, float]]:
    """Return for each candidate the shares of draws in which it is the strongest, and on the front.

    posterior: shape (candidates, objectives, DRAWS).
    """
    strongest = np.argmax([strength(candidate) for candidate in posterior], axis=0)
    shares = []
    for index, candidate in enumerate(posterior):
        beaten = np.zeros(posterior.shape[-1], bool)
        for other in posterior:
            beaten |= (other >= candidate).all(axis=0) & (other > candidate).any(axis=0)
        shares.append((float((strongest == index).mean()), float((~beaten).mean())))
    return shares


def _low(ranked: Ranked) -> float:
    return ranked.strength.low
