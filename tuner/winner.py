"""Which confirmed LoRA is the best, and how sure that is. Pure functions of scored samples.

What chose the candidates says nothing here: every number is of fresh noise, which no trial was
sampled on. Two questions are kept apart. A *file* is one training; its interval is over noise.
A *recipe* is its parameters; its interval is over training seeds too, and comes from trainings
that chose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import stdtrit

from metrics.contract import Measure, Objective
from metrics.effect import NOISE
from metrics.intervals import DRAWS, Floats, central
from metrics.objectives import Difference
from metrics.posterior import STRENGTH, Judged, draws, strength, strength_difference

FEWEST_SAMPLES = 104
"""On fewer fresh samples no limit is held to be kept: 0 of 104 is at most 0.036, 0 of 52 0.069."""

REPEATS = 2
"""So often a candidate is trained again, unless the user says otherwise."""

_SEED = 0


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that may be the best: a trial and the optimizer step of one of its rungs."""

    trial: int
    step: int


@dataclass(frozen=True)
class Run:
    """A LoRA file on the fresh samples: what it came to, its rates, and how far from the base."""

    judged: Judged
    rates: Mapping[str, Objective]
    effect: Measure | None = None


@dataclass(frozen=True)
class Entry:
    """A candidate's own file on the fresh samples, and its parameters trained with other seeds.

    `failed`: why a training with another seed gave no LoRA, one reason each.
    """

    candidate: Candidate
    own: Run
    repeats: tuple[Run, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Noise:
    """How far an objective varies between trainings of the same parameters.

    `sd` is the standard deviation over training seeds on the same noise, pooled over the
    candidates, with `df` degrees of freedom.
    """

    sd: float
    df: int

    @property
    def floor(self) -> float:
        """Two trainings of the same parameters differ by less than this in 95 of 100 cases."""
        return float(stdtrit(self.df, 0.975)) * math.sqrt(2) * self.sd


@dataclass(frozen=True)
class Standing:
    """A candidate among the others.

    `objectives` are the file's, their intervals holding together; `strength` is their geometric
    mean (95 % by itself). `recipe`: what one more training of the parameters gives, 95 %, empty
    without repeats. `best` and `front`: shares of the posterior draws in which it is the strongest
    and in which no other beats it in everything, None where it may not win. `broken`: limits that
    it breaks; `unshown`: those that are not shown to be kept. `lead`: the winner's strength minus
    its own, paired; None for the winner itself.
    """

    candidate: Candidate
    objectives: Mapping[str, Objective]
    strength: Objective
    recipe: Mapping[str, Objective]
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
        """Whether it changes the pictures and breaks no limit."""
        return not self.does_nothing and not self.broken


@dataclass(frozen=True)
class Verdict:
    """The confirmed candidates, the winner first, then by strength, then those that may not win.

    `noise` is the floor of each objective, empty without repeats; `gain` the winner's strength
    minus the base's.
    """

    standings: tuple[Standing, ...]
    noise: Mapping[str, Noise] = field(default_factory=dict)
    gain: Difference | None = None

    @property
    def winner(self) -> Standing | None:
        """The one with the highest lower bound of strength; None where none may win."""
        first = self.standings[0] if self.standings else None
        return first if first is not None and first.may_win else None

    @property
    def tied(self) -> tuple[Standing, ...]:
        """Those that may win and that nothing tells apart from the winner."""
        rivals = [one for one in self.standings[1:] if one.may_win and one.lead is not None]
        return tuple(one for one in rivals if one.lead and one.lead.low <= 0 <= one.lead.high)

    @property
    def single(self) -> bool:
        """Whether there is a winner beyond ties."""
        return self.winner is not None and not self.tied


def verdict(
    entries: Sequence[Entry],
    base: Judged,
    names: Sequence[str],
    constraints: Mapping[str, float],
) -> Verdict:
    """The standings of all `entries`, which were sampled on the same fresh noise as `base`.

    The winner has the highest lower bound of strength among those that may win. Rivals whose
    paired difference from it does not exclude 0 are tied with it.
    """
    rng = np.random.default_rng(_SEED)
    posterior = [_posterior(one.own.judged, base, names, rng) for one in entries]
    noise = noise_floors(entries, names)
    level = 0.05 / max(1, len(entries) * len(names))
    found = [
        _standing(entry, drawn, base, names, constraints, noise, level)
        for entry, drawn in zip(entries, posterior, strict=True)
    ]
    places = [index for index, one in enumerate(found) if one.may_win]
    shares = _shares(np.stack([posterior[index] for index in places])) if places else []
    for index, (best, front) in zip(places, shares, strict=True):
        found[index] = replace(found[index], best=best, front=front)
    order = sorted(range(len(found)), key=lambda at: (not found[at].may_win, -_low(found[at]), at))
    if not places:
        return Verdict(tuple(found[at] for at in order), noise)
    first = entries[order[0]].own.judged
    ranked = [found[order[0]]]
    for at in order[1:]:
        lead = strength_difference(first, entries[at].own.judged, names, base)
        ranked.append(replace(found[at], lead=lead))
    return Verdict(tuple(ranked), noise, strength_difference(first, base, names, base))


def noise_floors(entries: Sequence[Entry], names: Sequence[str]) -> dict[str, Noise]:
    """The spread of each objective over training seeds; empty where nothing was trained twice."""
    found = {}
    for name in names:
        groups = [
            np.array([run.judged.objectives[name].value for run in (one.own, *one.repeats)])
            for one in entries
            if one.repeats
        ]
        df = sum(len(values) - 1 for values in groups)
        if df:
            squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
            found[name] = Noise(math.sqrt(squares / df), df)
    return found


def recipe(repeats: Sequence[Run], base: Judged, name: str, noise: Noise) -> Objective:
    """What one more training of the parameters gives in an objective, with 95 % of the cases.

    Student's t over training seeds, with the pooled spread, around the mean of the repeats, whose
    own uncertainty over noise is added as if they were one run: they share the noise. The
    candidate's own file is not asked: it was chosen for being high.
    """
    rng = np.random.default_rng(_SEED)
    each = [np.sort(draws(name, run.judged, base, rng)) for run in repeats]
    mean = rng.permutation(np.mean(each, axis=0))
    apart = noise.sd * math.sqrt(1 + 1 / len(repeats)) * rng.standard_t(noise.df, DRAWS)
    told = [run.judged.objectives[name] for run in repeats]
    value = float(np.mean([one.value for one in told]))
    low, high = central(np.clip(mean + apart, 0.0, 1.0), value)
    n, total = sum(one.n for one in told), sum(one.total for one in told)
    return Objective(name, value, low, high, n, total)


def _posterior(
    judged: Judged, base: Judged, names: Sequence[str], rng: np.random.Generator
) -> Floats:
    """Draws of the objectives, shape (objectives, DRAWS)."""
    return np.stack([draws(name, judged, base, rng) for name in names])


def _standing(  # noqa: PLR0913 - a candidate's samples and what they are held against
    entry: Entry,
    drawn: Floats,
    base: Judged,
    names: Sequence[str],
    constraints: Mapping[str, float],
    noise: Mapping[str, Noise],
    level: float,
) -> Standing:
    own, objectives = entry.own, entry.own.judged.objectives
    value = float(strength(np.array([objectives[name].value for name in names])))
    low, high = central(strength(drawn), value)
    told = list(objectives[name] for name in names)
    effect = own.effect
    return Standing(
        candidate=entry.candidate,
        objectives={
            one.name: _stated(one, values, level) for one, values in zip(told, drawn, strict=True)
        },
        strength=Objective(
            STRENGTH, value, low, high, min(o.n for o in told), len(own.judged.scored)
        ),
        recipe={n: recipe(entry.repeats, base, n, noise[n]) for n in names if entry.repeats},
        does_nothing=effect is not None and effect.value is not None and effect.value < NOISE,
        broken=tuple(n for n, limit in constraints.items() if own.rates[n].low > limit),
        unshown=tuple(n for n, limit in constraints.items() if not is_kept(own.rates[n], limit)),
        effect=effect,
        failed=entry.failed,
    )


def is_kept(rate: Objective, limit: float) -> bool:
    """Whether a rate is shown to be within its limit: its upper bound, on samples enough."""
    return rate.total >= FEWEST_SAMPLES and rate.high <= limit


def _stated(one: Objective, drawn: Floats, level: float) -> Objective:
    """The objective with the interval that is wrong in a share `level` of the cases.

    With `level` = 0.05 / (candidates x objectives) all intervals hold at once in 95 of 100 cases,
    those of whichever candidate is then chosen among them (Bonferroni).
    """
    low, high = np.quantile(drawn, [level / 2, 1 - level / 2])
    return Objective(
        one.name, one.value, min(float(low), one.value), max(float(high), one.value), one.n,
        one.total,
    )  # fmt: skip


def _shares(posterior: Floats) -> list[tuple[float, float]]:
    """For each candidate the shares of draws in which it is the strongest, and on the front.

    posterior: shape (candidates, objectives, DRAWS).
    """
    strongest = np.argmax([strength(one) for one in posterior], axis=0)
    shares = []
    for index, one in enumerate(posterior):
        beaten = np.zeros(posterior.shape[-1], bool)
        for other in posterior:
            beaten |= (other >= one).all(axis=0) & (other > one).any(axis=0)
        shares.append((float((strongest == index).mean()), float((~beaten).mean())))
    return shares


def _low(standing: Standing) -> float:
    return standing.strength.low
