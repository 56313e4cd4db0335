"""The verdicts of a study of recipes for people: tables for the terminal, a page, the values."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich import box
from rich.table import Table

from tuner.recipe_results import Series
from tuner.recipes import MEASURES
from tuner.verdicts import FEWEST_SEEDS, LEVEL, Comparison, Difference, Verdict, overall


def verdict_rows(found: Sequence[Comparison]) -> list[tuple[str, str, Verdict]]:
    """Each claim with its number, its parts in words, and the verdict on it."""
    parts: dict[int, dict[str, None]] = {}
    for one in found:
        parts.setdefault(one.asked.number, {})[one.asked.claim] = None
    return [(str(at), "; ".join(parts[at]), verdict) for at, verdict in overall(found).items()]


def tables(found: Sequence[Comparison], plain: bool = False) -> list[Table]:
    """For the terminal: the verdict on each claim, and every comparison behind it."""
    style = None if plain else box.SIMPLE_HEAD
    claims = Table(title="verdicts", title_justify="left", box=style)
    for name in ("", "claim", "verdict"):
        claims.add_column(name)
    for row in verdict_rows(found):
        claims.add_row(*row)
    table = Table(title="comparisons", title_justify="left", box=style)
    for name in COLUMNS:
        table.add_column(name)
    for one in found:
        table.add_row(*cells(one))
    return [claims, table]


COLUMNS = (
    *("", "arm", "against", "measure", "arm is", "against is", "difference", "seeds"),
    *("p", "Holm", "least", "expected", "verdict"),
)
"""The columns of a comparison, as `cells` fills them."""


def cells(one: Comparison) -> list[str]:
    """A comparison in words."""
    asked, apart = one.asked, one.difference
    return [
        str(asked.number),
        asked.arm,
        asked.against,
        asked.measure,
        *(["-" if side is None else f"{side:.3f}" for side in (one.arm, one.against)]),
        told(apart),
        str(apart.n if apart else 0),
        f"{apart.p:.4f}" if apart and apart.n > 1 else "-",
        "-" if one.holm is None else f"{one.holm:.3f}",
        f"{asked.least:g}",
        asked.expected.replace("_", " "),
        one.verdict or "told only",
    ]


def told(one: Difference | None) -> str:
    """A difference as tables have it: `+0.120 [+0.050, +0.190]`."""
    if one is None:
        return "not run"
    if one.n < 2:
        return f"{one.value:+.3f}"
    return f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def markdown(series: Series) -> str:
    """The verdicts, the comparisons behind them and the means of all runs, as a page."""
    config, found = series.config, series.comparisons
    lines = [f"# Verdicts of the study {config.study}", "", *_verdict_lines(found), ""]
    lines += [_row(COLUMNS), _row(["---"] * len(COLUMNS)), *(_row(cells(one)) for one in found)]
    lines += ["", RULE, "", "## Means over training seeds", "", *_mean_lines(series), ""]
    return "\n".join([*lines, *(f"- `{name}`: {of}" for name, of in MEASURES.items())]) + "\n"


RULE = (
    "`difference` is the mean over training seeds of arm minus against with the same seed, with "
    "Student's 95 % interval; `p` its two-sided p value, `Holm` that corrected for all deciding "
    f"comparisons. *supported*: Holm below {LEVEL:g} in the expected direction, and the difference "
    f"matters; *refuted*: Holm below {LEVEL:g} in the other one, or the interval lies within "
    "-least and +least, where no difference matters; else, and with fewer than "
    f"{FEWEST_SEEDS} seeds, *undecided*. `alike` is supported where the interval lies within "
    "-least and +least, `not higher` where it ends below +least. A claim of several comparisons is "
    "supported where all are, refuted where one is. The noise is that of the suite in all runs: "
    "the intervals speak of training anew, not of other prompts or noise."
)
"""How a verdict is found, for readers of a page; tuner.verdicts has it in full."""


def values_csv(series: Series) -> str:
    """Every measure of every run, a row each: recipe, rung, training seed, then the measures."""
    lines = [",".join(("recipe", "rung", "training_seed", *MEASURES))]
    for (name, step), of in series.runs.items():
        others = [runs for (other, at), runs in series.runs.items() if other == name and at]
        for seed, measures in sorted(of.items()):
            if step is None and any(runs.get(seed) == measures for runs in others):
                continue  # it stands under its step
            known = [measures.get(one) for one in MEASURES]
            numbers = ["" if one is None else f"{one:.5f}" for one in known]
            rung = "" if step is None else str(step)
            lines.append(",".join((name, rung, "" if seed < 0 else str(seed), *numbers)))
    return "\n".join(lines) + "\n"


def _verdict_lines(found: Sequence[Comparison]) -> list[str]:
    lines = ["| | claim | verdict |", "|---|---|---|"]
    return lines + [
        _row([at, claim, f"**{verdict}**"]) for at, claim, verdict in verdict_rows(found)
    ]


def _mean_lines(series: Series) -> list[str]:
    lines = [_row(("recipe", "seeds", *MEASURES)), _row(["---"] * (len(MEASURES) + 2))]
    for (name, step), of in series.runs.items():
        if _is_told(series, name, step):
            continue
        known = [
            [value for one in of.values() if (value := one.get(measure)) is not None]
            for measure in MEASURES
        ]
        means = [f"{statistics.fmean(column):.3f}" if column else "-" for column in known]
        label = name if step is None else f"{name}@{step}"
        lines.append(_row((label, str(len(of)), *means)))
    return lines


def _is_told(series: Series, name: str, step: int | None) -> bool:
    """Whether these runs stand under the recipe's last rung as well: they are told once."""
    return step is not None and series.runs[name, step] == series.runs.get((name, None))


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"
