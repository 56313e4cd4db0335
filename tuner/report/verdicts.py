"""Tables, a Markdown page and a CSV file of the verdicts of a study of recipes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich import box
from rich.table import Table

from tuner.results.recipe_runs import Series
from tuner.results.verdicts import FEWEST_SEEDS, LEVEL, Comparison, SeedDifference, Verdict, overall
from tuner.space.recipes import MEASURES


def verdict_rows(comparisons: Sequence[Comparison]) -> list[tuple[str, str, Verdict]]:
    """Return each claim as its number, its parts in words, and its verdict."""
    parts: dict[int, dict[str, None]] = {}
    for each in comparisons:
        parts.setdefault(each.hypothesis.number, {})[each.hypothesis.claim] = None
    return [
        (str(at), "; ".join(parts[at]), verdict) for at, verdict in overall(comparisons).items()
    ]


def tables(comparisons: Sequence[Comparison], plain: bool = False) -> list[Table]:
    """Return the terminal tables: the verdict on each claim, and every comparison behind it."""
    style = None if plain else box.SIMPLE_HEAD
    claims = Table(title="verdicts", title_justify="left", box=style)
    for name in ("", "claim", "verdict"):
        claims.add_column(name)
    for row in verdict_rows(comparisons):
        claims.add_row(*row)
    table = Table(title="comparisons", title_justify="left", box=style)
    for name in COLUMNS:
        table.add_column(name)
    for comparison in comparisons:
        table.add_row(*cells(comparison))
    return [claims, table]


COLUMNS = (
    *("", "arm", "against", "measure", "arm is", "against is", "difference", "seeds"),
    *("p", "Holm", "least", "expected", "verdict"),
)
"""The columns of a comparison, in the order of `cells`."""


def cells(row: Comparison) -> list[str]:
    """Return the table cells of a comparison as text."""
    hypothesis, apart = row.hypothesis, row.difference
    return [
        str(hypothesis.number),
        hypothesis.arm,
        hypothesis.against,
        hypothesis.measure,
        *(["-" if side is None else f"{side:.3f}" for side in (row.arm, row.against)]),
        as_text(apart),
        str(apart.n if apart else 0),
        f"{apart.p:.4f}" if apart and apart.n > 1 else "-",
        "-" if row.holm is None else f"{row.holm:.3f}",
        f"{hypothesis.least:g}",
        hypothesis.expected.replace("_", " "),
        row.verdict or "reported only",
    ]


def as_text(difference: SeedDifference | None) -> str:
    """Return a difference as tables show it: `+0.120 [+0.050, +0.190]`."""
    if difference is None:
        return "not run"
    if difference.n < 2:
        return f"{difference.value:+.3f}"
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def markdown(series: Series) -> str:
    """Return a page: the verdicts, the comparisons behind them, the means of all runs."""
    config, comparisons = series.config, series.comparisons
    lines = [f"# Verdicts of the study {config.study}", "", *_verdict_lines(comparisons), ""]
    lines += [
        _row(COLUMNS),
        _row(["---"] * len(COLUMNS)),
        *(_row(cells(each)) for each in comparisons),
    ]
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
    "the intervals are about training again, not about other prompts or noise."
)
"""The rule behind a verdict, for readers of a page; tuner.results.verdicts states it in full."""


def values_csv(series: Series) -> str:
    """Return all measures of all runs: recipe, rung, training seed, then the measures."""
    lines = [",".join(("recipe", "rung", "training_seed", *MEASURES))]
    for (name, step), of in series.runs.items():
        others = [runs for (other, at), runs in series.runs.items() if other == name and at]
        for seed, measures in sorted(of.items()):
            if step is None and any(runs.get(seed) == measures for runs in others):
                continue  # listed under its step
            known = [measures.get(measure) for measure in MEASURES]
            numbers = ["" if value is None else f"{value:.5f}" for value in known]
            rung = "" if step is None else str(step)
            lines.append(",".join((name, rung, "" if seed < 0 else str(seed), *numbers)))
    return "\n".join(lines) + "\n"


def _verdict_lines(comparisons: Sequence[Comparison]) -> list[str]:
    lines = ["| | claim | verdict |", "|---|---|---|"]
    return lines + [
        _row([at, claim, f"**{verdict}**"]) for at, claim, verdict in verdict_rows(comparisons)
    ]


def _mean_lines(series: Series) -> list[str]:
    lines = [_row(("recipe", "seeds", *MEASURES)), _row(["---"] * (len(MEASURES) + 2))]
    for (name, step), of in series.runs.items():
        if _is_last(series, name, step):
            continue
        known = [
            [value for measures in of.values() if (value := measures.get(measure)) is not None]
            for measure in MEASURES
        ]
        means = [f"{statistics.fmean(column):.3f}" if column else "-" for column in known]
        label = name if step is None else f"{name}@{step}"
        lines.append(_row((label, str(len(of)), *means)))
    return lines


def _is_last(series: Series, name: str, step: int | None) -> bool:
    """Return True if these runs are also listed under the recipe's last rung."""
    return step is not None and series.runs[name, step] == series.runs.get((name, None))


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"
