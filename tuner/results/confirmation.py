"""What a confirmation found, read from results.db: the LoRA to take, and the sentences about it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.objectives import Difference
from metrics.posterior import Judged
from tuner.errors import ConfigError
from tuner.results.results import Results, read_results, recommended, strength
from tuner.results.winner import FEWEST_SAMPLES, Candidate, Entry, Ranked, Ranking, Run, rank
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import DEFAULT_STUDIES, study_name
from tuner.storage.fresh_rows import BASE, FreshRow, FreshSample, PlanRow
from tuner.storage.rows import RungRow
from tuner.text import interval


@dataclass(frozen=True)
class Confirmation:
    """A confirmation as far as it is.

    `done` of `jobs` LoRAs (and the base) are sampled. `verdict` is None until all are; `base` and
    `own` are then the fresh samples of the base and of the winner, `limits` what rates are held
    against. `newer`: candidates that are not confirmed and, on the study's own noise, stronger
    than the winner.
    """

    done: int
    jobs: int
    verdict: Ranking | None = None
    base: Run | None = None
    own: Run | None = None
    newer: tuple[Candidate, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The LoRA to export where none was asked for: its trial, its step (None: the last), and why.

    `winner` is what was confirmed of it, None without a confirmation.
    """

    trial: int
    step: int | None
    why: tuple[str, ...]
    winner: Ranked | None = None


def candidates(results: Results, count: int) -> list[Candidate]:
    """The `count` strongest trials, each at the rung at which it was strongest.

    Complete trials only; rungs that keep the limits and whose LoRA is there. A rung is as strong
    as the geometric mean of its objectives' lower bounds, as everywhere in the tool. Of equal
    rungs the later counts.
    """
    names, limits = results.study.objectives, results.study.constraints
    found: list[tuple[float, int, int]] = []
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
            found.append((-best, trial.number, step))
    return [Candidate(number, step) for _, number, step in sorted(found)[:count]]


def planned_samples(plan: Sequence[PlanRow]) -> list[FreshSample]:
    """List everything that the plan samples, the base first."""
    return [BASE] + [
        FreshSample(row.trial, row.step, repeat)
        for row in plan
        for repeat in range(row.repeats + 1)
    ]


def finished(plan: Sequence[PlanRow], fresh: Sequence[FreshRow]) -> dict[FreshSample, FreshRow]:
    """Return the parts of the plan that are measured on as many seeds as it asks for."""
    seeds = plan[0].seeds if plan else 0
    known = {row.sampled: row for row in fresh if row.seeds == seeds}
    return {part: known[part] for part in planned_samples(plan) if part in known}


def read_confirmation(folder: StudyFolder, results: Results) -> Confirmation | None:
    """The confirmation of the study in `folder`; None where none was begun."""
    with Store(folder.results_db, read_only=True) as store:
        plan = store.plan()
        if not plan:
            return None
        done, parts = finished(plan, store.fresh()), planned_samples(plan)
        if len(done) < len(parts):
            return Confirmation(len(done), len(parts))
        base = _run(store, done[BASE])
        entries = [_entry(store, row, done) for row in plan]
    sound = [one for one in entries if one is not None]
    study = results.study
    found = rank(sound, base.judged, study.objectives, study.constraints)
    won = found.winner
    own = next((one.own for one in sound if won and one.candidate == won.candidate), None)
    strongest = candidates(results, len(results.trials))
    newer = _newer(strongest, plan, won.candidate.trial) if won else ()
    return Confirmation(len(done), len(parts), found, base, own, newer, study.constraints)


def _newer(
    strongest: Sequence[Candidate], plan: Sequence[PlanRow], winner: int
) -> tuple[Candidate, ...]:
    known = {row.trial for row in plan}
    ahead = itertools.takewhile(lambda one: one.trial != winner, strongest)
    return tuple(one for one in ahead if one.trial not in known)


def chosen(folder: StudyFolder) -> Choice:
    """The confirmed winner; without a finished confirmation the strongest trial of the front.

    Raises ConfigError where no trial keeps the limits, and where none that was confirmed may win.
    """
    results = read_results(folder)
    found = read_confirmation(folder, results)
    if found is None or found.verdict is None:
        choice = recommended(results)
        return Choice(choice.result.trial.number, None, (choice.why, unconfirmed(folder, found)))
    won = found.verdict.winner
    if won is None:
        raise ConfigError(
            f"no confirmed trial of {folder.name} may be taken: "
            f"{'; '.join(_why_not(one) for one in found.verdict.ranked) or 'none gave pictures'}"
            "; choose one with --trial, or run more trials"
        )
    why = (*sentences(found), *later(found, folder))
    return Choice(won.candidate.trial, won.candidate.step, why, won)


def unconfirmed(folder: StudyFolder, found: Confirmation | None) -> str:
    """That the choice is not confirmed, and the command that does it."""
    command = f"tuner confirm {study_name(folder, DEFAULT_STUDIES)}"
    if found is None:
        return (
            "not confirmed: the highest of many trials looks better than it is; "
            f"`{command}` measures the strongest again on fresh noise"
        )
    return (
        f"not confirmed: {found.done} of {found.jobs} parts are done; `{command}` goes on with them"
    )


def later(found: Confirmation, folder: StudyFolder) -> tuple[str, ...]:
    """That trials which look stronger came after the confirmation; nothing where there are none."""
    if not found.newer:
        return ()
    called = study_name(folder, DEFAULT_STUDIES)
    named = ", ".join(_name(one) for one in found.newer)
    return (f"not confirmed yet: {named}, stronger by now; `tuner confirm {called}` adds them",)


def sentences(found: Confirmation) -> list[str]:
    """Why the winner is the winner, whether its limits hold, and what it gains: a line each."""
    told = found.verdict
    assert told is not None
    won = told.winner
    if won is None:
        return [f"no winner: {_why_not(one)}" for one in told.ranked]
    rivals = [one for one in told.ranked[1:] if one.may_win]
    line = (
        f"{_name(won.candidate)} has the highest lower bound of the geometric mean of the "
        f"objectives, {interval(won.strength)}, on {won.strength.total} fresh samples"
    )
    if told.tied:
        named = ", ".join(_name(one.candidate) for one in told.tied)
        line += f"; a tie: nothing tells {named} apart from it"
    elif rivals:
        line += f", told apart from the {len(rivals)} others that were confirmed"
    else:
        line += "; no other that was confirmed may win" if told.ranked[1:] else ", the only one"
    lines = [line, *(_why_not(one) for one in told.ranked if not one.may_win)]
    lines += [_limit(name, found, won) for name in found.limits]
    if told.gain is not None:
        lines.append(_gain(told.gain))
    return lines


def _limit(name: str, found: Confirmation, won: Ranked) -> str:
    assert found.own is not None
    rate, limit = found.own.rates[name], found.limits[name]
    told = f"at most {rate.high:.3f} by {rate.total} fresh samples, the limit is {limit:g}"
    if name not in won.unshown:
        return f"{name}: {told}"
    few = f"; {FEWEST_SAMPLES} samples are needed" if rate.total < FEWEST_SAMPLES else ""
    return f"{name}: not shown to be kept, {told}{few}"


def _why_not(one: Ranked) -> str:
    name = _name(one.candidate)
    if one.does_nothing:
        assert one.effect is not None
        return f"{name} does nothing: its effect of {one.effect.value:.3f} is below the noise"
    return f"{name} breaks the limit of {', '.join(one.broken)} on fresh samples"


def _name(candidate: Candidate) -> str:
    return f"trial {candidate.trial} at step {candidate.step}"


def _gain(one: Difference) -> str:
    told = f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"
    if one.low <= 0 <= one.high:
        return f"not told apart from the base: {told} on the same fresh noise"
    return f"{'better' if one.low > 0 else 'worse'} than the base, {told} on the same fresh noise"


def _entry(store: Store, row: PlanRow, done: dict[FreshSample, FreshRow]) -> Entry | None:
    """A candidate as it was measured; None where its own file gave no pictures."""
    runs = [done[FreshSample(row.trial, row.step, repeat)] for repeat in range(row.repeats + 1)]
    if runs[0].reason is not None:
        return None
    return Entry(
        Candidate(row.trial, row.step),
        _run(store, runs[0]),
        tuple(_run(store, one) for one in runs[1:] if one.reason is None),
        tuple(one.reason for one in runs[1:] if one.reason is not None),
    )


def _run(store: Store, row: FreshRow) -> Run:
    rung: RungRow = row.rung
    rows = store.fresh_samples(FreshSample(rung.trial, rung.step, row.repeat))
    scored = [row.scored() for row in rows]
    return Run(Judged(scored, rung.objectives), rung.rates, rung.measures.get("effect"))
