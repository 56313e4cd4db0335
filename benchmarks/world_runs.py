"""Which runs there are to do, which of them share a training, and the file of finished ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world_arms import Arm, Effect, Scale

from metrics.scoring import JUDGES
from metrics.version import judge_version
from tuner.judging.models import mannequin_judges
from tuner.mannequin.dataset import VERSION
from tuner.storage.files import write_text

Measures = Mapping[str, float | None]
FIRST_JUDGES = "first"
"""Of lines that do not say which judges theirs were."""

PARTS = ("base", "clip", "yolo")
"""What the small world is made of, and what its numbers depend on."""


@dataclass(frozen=True)
class Run:
    """An arm with a training seed. `key` stands for all but the seed that its numbers depend on."""

    arm: Arm
    seed: int
    key: str


def fingerprint(weights: Path) -> str:
    """What base and judges' models are, by the content of their files."""
    digest = hashlib.sha256()
    for path in sorted(one for part in PARTS for one in (weights / part).rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(weights).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def arm_key(arm: Arm, scale: Scale, world: str) -> str:
    """What the numbers of an arm depend on besides its training seed, as 16 hex digits."""
    about: dict[str, object] = {"world": world}
    beside = {"also_at", "also_with_alias"}  # rows that change no number of the suite
    about["suite"] = arm.suite_config(scale, 0).model_dump(mode="json", exclude=beside)
    if arm.lora:
        # What is set alone: settings that come later, at what was done before, change no number.
        about["train"] = arm.train_config(0).model_dump(mode="json", exclude_unset=True)
        about |= {"steps": arm.steps(scale), "data": f"{arm.data}-{VERSION}"}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def all_runs(
    effects: Sequence[Effect], limits: tuple[int, int], scale: Scale, world: str
) -> list[Run]:
    """Every run of the experiments once, seed by seed, so that a stopped command has all arms.

    `limits` are the numbers of seeds of usual and of long runs.
    """
    arms = {arm.name: arm for effect in effects for arm in effect.arms}
    return [
        Run(arm, seed, arm_key(arm, scale, world))
        for seed in range(max(limits))
        for arm in arms.values()
        if seed < limits[arm.times > 1]
    ]


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs that one training serves: alike but for steps and suite, fewest steps first.

    The base, which is not trained, comes first.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        training = run.arm.train_config(run.seed).model_dump_json()
        groups.setdefault(f"{run.arm.lora} {run.arm.data} {training}", []).append(run)
    ordered = [sorted(group, key=lambda run: run.arm.times) for group in groups.values()]
    return sorted(ordered, key=lambda group: group[0].arm.lora)


def judges_digest() -> str:
    """What the numbers of a run owe to the judges: a digest of their versions."""
    versions = "\n".join(f"{judge.name} {judge_version(judge)}" for judge in JUDGES)
    settings = mannequin_judges()
    versions += f"\n{settings.traits} {settings.sex_margin}"
    return hashlib.sha256(versions.encode()).hexdigest()[:8]


def judges_in(path: Path) -> list[str]:
    """The judges that runs in the results file were judged with, in the order of their coming."""
    return list(dict.fromkeys(str(line.get("judges", FIRST_JUDGES)) for line in _lines(path)))


def finished(path: Path, judges: str) -> dict[tuple[str, int], Measures]:
    """The measures of the runs in the results file that were judged so, by key and seed."""
    return {
        (line["key"], line["seed"]): line["measures"]
        for line in _lines(path)
        if line.get("judges", FIRST_JUDGES) == judges
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def keep(path: Path, run: Run, measures: Measures, seconds: float) -> None:
    """Add a finished run to the results file, whole or not at all."""
    line = {
        "arm": run.arm.name,
        "seed": run.seed,
        "key": run.key,
        "judges": judges_digest(),
        "seconds": round(seconds, 1),
        "measures": dict(measures),
    }
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_text(path, f"{before}{json.dumps(line)}\n")
