"""Picture of benchmarks/search.py: hypervolume against cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no window: the pictures are files
from matplotlib import pyplot
from matplotlib.axes import Axes
from search_methods import ARMS, Method
from search_report import MAIN, Replays, at_cost

from tuner.storage import replacing


def draw(replays: Replays, path: Path) -> None:
    """Plot hypervolume against cost: a panel for each arm, median and quartiles of each method."""
    methods = replays.methods()
    arms = [arm for arm in ARMS if any(method.arm == arm for method in methods)]
    figure, axes = pyplot.subplots(
        1,
        len(arms),
        figsize=(4.2 * len(arms), 4.6),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    names = list(dict.fromkeys(method.name for method in methods))
    looks = {
        name: {"color": pyplot.cm.tab20(place % 20), "linestyle": ("-", "--", ":")[place // 20 % 3]}
        for place, name in enumerate(names)
    }
    for arm, panel in zip(arms, axes[0], strict=True):
        for method in methods:
            if method.arm == arm:
                _draw_method(panel, replays, method, looks[method.name])
        panel.set_title(arm)
        panel.set_xlabel("cost, full trials")
    axes[0][0].set_ylabel("hypervolume, share of the best known")
    axes[0][0].set_ylim(0.5, 1.02)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)


def _draw_method(panel: Axes, replays: Replays, method: Method, look: dict[str, Any]) -> None:
    costs = np.arange(1, MAIN + 1)
    runs = replays.of(method, MAIN).values()
    values = np.array([[at_cost(run, run.volumes, cost) for cost in costs] for run in runs])
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    panel.plot(costs, middle, label=method.name, linewidth=1.5, **look)
    panel.fill_between(costs, low, high, color=look["color"], alpha=0.12, linewidth=0)
