"""Test whether the scores reveal LoRAs that are over-trained, under-trained or without effect.

    python benchmarks/overtraining.py [--seeds 3]

The sound run is that of the experiments (world_arms.py), with gender tags. Over-trained: ten times
its steps at five times its rate. Under-trained: a tenth of its steps at a fifth of its rate.
Nothing: one step at a rate of 1e-6. All are sampled on the same prompts and noise as the base. The
table goes to benchmarks/results/overtraining.md, with a grid of each beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from world import Bench
from world_arms import GENDER, Arm, Scale

from metrics import open_detectors
from metrics.contract import Measure, Objective
from metrics.objectives import objectives
from metrics.sets.effect import effect
from tuner.errors import DivergedError
from tuner.judging.models import mannequin_judges
from tuner.models import load_base
from tuner.storage.files import write_text
from tuner.training import Checkpoint, train
from tuner.trial.keep import write_grid

RESULT = Path(__file__).parent / "results" / "overtraining.md"
SCALE = Scale(steps=300, noise_seeds=4)


@dataclass(frozen=True)
class Kind:
    """One way to train: its name, learning rate and optimizer steps."""

    name: str
    rate: float
    steps: int


KINDS = (
    Kind("nothing", 1e-6, 1),
    Kind("under-trained", 2e-4, SCALE.steps // 10),
    Kind("sound", 1e-3, SCALE.steps),
    Kind("over-trained", 5e-3, 10 * SCALE.steps),
)


@dataclass(frozen=True)
class Row:
    """Results of one run; None for a run whose pictures are not finite numbers."""

    kind: str
    seed: int
    pose: Objective | None
    quality: Objective | None
    effect: Measure | None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--short", action="store_true", help="a tenth of all steps, to try it")
    options = parser.parse_args(arguments)
    kinds = list(KINDS)
    if options.short:
        kinds = [replace(kind, steps=max(1, kind.steps // 10)) for kind in KINDS]
    settings = mannequin_judges()
    grids = options.result.with_suffix("")
    rows = []
    with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as folder:
        bench = Bench(load_base("mannequin"), judges, SCALE, Path(folder))
        for seed in range(options.seeds):
            for kind in kinds:
                rows.append(run(bench, kind, seed, grids if seed == 0 else None))
                print(line(rows[-1]), flush=True)
    write_text(options.result, page(rows, kinds, options.seeds))


def run(bench: Bench, kind: Kind, seed: int, grids: Path | None) -> Row:
    """Train, sample and score one run; write its grid into the folder `grids`, unless None."""
    arm = Arm(kind.name, {**GENDER.train, "learning_rate": kind.rate})
    suite = arm.suite_config(bench.scale, seed)
    images, _ = bench.training_set(arm.data)
    base = bench.reference(suite)
    try:
        with closing(
            train(bench.base, images, arm.train_config(seed), [kind.steps], bench.folder)
        ) as outcomes:
            lora = next(each.paths[0] for each in outcomes if isinstance(each, Checkpoint))
            scored = bench.scored(suite, lora)
    except DivergedError:
        return Row(kind.name, seed, None, None, None)
    if grids:
        write_grid([each.sample for each in scored], grids / f"{kind.name}.png")
    values = objectives(scored, base)
    return Row(kind.name, seed, values["pose"], values["quality"], effect(scored, base))


def line(row: Row) -> str:
    """Return a row of the table."""
    pose, quality = (_as_text(value) for value in (row.pose, row.quality))
    note = (row.effect.note or "") if row.effect else "no finite picture"
    return f"| {row.kind} | {row.seed} | {pose} | {quality} | {_as_text(row.effect)} | {note} |"


def _as_text(number: Objective | Measure | None) -> str:
    if number is None or number.value is None or number.low is None or number.high is None:
        return "0"
    return f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]"


def page(rows: Sequence[Row], kinds: Sequence[Kind], seeds: int) -> str:
    """Return the table, and the number of training seeds in which the ranks are as expected."""

    def value(kind: str, seed: int, name: str) -> float:
        row = next(row for row in rows if (row.kind, row.seed) == (kind, seed))
        objective: Objective | None = getattr(row, name)
        return 0.0 if objective is None else objective.value

    over = sum(value("over-trained", s, "quality") < value("sound", s, "quality")
               for s in range(seeds))  # fmt: skip
    under = sum(value("under-trained", s, "pose") < value("sound", s, "pose") for s in range(seeds))
    noted = sum(row.kind == "nothing" and row.effect is not None and row.effect.note is not None
                for row in rows)  # fmt: skip
    ways = "; ".join(f"{kind.name}: {kind.steps} steps at {kind.rate:g}" for kind in kinds)
    return "\n".join(
        [
            "# Over-trained, under-trained, nothing",
            "",
            f"Made by `python benchmarks/overtraining.py --seeds {seeds}`: {ways}. "
            f"{SCALE.noise_seeds} noise seeds a prompt, 95 % intervals.",
            "",
            "| run | training seed | pose | quality | effect | note |",
            "|---|---|---|---|---|---|",
            *(line(row) for row in rows),
            "",
            f"Over-trained below sound on `quality` in {over} of {seeds} training seeds; "
            f"under-trained below sound on `pose` in {under}; reported to have no effect: {noted}.",
            "",
            *(f"![{kind.name}](overtraining/{kind.name}.png)\n" for kind in kinds),
        ]
    )


if __name__ == "__main__":
    main()
