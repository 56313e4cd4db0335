"""Picture of benchmarks/search.py: hypervolume against cost of the samplers of `tuner`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no window: the pictures are files
from matplotlib import pyplot
from matplotlib.axes import Axes
from search_methods import ARMS, KNOWN, Method
from search_report import MAIN, Replays, at_cost

from tuner.storage import replacing


def draw(replays: Replays, path: Path) -> None:
    """Plot hypervolume against cost: a panel for each arm, mean and its 95 % interval."""
    methods = [each for each in replays.methods() if (each.sampler, each.rungs) in KNOWN]
    arms = [arm for arm in ARMS if any(method.arm == arm for method in methods)]
    figure, axes = pyplot.subplots(
        1,
        len(arms),
        figsize=(4.2 * len(arms), 4.6),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    samplers = list(dict.fromkeys(name for name, _ in KNOWN))
    looks = {
        method: {"color": f"C{samplers.index(method.sampler)}", "linestyle": "-:"[method.rungs]}
        for method in methods
    }
    for arm, panel in zip(arms, axes[0], strict=True):
        for method in methods:
            if method.arm == arm:
                _draw_method(panel, replays, method, looks[method])
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
    middle = values.mean(axis=0)
    half = 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0
    panel.plot(costs, middle, label=method.name, linewidth=1.5, **look)
    panel.fill_between(costs, middle - half, middle + half, color=look["color"], alpha=0.12)
