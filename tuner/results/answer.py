"""The answer of a study: the trial to take, how sure that is, and its gains over the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metrics.contract import Objective, ScoredSample
from metrics.objectives import Difference
from tuner.errors import ConfigError
from tuner.results.confirmation import Confirmation, difference, newer_lines, winner_lines
from tuner.results.results import recommended
from tuner.results.study_data import StudyData
from tuner.results.winner import Ranking

MOST_RIVALS = 24
"""Compare the chosen trial with at most this many others of the front, the strongest."""


@dataclass(frozen=True)
class Gain:
    """An objective or a rate of the trial, compared with the base.

    `difference` is paired by prompt and seed; None for a rate, without a base, and if the scores
    cannot be paired. For a confirmed trial: `noise` is the largest difference to expect between
    two trainings of the same parameters, `recipe` the expected value of one more training; both
    are None without repeats.
    """

    name: str
    trial: Objective
    base: Objective | None
    difference: Difference | None
    noise: float | None = None
    recipe: Objective | None = None

    @property
    def outcome(self) -> str:
        """Better or worse than the base, or not distinguishable; empty without a difference."""
        if self.difference is None:
            return ""
        if self.difference.low > 0:
            return "better than the base"
        return "worse than the base" if self.difference.high < 0 else "not distinguishable"


@dataclass(frozen=True)
class Answer:
    """The trial to take and the reason, or None and the reason why there is none.

    `rivals` other trials of the front were compared with it; `tied` are the rivals that differ in
    no objective. For a confirmed trial all numbers come from fresh samples, `ranking` holds all
    confirmed candidates, `step` is the rung of its LoRA, and `more` are further sentences.
    """

    trial: int | None
    why: str
    gains: tuple[Gain, ...] = ()
    rates: tuple[Gain, ...] = ()
    rivals: int = 0
    tied: tuple[int, ...] = ()
    step: int | None = None
    ranking: Ranking | None = None
    more: tuple[str, ...] = ()

    def gained(self, word: str) -> list[str]:
        """Return the objectives whose outcome begins with `word`: better, worse or not."""
        return [gain.name for gain in self.gains if gain.outcome.startswith(word)]


def answer(data: StudyData) -> Answer:
    """Return the trial to take, why, and how sure that is; the confirmed winner if there is one."""
    if data.confirmation and data.confirmation.ranking:
        return _confirmed(data.confirmation, data)
    try:
        choice = recommended(data.results)
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
    rivals = [trial for trial in data.front if trial != number][:MOST_RIVALS]
    tied = [trial for trial in rivals if _tied(ours, samples[trial], before, names)]
    return Answer(number, choice.why, tuple(gains), tuple(rates), len(rivals), tuple(tied))


def _confirmed(confirmation: Confirmation, data: StudyData) -> Answer:
    ranking, run, base = confirmation.ranking, confirmation.winner_run, confirmation.base
    assert ranking is not None
    why, *more = winner_lines(confirmation) or [
        "none of the candidates gave pictures on fresh noise"
    ]
    more += newer_lines(confirmation, data.folder)
    winner = ranking.winner
    if winner is None or run is None or base is None:
        return Answer(None, "; ".join([why, *more]), ranking=ranking)
    before = base.judged.scored
    gains = [
        Gain(
            name,
            value,
            base.judged.objectives.get(name),
            difference(run.judged.scored, before, name, before),
            ranking.noise[name].floor if name in ranking.noise else None,
            winner.retrained.get(name),
        )
        for name, value in winner.objectives.items()
    ]
    rates = [Gain(name, rate, base.rates.get(name), None) for name, rate in run.rates.items()]
    tied = tuple(rival.candidate.trial for rival in ranking.tied)
    return Answer(
        trial=winner.candidate.trial,
        why=why,
        gains=tuple(gains),
        rates=tuple(rates),
        rivals=sum(rival.may_win for rival in ranking.ranked[1:]),
        tied=tied,
        step=winner.candidate.step,
        ranking=ranking,
        more=tuple(more),
    )


def _tied(
    ours: Sequence[ScoredSample],
    theirs: Sequence[ScoredSample],
    base: Sequence[ScoredSample],
    objectives: Sequence[str],
) -> bool:
    differences = [difference(ours, theirs, name, base) for name in objectives]
    return all(each is None or each.low <= 0 <= each.high for each in differences)
