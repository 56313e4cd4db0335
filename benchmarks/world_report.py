"""Turn the measures of runs into differences with intervals, verdicts and a page of tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from world_arms import DEFAULTS, Arm, Comparison, Effect, Scale
from world_measures import MEASURES
from world_runs import Measures

from tuner.results.verdicts import SeedDifference, difference

ArmMeasures = dict[str, dict[int, Measures]]
"""Measures by the name of the arm and by training seed."""

ALIKE = 0.1
"""Largest difference, on [0, 1], that counts as no difference."""


def values_of(known: ArmMeasures, arm: Arm, measure: str) -> dict[int, float]:
    """Return the values of one measure by training seed, without those that were not judged."""
    measured = {seed: each.get(measure) for seed, each in known.get(arm.name, {}).items()}
    return {seed: value for seed, value in measured.items() if value is not None}


def paired(values: Mapping[int, float], others: Mapping[int, float]) -> SeedDifference | None:
    """Return `values` minus `others`, paired by seed; None if they have no seed in common."""
    apart = [values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())]
    return difference(apart) if apart else None


def compare(comparison: Comparison, known: ArmMeasures) -> SeedDifference | None:
    """Return the difference of a comparison; None if one of its arms has no runs."""
    sides = (comparison.arm, comparison.against)
    arm, against = (values_of(known, side, comparison.measure) for side in sides)
    return paired(arm, against)


def verdict(comparison: Comparison, difference: SeedDifference | None) -> str:
    """Return in words if the interval shows what was expected."""
    if difference is None:
        return "not run"
    if difference.n < 2:
        return "one seed shows nothing"
    if comparison.expected == "alike":
        return _alike(difference)
    direction = "higher" if difference.low > 0 else "lower" if difference.high < 0 else None
    if comparison.expected == "open":
        return direction or "no difference shown"
    if direction is None:
        return "not shown"
    return "shown" if direction == comparison.expected else "the other way"


def _alike(difference: SeedDifference) -> str:
    if max(-difference.low, difference.high) <= ALIKE:
        return "shown"
    apart = difference.low > ALIKE or difference.high < -ALIKE
    return "the other way" if apart else "not shown"


def best_known(effect: Effect, known: Mapping[str, ArmMeasures]) -> str | None:
    """Return the judges that judged most of an experiment, of equals the later ones.

    None if no comparison has runs of both arms.
    """
    counts = {
        judges: sum(apart.n for each in effect.comparisons if (apart := compare(each, arms)))
        for judges, arms in known.items()
    }
    most = max(counts.values(), default=0)
    return [judges for judges, count in counts.items() if count == most][-1] if most else None


def report(
    shown: Sequence[tuple[Effect, str]], known: Mapping[str, ArmMeasures], scale: Scale
) -> str:
    """Return the page: for each experiment its comparisons, the means of its arms, and its plot.

    `shown` pairs each experiment with the judges whose runs in `known` are reported.
    """
    effects = [effect for effect, _ in shown]
    lines = ["# The effects of the series in the small world", "", _about(effects, scale), ""]
    for effect, judges in shown:
        table = _comparisons(effect, known[judges])
        lines += [f"## ({effect.letter}) {effect.question}", "", f"Judges `{judges}`.", "", *table]
        lines += ["", f"![({effect.letter})](world/{effect.letter}.png)", ""]
    for judges in dict.fromkeys(judges for _, judges in shown):
        judged = [effect for effect, best in shown if best == judges]
        lines += [f"## Means of the arms over their training seeds, judges `{judges}`", ""]
        lines += [*_means(judged, known[judges]), ""]
    lines += [f"- {name}: {meaning}" for name, meaning in MEASURES.items()]
    return "\n".join(lines) + "\n"


def _about(effects: Sequence[Effect], scale: Scale) -> str:
    count = sum(len(effect.comparisons) for effect in effects)
    return (
        "Made by `python benchmarks/world.py`. The default run is a LoRA of rank 16, "
        f"{scale.steps} steps of batch 16 at {DEFAULTS['learning_rate']}, 64 px, all tags, data of "
        "95 % girls; each arm changes one thing. Suite `persons` with "
        f"{scale.noise_seeds} noise seeds a prompt, others for each training seed, the same ones "
        "for all arms of it. Differences are paired by "
        "training seed, with 95 % intervals (Student's t) over them. `shown`: the interval lies on "
        f"the expected side of 0 (`alike`: within {ALIKE}). Of {count} comparisons about "
        f"{max(1, round(count / 20))} would leave 0 out by chance."
    )


def _comparisons(effect: Effect, known: ArmMeasures) -> list[str]:
    lines = ["| arm | against | measure | arm | against | difference | seeds | expected | found |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for each in effect.comparisons:
        difference = compare(each, known)
        sides = (values_of(known, arm, each.measure).values() for arm in (each.arm, each.against))
        means = [f"{statistics.fmean(side):.3f}" if side else "-" for side in sides]
        cells = [each.arm.name, each.against.name, each.measure, *means, as_text(difference)]
        cells += [str(difference.n if difference else 0)]
        cells += [each.expected, verdict(each, difference)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def as_text(difference: SeedDifference | None) -> str:
    """Return a difference as text for the tables: `+0.120 (+0.050 to +0.190)`."""
    if difference is None:
        return "-"
    if difference.n < 2:
        return f"{difference.value:+.3f}"
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def _means(effects: Sequence[Effect], known: ArmMeasures) -> list[str]:
    arms = {arm.name: arm for effect in effects for arm in effect.arms if known.get(arm.name)}
    lines = ["| arm | seeds | " + " | ".join(MEASURES) + " |", "|---|---|" + "---|" * len(MEASURES)]
    for name, arm in arms.items():
        columns = [values_of(known, arm, measure).values() for measure in MEASURES]
        cells = [f"{statistics.fmean(column):.3f}" if column else "-" for column in columns]
        lines.append(f"| {name} | {len(known[name])} | " + " | ".join(cells) + " |")
    return lines
