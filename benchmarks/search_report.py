"""Report of benchmarks/search.py: what each method reached for which cost, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from search_methods import ARMS, Method, Telling
from search_replay import Run, Scale
from search_surrogate import Floats, Surrogate

from tuner.space import StudyConfig

SHARES = (0.9, 0.95)
MOMENTS = {12: 12, 24: 24, 48: 60}
"""Costs at which the named trial is read, each with the budget of the study that it is read of."""
MAIN = 60
LONG = 400
"""Budget of random search, against which the others are measured: it needs more for 95 %."""
_DRAWS = 2000
MOST_OF_RANDOM, MOST_MISLED = 1 / 3, 1.2
"""Targets: cost to 95 % over that of random search, plain and under a wrong prior."""
RANDOM = Method("random")


@dataclass(frozen=True)
class Replays:
    """All replays by method, budget and seed, with what they were made of."""

    runs: Mapping[tuple[Method, int, int], Run]
    surrogate: Surrogate
    scale: Scale
    told: Telling

    def of(self, method: Method, trials: int) -> dict[int, Run]:
        """Return the replays of a method with a budget, by seed."""
        return {
            seed: run
            for (own, spent, seed), run in self.runs.items()
            if (own, spent) == (method, trials)
        }

    def methods(self) -> list[Method]:
        """Return the methods that have replays of the main budget, in the order of the replays."""
        return list(dict.fromkeys(method for method, trials, _ in self.runs if trials == MAIN))


@dataclass(frozen=True)
class Estimate:
    """A median or mean over seeds with its 95 % bootstrap interval; infinite: not reached."""

    value: float
    low: float
    high: float


def cost_to(run: Run, share: float) -> float:
    """Return the cost at which a run reached a share of the best known hypervolume."""
    return next((c for c, v in zip(run.costs, run.volumes, strict=True) if v >= share), math.inf)


def spent_to(run: Run, share: float) -> float:
    """Return the cost at which a run reached a share, or all that it spent without reaching it."""
    return min(cost_to(run, share), run.costs[-1])


def at_cost(run: Run, numbers: Sequence[float], cost: float) -> float:
    """Return the number after the last trial that ended within `cost`; 0 before the first."""
    ended = [each for each, spent in zip(numbers, run.costs, strict=True) if spent <= cost]
    return ended[-1] if ended else 0.0


def median(values: Sequence[float]) -> Estimate:
    """Return the median; a half between a number and infinity is infinite."""
    return _estimate(np.array(values), lambda drawn: np.median(drawn, axis=-1))


def mean(values: Sequence[float]) -> Estimate:
    return _estimate(np.array(values), lambda drawn: drawn.mean(axis=-1))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the ratio of two medians, each bootstrapped by itself: seeds may differ.

    `ours` may be infinite, `theirs` not.
    """
    rng = np.random.default_rng(1)
    above, below = (_resampled(np.array(each), rng) for each in (ours, theirs))
    drawn = np.median(above, axis=-1) / np.median(below, axis=-1)
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return Estimate(float(np.median(ours) / np.median(theirs)), float(low), float(high))


def _resampled(values: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(values[rng.integers(len(values), size=(_DRAWS, len(values)))])


def _estimate(values: Floats, of) -> Estimate:  # type: ignore[no-untyped-def]
    with np.errstate(invalid="ignore"):
        drawn = of(_resampled(values, np.random.default_rng(0)))
        drawn, value = (np.where(np.isnan(each), np.inf, each) for each in (drawn, of(values)))
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return Estimate(float(value), float(low), float(high))


def facts(replays: Replays, method: Method) -> dict[str, Estimate]:
    """Return what is reported of a method: costs, their ratio to random search's, strengths."""
    runs = list(replays.of(method, MAIN).values())
    long = [run for (own, spent, _), run in replays.runs.items() if own == RANDOM and spent > MAIN]
    known = {}
    for share in SHARES:
        costs = [cost_to(run, share) for run in (long if long and method == RANDOM else runs)]
        known[f"cost_{share:g}"] = median(costs)
        if long:
            known[f"ratio_{share:g}"] = ratio(costs, [spent_to(run, share) for run in long])
    for cost, trials in MOMENTS.items():
        some = list(replays.of(method, trials).values())
        known[f"volume_{cost}"] = mean([at_cost(run, run.volumes, cost) for run in some])
        known[f"by_model_{trials}"] = mean([run.by_model for run in some])
        known[f"strength_{cost}"] = mean([at_cost(run, run.strengths, cost) for run in some])
    return known


def page(replays: Replays) -> str:
    """Return the report in Markdown."""
    surrogate, scale = replays.surrogate, replays.scale
    methods = sorted(replays.methods(), key=lambda each: ARMS.index(each.arm))
    slow = max((len(replays.of(each, MAIN)) for each in methods if each.slow), default=0)
    lines = [
        "# Which sampler?",
        "",
        f"Made by `python benchmarks/search.py replay --seeds {len(replays.of(RANDOM, MAIN))} "
        f"--slow-seeds {slow}`, in several calls (`--minutes`); the samplers of "
        "OptunaHub need `optunahub`. A grid takes no priors and no recipes between its points.",
        "",
    ]
    names = surrogate.config.objectives
    worst = ", ".join(f"{n} {v:.2f}" for n, v in zip(names, scale.worst, strict=True))
    recorded = 1 + max(row.trial or 0 for row in surrogate.trials)
    lines += verdict(replays)
    lines += [
        "",
        f"Surrogate of {len(surrogate.trials)} trials with rungs at "
        f"{' and '.join(map(str, surrogate.steps))} steps, of {recorded} recorded; of those that "
        f"were left out it knows nothing. A full trial: {scale.full:.0f} s. The time of samplers "
        "does not count. Where a process gives the means, samplers that fit one have an easy task. "
        f"Reference point of hypervolumes: {worst}. Told: good learning rate "
        f"{replays.told.best:.2g}, wrong {replays.told.worst:.2g}.",
        "",
        "Costs in full trials, medians over seeds with 95 % bootstrap intervals; never: not within "
        f"{MAIN}, random search {LONG}. `x random`: cost to 95 % over that of plain random search, "
        "of which a replay that did not reach it counts with all it spent. `volume`: share of "
        "the best known hypervolume at a cost; `strength`: geometric mean of the true objectives "
        f"of the trial that the study names then, of {scale.strength:.3f} at most; `by model`: the "
        "same, if strengths are smoothed by a Gaussian process before a trial is named. All three "
        "are means over seeds, with half a 95 % bootstrap interval.",
        "",
        *fit_lines(surrogate),
    ]
    for arm in ARMS:
        chosen = [method for method in methods if method.arm == arm]
        if chosen:
            lines += ["", f"## {arm[0].upper()}{arm[1:]}", "", *_table(replays, chosen)]
    return "\n".join([*lines, "", "![Hypervolume against cost](search.png)", ""])


def verdict(replays: Replays) -> list[str]:
    """Return whether any method meets the targets, and which is the best: one line each.

    Methods that have fewer seeds than random search are left out, and named.
    """
    seeds = len(replays.of(RANDOM, MAIN))
    methods = [each for each in replays.methods() if len(replays.of(each, MAIN)) >= seeds]
    fewer = dict.fromkeys(each.name for each in replays.methods() if each not in methods)
    known = {each: facts(replays, each) for each in methods}
    ratios = {each: own["ratio_0.95"] for each, own in known.items() if "ratio_0.95" in own}
    if not ratios:
        return ["Without long replays of random search no targets are tested."]
    lines = []
    for method in (each for each in ratios if each.arm == "plain"):
        misled = ratios.get(Method(method.sampler, method.rungs, "wrong prior"))
        if misled and ratios[method].high <= MOST_OF_RANDOM and misled.high <= MOST_MISLED:
            lines.append(
                f"- {method.name} meets the targets: {_cost(ratios[method], '{:.2f}')} times "
                f"random search's cost to 95 %, {_cost(misled, '{:.2f}')} under a wrong prior."
            )
    if not lines:
        lines.append(
            f"No method surely reaches 95 % at {MOST_OF_RANDOM:.2f} times random search's cost, "
            f"and at no more than {MOST_MISLED:g} times under a wrong prior."
        )
    strongest = max(known, key=lambda each: (each.arm == "plain", known[each]["strength_24"].value))
    fastest = min(ratios, key=lambda each: (each.arm != "plain", ratios[each].value))
    default = Method(StudyConfig.model_fields["sampler"].default)
    misled = ratios.get(Method(default.sampler, arm="wrong prior"))
    if default in ratios and misled is not None:
        lines.append(
            f"- The default, {default.name}: {_cost(ratios[default], '{:.2f}')} times random "
            f"search's cost to 95 %, {_cost(misled, '{:.2f}')} under a wrong prior; strongest "
            f"trial named after 24 full trials {_spread(known[default]['strength_24'])}, after 48 "
            f"{_spread(known[default]['strength_48'])}."
        )
    return [
        *lines,
        f"- Least cost to 95 %: {fastest.name}, {_cost(ratios[fastest], '{:.2f}')} times random "
        "search's.",
        f"- Strongest trial named after 24 full trials: {strongest.name}, "
        f"{_spread(known[strongest]['strength_24'])}.",
        *([f"- Not compared here, for lack of seeds: {'; '.join(fewer)}."] if fewer else []),
    ]


def fit_lines(surrogate: Surrogate) -> list[str]:
    """Return a table of the regressions: explained variance of rows that they did not see."""
    lines = [
        "R2 is that of rows that a regression was not fitted to; the kernel of the process was "
        "chosen with all rows.",
        "",
        "| measure | step | R2 forest | R2 process | noise | of a share of as many samples |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for fit in surrogate.fits:
        shown = " | ".join(
            f"**{r2:.2f}**" if kind == fit.kind else f"{r2:.2f}" for kind, r2 in fit.r2.items()
        )
        lines.append(
            f"| {fit.measure} | {fit.step} | {shown} | {fit.noise:.3f} | {fit.binomial:.3f} |"
        )
    return lines


def _table(replays: Replays, methods: Sequence[Method]) -> list[str]:
    head = ["method", "seeds", *(f"cost to {share:.0%}" for share in SHARES), "x random"]
    head += [f"volume at {cost}" for cost in MOMENTS] + [f"strength at {cost}" for cost in MOMENTS]
    head += [f"by model at {trials}" for trials in MOMENTS.values()]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for method in methods:
        known = facts(replays, method)
        cells = [method.name, str(len(replays.of(method, MAIN)))]
        cells += [_cost(known[f"cost_{share:g}"]) for share in SHARES]
        cells.append(_cost(known["ratio_0.95"], "{:.2f}") if "ratio_0.95" in known else "-")
        cells += [_spread(known[f"volume_{cost}"]) for cost in MOMENTS]
        cells += [_spread(known[f"strength_{cost}"]) for cost in MOMENTS]
        cells += [_spread(known[f"by_model_{trials}"]) for trials in MOMENTS.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cost(estimate: Estimate, form: str = "{:.1f}") -> str:
    low, value, high = (
        form.format(each) if math.isfinite(each) else "never"
        for each in (estimate.low, estimate.value, estimate.high)
    )
    return value if low == value == high else f"{value} [{low}, {high}]"


def _spread(estimate: Estimate) -> str:
    half = (estimate.high - estimate.low) / 2
    return f"{estimate.value:.3f} ± {half:.3f}"


def summary(replays: Replays) -> dict[str, object]:
    """Return the report as data: for each method its estimates, null where never reached."""
    return {
        "trials": len(replays.surrogate.trials),
        "full_trial_seconds": replays.scale.full,
        "methods": [
            {
                "method": method.name,
                "arm": method.arm,
                "seeds": len(replays.of(method, MAIN)),
                **{name: _finite(each) for name, each in facts(replays, method).items()},
            }
            for method in replays.methods()
        ],
    }


def _finite(estimate: Estimate) -> list[float | None]:
    numbers = (estimate.value, estimate.low, estimate.high)
    return [round(each, 4) if math.isfinite(each) else None for each in numbers]
