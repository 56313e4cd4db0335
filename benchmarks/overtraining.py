"""Do the scores tell an over-trained LoRA, one that hardly trained and one that does nothing?

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
    """One way to train: what it is called, its rate and its optimizer steps."""

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
    """What was found of one run; without pictures (not finite numbers) all objectives are 0."""

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
    asked = parser.parse_args(arguments)
    kinds = [replace(one, steps=max(1, one.steps // 10)) for one in KINDS] if asked.short else KINDS
    settings = mannequin_judges()
    grids = asked.result.with_suffix("")
    rows = []
    with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as folder:
        bench = Bench(load_base("mannequin"), judges, SCALE, Path(folder))
        for seed in range(asked.seeds):
            for kind in kinds:
                rows.append(run(bench, kind, seed, grids if seed == 0 else None))
                print(line(rows[-1]), flush=True)
    write_text(asked.result, page(rows, kinds, asked.seeds))


def run(bench: Bench, kind: Kind, seed: int, grids: Path | None) -> Row:
    """Train, sample and score one run."""
    arm = Arm(kind.name, {**GENDER.train, "learning_rate": kind.rate})
    suite = arm.suite_config(bench.scale, seed)
    images, _ = bench.training_set(arm.data)
    base = bench.reference(suite)
    try:
        with closing(
            train(bench.base, images, arm.train_config(seed), [kind.steps], bench.folder)
        ) as outcomes:
            lora = next(one.path for one in outcomes if isinstance(one, Checkpoint))
            scored = bench.scored(suite, lora)
    except DivergedError:
        return Row(kind.name, seed, None, None, None)
    if grids:
        write_grid([one.sample for one in scored], grids / f"{kind.name}.png")
    found = objectives(scored, base)
    return Row(kind.name, seed, found["pose"], found["quality"], effect(scored, base))


def line(row: Row) -> str:
    """A row of the table."""
    pose, quality = (_told(one) for one in (row.pose, row.quality))
    note = (row.effect.note or "") if row.effect else "no finite picture"
    return f"| {row.kind} | {row.seed} | {pose} | {quality} | {_told(row.effect)} | {note} |"


def _told(one: Objective | Measure | None) -> str:
    if one is None or one.value is None or one.low is None or one.high is None:
        return "0"
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"


def page(rows: Sequence[Row], kinds: Sequence[Kind], seeds: int) -> str:
    """The table, and in how many training seeds the ranks are as they should be."""

    def value(kind: str, seed: int, name: str) -> float:
        found = next(one for one in rows if (one.kind, one.seed) == (kind, seed))
        objective: Objective | None = getattr(found, name)
        return 0.0 if objective is None else objective.value

    over = sum(value("over-trained", s, "quality") < value("sound", s, "quality")
               for s in range(seeds))  # fmt: skip
    under = sum(value("under-trained", s, "pose") < value("sound", s, "pose") for s in range(seeds))
    told = sum(one.kind == "nothing" and one.effect is not None and one.effect.note is not None
               for one in rows)  # fmt: skip
    ways = "; ".join(f"{one.name}: {one.steps} steps at {one.rate:g}" for one in kinds)
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
            f"under-trained below sound on `pose` in {under}; told to do nothing: {told}.",
            "",
            *(f"![{one.name}](overtraining/{one.name}.png)\n" for one in kinds),
        ]
    )


if __name__ == "__main__":
    main()
