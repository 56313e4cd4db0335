"""The answer of a study: which trial, how sure, and what it gains over the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metrics.contract import Objective, ScoredSample
from metrics.objectives import Difference, paired_difference
from tuner.errors import ConfigError
from tuner.results.confirmation import Confirmation, later, sentences
from tuner.results.results import Recommendation, Results, recommended
from tuner.results.study_data import StudyData
from tuner.results.winner import Ranking

MOST_RIVALS = 24
"""Of so many other trials of the front, the strongest, it is asked whether they are worse."""


@dataclass(frozen=True)
class Gain:
    """An objective or a rate of the trial beside the base's.

    `difference` is paired by prompt and seed; None for a rate, without a base, and where the
    scores cannot be paired. Of a confirmed trial: `noise`, by how much two trainings of the same
    parameters differ, and `recipe`, what one more training gives; None without repeats.
    """

    name: str
    trial: Objective
    base: Objective | None
    difference: Difference | None
    noise: float | None = None
    recipe: Objective | None = None

    @property
    def verdict(self) -> str:
        """What the difference's interval says."""
        if self.difference is None:
            return ""
        if self.difference.low > 0:
            return "better than the base"
        return "worse than the base" if self.difference.high < 0 else "not told apart"


@dataclass(frozen=True)
class Answer:
    """The trial to take, or None and in `why` the reason that there is none.

    `tied` are the other trials of the front that no objective tells apart from it, of `rivals`
    that were compared. Of a confirmed trial all numbers are of fresh samples, `verdict` has the
    others that were confirmed, `step` is the rung of its LoRA, and `more` what else is to say.
    """

    trial: int | None
    why: str
    gains: tuple[Gain, ...] = ()
    rates: tuple[Gain, ...] = ()
    rivals: int = 0
    tied: tuple[int, ...] = ()
    step: int | None = None
    verdict: Ranking | None = None
    more: tuple[str, ...] = ()

    def gained(self, verdict: str) -> list[str]:
        """The objectives whose verdict begins with a word: better, worse or not."""
        return [one.name for one in self.gains if one.verdict.startswith(verdict)]


def which_trial(results: Results) -> Recommendation:
    """The one place where a report asks which trial to take.

    Raises ConfigError, with the reason, when there is none.
    """
    return recommended(results)


def answer(data: StudyData) -> Answer:
    """Which trial to take, why, and how sure that is; the confirmed winner, where there is one."""
    if data.confirmation and data.confirmation.verdict:
        return _confirmed(data.confirmation, data)
    try:
        choice = which_trial(data.results)
    except ConfigError as error:
        return Answer(None, str(error))
    number, rung = choice.result.trial.number, choice.result.rung
    base, names = data.results.base, data.results.study.objectives
    samples = {who: [row.scored() for row in rows] for who, rows in data.samples.items()}
    ours, before = samples[number], samples.get(None, [])
    gains = [
        Gain(
            name,
            rung.objectives[name],
            base.objectives.get(name) if base else None,
            difference(ours, before, name, before),
        )
        for name in names
    ]
    rates = [
        Gain(name, rate, base.rates.get(name) if base else None, None)
        for name, rate in rung.rates.items()
    ]
    rivals = [one for one in data.front if one != number][:MOST_RIVALS]
    tied = [one for one in rivals if _tied(ours, samples[one], before, names)]
    return Answer(number, choice.why, tuple(gains), tuple(rates), len(rivals), tuple(tied))


def _confirmed(found: Confirmation, data: StudyData) -> Answer:
    told, own, base = found.verdict, found.own, found.base
    assert told is not None
    why, *more = sentences(found) or ["none of the candidates gave pictures on fresh noise"]
    more += later(found, data.folder)
    won = told.winner
    if won is None or own is None or base is None:
        return Answer(None, "; ".join([why, *more]), verdict=told)
    before = base.judged.scored
    gains = [
        Gain(
            name,
            one,
            base.judged.objectives.get(name),
            difference(own.judged.scored, before, name, before),
            told.noise[name].floor if name in told.noise else None,
            won.retrained.get(name),
        )
        for name, one in won.objectives.items()
    ]
    rates = [Gain(name, rate, base.rates.get(name), None) for name, rate in own.rates.items()]
    tied = tuple(one.candidate.trial for one in told.tied)
    return Answer(
        trial=won.candidate.trial,
        why=why,
        gains=tuple(gains),
        rates=tuple(rates),
        rivals=sum(one.may_win for one in told.ranked[1:]),
        tied=tied,
        step=won.candidate.step,
        verdict=told,
        more=tuple(more),
    )


def difference(
    ours: Sequence[ScoredSample],
    theirs: Sequence[ScoredSample],
    objective: str,
    base: Sequence[ScoredSample],
) -> Difference | None:
    """The paired difference; None where the two were not sampled or not judged alike."""
    if not ours or not theirs:
        return None
    try:
        return paired_difference(ours, theirs, objective, base or None)
    except (KeyError, ValueError):  # a judge, a prompt or a seed that only one of them has
        return None


def _tied(
    ours: Sequence[ScoredSample],
    theirs: Sequence[ScoredSample],
    base: Sequence[ScoredSample],
    objectives: Sequence[str],
) -> bool:
    found = [difference(ours, theirs, name, base) for name in objectives]
    return all(one is None or one.low <= 0 <= one.high for one in found)
