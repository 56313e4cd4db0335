"""Results of a confirmation, read from results.db: the LoRA to take, and the reasons in words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.contract import ScoredSample
from metrics.objectives import Difference, paired_difference
from metrics.posterior import Judged
from tuner.errors import ConfigError
from tuner.results.results import Results, read_results, recommended, strength
from tuner.results.winner import FEWEST_SAMPLES, Candidate, Entry, Ranked, Ranking, Run, rank
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import DEFAULT_STUDIES, study_name
from tuner.storage.fresh_rows import BASE, FreshRow, FreshSample, PlanRow
from tuner.storage.rows import RungRow
from tuner.text import counted, interval


@dataclass(frozen=True)
class Confirmation:
    """Progress and, once complete, result of a confirmation.

    `done` of `planned` LoRAs (the base is one of them) are sampled. `ranking` is None until all
    are. Then `base` and `winner_run` are the fresh samples of the base and of the winner, and
    `limits` are the constraints of the rates. `newer`: candidates that are not confirmed and that
    are stronger than the winner on the study's own noise.
    """

    done: int
    planned: int
    ranking: Ranking | None = None
    base: Run | None = None
    winner_run: Run | None = None
    newer: tuple[Candidate, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The LoRA to export: its trial, its step (None: the last), and the reasons.

    `winner` holds its confirmed numbers, None without a confirmation.
    """

    trial: int
    step: int | None
    why: tuple[str, ...]
    winner: Ranked | None = None


def candidates(results: Results, count: int) -> list[Candidate]:
    """Return the `count` strongest trials, each at its strongest rung, the strongest first.

    Only complete trials count, and rungs that keep the limits and whose LoRA file exists. The
    strength of a rung is the geometric mean of its objectives' lower bounds, as everywhere in the
    tool. Of equally strong rungs the later one counts.
    """
    names, limits = results.study.objectives, results.study.constraints
    strengths: dict[Candidate, float] = {}
    for trial in results.trials:
        if trial.state != "complete":
            continue
        rungs = [
            (strength(rung, names), rung.step)
            for rung in results.rungs.get(trial.number, ())
            if rung.lora
            and rung.lora.is_file()
            and all(rung.rates[name].low <= limit for name, limit in limits.items())
        ]
        if rungs:
            best, step = max(rungs)
            strengths[Candidate(trial.number, step)] = best
    return sorted(strengths, key=lambda each: (-strengths[each], each.trial))[:count]


def planned_samples(plan: Sequence[PlanRow]) -> list[FreshSample]:
    """Return everything that the plan samples, the base first."""
    return [BASE] + [
        FreshSample(row.trial, row.step, repeat)
        for row in plan
        for repeat in range(row.repeats + 1)
    ]


def part_count(trials: int, repeats: int) -> int:
    """Return how many parts a confirmation of `trials` has, each trained again `repeats` times.

    The base is one of them; without trials there is nothing to confirm.
    """
    return 1 + trials * (1 + repeats) if trials else 0


def finished(plan: Sequence[PlanRow], fresh: Sequence[FreshRow]) -> dict[FreshSample, FreshRow]:
    """Return the parts of the plan that are measured on the planned number of seeds."""
    seeds = plan[0].seeds if plan else 0
    known = {row.sampled: row for row in fresh if row.seeds == seeds}
    return {part: known[part] for part in planned_samples(plan) if part in known}


def read_confirmation(folder: StudyFolder, results: Results) -> Confirmation | None:
    """Return the confirmation of the study in `folder`; None if none was begun."""
    with Store(folder.results_db, read_only=True) as store:
        plan = store.plan()
        if not plan:
            return None
        done, parts = finished(plan, store.fresh()), planned_samples(plan)
        if len(done) < len(parts):
            return Confirmation(len(done), len(parts))
        base = _run(store, done[BASE])
        entries = [_entry(store, row, done) for row in plan]
    sampled = {entry.candidate: entry for entry in entries if entry is not None}
    study = results.study
    ranking = rank(list(sampled.values()), base.judged, study.objectives, study.constraints)
    winner = ranking.winner
    run = sampled[winner.candidate].own if winner else None
    strongest = candidates(results, len(results.trials))
    newer = _newer(strongest, plan, winner.candidate.trial) if winner else ()
    return Confirmation(len(done), len(parts), ranking, base, run, newer, study.constraints)


def _newer(
    strongest: Sequence[Candidate], plan: Sequence[PlanRow], winner: int
) -> tuple[Candidate, ...]:
    known = {row.trial for row in plan}
    ahead = itertools.takewhile(lambda candidate: candidate.trial != winner, strongest)
    return tuple(candidate for candidate in ahead if candidate.trial not in known)


def chosen(folder: StudyFolder) -> Choice:
    """Return the confirmed winner; without a complete confirmation the front's strongest trial.

    Raises ConfigError if no trial keeps the limits, or if no confirmed trial may win.
    """
    results = read_results(folder)
    confirmation = read_confirmation(folder, results)
    if confirmation is None or confirmation.ranking is None:
        choice = recommended(results)
        line = unconfirmed_line(confirmation, folder)
        return Choice(choice.result.trial.number, None, (choice.why, line))
    ranking = confirmation.ranking
    if ranking.winner is None:
        raise ConfigError(
            f"no confirmed trial of {folder.name} may be taken: "
            f"{'; '.join(_why_not(each) for each in ranking.ranked) or 'none gave pictures'}"
            "; choose one with --trial, or run more trials"
        )
    why = (
        *winner_lines(confirmation),
        *gain_lines(confirmation),
        *newer_lines(confirmation, folder),
    )
    candidate = ranking.winner.candidate
    return Choice(candidate.trial, candidate.step, tuple(why), ranking.winner)


def unconfirmed_line(confirmation: Confirmation | None, folder: StudyFolder) -> str:
    """Return a line that says that no winner is confirmed yet, with the command that confirms."""
    command = f"tuner confirm {study_name(folder, DEFAULT_STUDIES)}"
    if confirmation is None:
        return (
            "not confirmed: the highest of many trials looks better than it is; "
            f"`{command}` measures the strongest again on fresh noise"
        )
    return (
        f"not confirmed: {confirmation.done} of {confirmation.planned} parts are done; "
        f"`{command}` goes on with them"
    )


def newer_lines(confirmation: Confirmation, folder: StudyFolder) -> tuple[str, ...]:
    """Return a line that names stronger trials which are not confirmed yet; empty without any."""
    if not confirmation.newer:
        return ()
    study = study_name(folder, DEFAULT_STUDIES)
    trials = ", ".join(_name(candidate) for candidate in confirmation.newer)
    return (f"not confirmed yet: {trials}, stronger by now; `tuner confirm {study}` adds them",)


def winner_lines(confirmation: Confirmation) -> list[str]:
    """Return why the winner won, if it keeps the limits, and what it gains: a line each."""
    ranking = confirmation.ranking
    assert ranking is not None
    winner = ranking.winner
    if winner is None:
        return [f"no winner: {_why_not(loser)}" for loser in ranking.ranked]
    rivals = [rival for rival in ranking.ranked[1:] if rival.may_win]
    line = (
        f"{_name(winner.candidate)} has the highest lower bound of the geometric mean of the "
        f"objectives, {interval(winner.strength)}, on "
        f"{counted(winner.strength.total, 'fresh sample')}"
    )
    if ranking.tied:
        tied = ", ".join(_name(rival.candidate) for rival in ranking.tied)
        line += f"; a tie: {tied} cannot be distinguished from it"
    elif rivals:
        line += f", clearly above {counted(len(rivals), 'other trial')} in the confirmation"
    else:
        line += "; no other that was confirmed may win" if ranking.ranked[1:] else ", the only one"
    lines = [line, *(_why_not(loser) for loser in ranking.ranked if not loser.may_win)]
    lines += [_limit(name, confirmation, winner) for name in confirmation.limits]
    if ranking.gain is not None:
        lines.append(_gain(ranking.gain))
    return lines


def gain_lines(confirmation: Confirmation) -> list[str]:
    """Return a line on the winner's paired gain over the base in each objective; empty without."""
    if confirmation.winner_run is None or confirmation.base is None:
        return []
    ours, base = confirmation.winner_run.judged, confirmation.base.judged
    gains: dict[str, list[str]] = {"better": [], "worse": []}
    similar = []
    for name in ours.objectives:
        gain = difference(ours.scored, base.scored, name, base.scored)
        if gain is None or gain.low <= 0 <= gain.high:
            similar.append(name)
        else:
            gains["better" if gain.low > 0 else "worse"].append(f"{name} {_signed(gain)}")
    parts = [f"{word} in {', '.join(names)}" for word, names in gains.items() if names]
    parts += [f"not distinguishable in {', '.join(similar)}"] if similar else []
    return [f"objective by objective: {'; '.join(parts)}"]


def difference(
    ours: Sequence[ScoredSample],
    theirs: Sequence[ScoredSample],
    objective: str,
    base: Sequence[ScoredSample],
) -> Difference | None:
    """Return the paired difference; None if the two were not sampled or not judged alike."""
    if not ours or not theirs:
        return None
    try:
        return paired_difference(ours, theirs, objective, base or None)
    except (KeyError, ValueError):  # a judge, a prompt or a seed that only one of them has
        return None


def _limit(name: str, confirmation: Confirmation, winner: Ranked) -> str:
    assert confirmation.winner_run is not None
    rate, limit = confirmation.winner_run.rates[name], confirmation.limits[name]
    bound = f"at most {rate.high:.3f} by {counted(rate.total, 'fresh sample')}, the limit is "
    bound += f"{limit:g}"
    if name not in winner.unshown:
        return f"{name}: {bound}"
    few = f"; {FEWEST_SAMPLES} samples are needed" if rate.total < FEWEST_SAMPLES else ""
    return f"{name}: not shown to be kept, {bound}{few}"


def _why_not(loser: Ranked) -> str:
    name = _name(loser.candidate)
    if loser.does_nothing:
        assert loser.effect is not None
        return f"{name} does nothing: its effect of {loser.effect.value:.3f} is below the noise"
    return f"{name} breaks the limit of {', '.join(loser.broken)} on fresh samples"


def _name(candidate: Candidate) -> str:
    return f"trial {candidate.trial} at step {candidate.step}"


def _gain(gain: Difference) -> str:
    if gain.low <= 0 <= gain.high:
        return f"not distinguishable from the base: {_signed(gain)} on the same fresh noise"
    word = "better" if gain.low > 0 else "worse"
    return f"{word} than the base, {_signed(gain)} on the same fresh noise"


def _signed(gain: Difference) -> str:
    return f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"


def _entry(store: Store, row: PlanRow, done: dict[FreshSample, FreshRow]) -> Entry | None:
    """Return a candidate with its measured runs; None if its own file gave no pictures."""
    runs = [done[FreshSample(row.trial, row.step, repeat)] for repeat in range(row.repeats + 1)]
    if runs[0].reason is not None:
        return None
    return Entry(
        Candidate(row.trial, row.step),
        _run(store, runs[0]),
        tuple(_run(store, row) for row in runs[1:] if row.reason is None),
        tuple(row.reason for row in runs[1:] if row.reason is not None),
    )


def _run(store: Store, row: FreshRow) -> Run:
    rung: RungRow = row.rung
    rows = store.fresh_samples(FreshSample(rung.trial, rung.step, row.repeat))
    scored = [row.scored() for row in rows]
    return Run(Judged(scored, rung.objectives), rung.rates, rung.measures.get("effect"))
