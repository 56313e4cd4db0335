"""Plot each experiment: a dot for every run, and the mean of every arm with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window: the pictures are files
from matplotlib import pyplot
from matplotlib.axes import Axes
from world_arms import DEFAULTS, Arm, Effect
from world_measures import MEASURES
from world_report import ArmMeasures, values_of

from tuner.results.verdicts import difference
from tuner.storage import replacing

_PANELS = 3
_RUN, _MEAN, _BASE = "#9aa5b1", "#1f4e79", "#b5651d"


def plot_effect(effect: Effect, known: ArmMeasures, path: Path) -> None:
    """Write the plot of an experiment: a panel for each of its first measures, a row for each arm.

    From the top, arms are in the order: base, rising learning rate, order of the experiment.
    """
    measures = list(dict.fromkeys(comparison.measure for comparison in effect.comparisons))[
        :_PANELS
    ]
    arms = sorted(effect.arms, key=_place)
    size = (2.2 + 3.0 * len(measures), 1.3 + 0.34 * len(arms))
    figure, axes = pyplot.subplots(
        1, len(measures), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for measure, panel in zip(measures, axes[0], strict=True):
        _draw_panel(panel, arms, measure, known)
    figure.suptitle(f"({effect.letter}) {effect.question}", fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


def _place(arm: Arm) -> tuple[bool, float]:
    rate = arm.train.get("learning_rate", DEFAULTS["learning_rate"])
    return arm.lora, float(str(rate))


def _draw_panel(panel: Axes, arms: Sequence[Arm], measure: str, known: ArmMeasures) -> None:
    for row, arm in enumerate(arms):
        values = list(values_of(known, arm, measure).values())
        if not values:
            continue
        mean = difference(values)
        colour = _MEAN if arm.lora else _BASE
        panel.plot(values, [row] * len(values), ".", color=_RUN, markersize=6, zorder=1)
        panel.plot(mean.value, row, "D", color=colour, markersize=5, zorder=3)
        if math.isfinite(mean.low):
            panel.plot([mean.low, mean.high], [row, row], color=colour, linewidth=1.6, zorder=2)
    panel.set_yticks(range(len(arms)), [arm.name for arm in arms], fontsize=8)
    panel.set_ylim(len(arms) - 0.5, -0.5)
    panel.set_xlabel(f"{measure}: {MEASURES[measure].partition(';')[0]}", fontsize=7, wrap=True)
    panel.locator_params(axis="x", nbins=5)
    panel.tick_params(axis="x", labelsize=7)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", linewidth=0.4, alpha=0.6)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
