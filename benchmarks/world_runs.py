"""List the runs to do, group those that share a training, and keep the file of finished runs."""

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
"""Judges of lines that do not name theirs."""

PARTS = ("base", "clip", "yolo")
"""Weights of the small world, on which its numbers depend."""


@dataclass(frozen=True)
class Run:
    """An arm with a training seed. `key` is a digest of all else that its numbers depend on."""

    arm: Arm
    seed: int
    key: str


def fingerprint(weights: Path) -> str:
    """Return the digest of the files of the base and of the judges' models."""
    digest = hashlib.sha256()
    for path in sorted(path for part in PARTS for path in (weights / part).rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(weights).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def arm_key(arm: Arm, scale: Scale, world: str) -> str:
    """Return a digest, 16 hex digits, of all but the seed that an arm's numbers depend on."""
    about: dict[str, object] = {"world": world}
    beside = {"also_at", "also_with_alias"}  # rows that change no number of the suite
    about["suite"] = arm.suite_config(scale, 0).model_dump(mode="json", exclude=beside)
    if arm.lora:
        # Only explicit settings: later settings whose default is today's behaviour change nothing.
        about["train"] = arm.train_config(0).model_dump(mode="json", exclude_unset=True)
        about |= {"steps": arm.steps(scale), "data": f"{arm.data}-{VERSION}"}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def all_runs(
    effects: Sequence[Effect], limits: tuple[int, int], scale: Scale, world: str
) -> list[Run]:
    """Return every run of the experiments once, seed by seed: a stopped command has all arms.

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
    """Return groups of runs that share one training: only steps and suite differ.

    In a group the fewest steps come first. The group of the base, which is not trained, is first.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        training = run.arm.train_config(run.seed).model_dump_json()
        groups.setdefault(f"{run.arm.lora} {run.arm.data} {training}", []).append(run)
    ordered = [sorted(group, key=lambda run: run.arm.times) for group in groups.values()]
    return sorted(ordered, key=lambda group: group[0].arm.lora)


def judges_digest() -> str:
    """Return a digest of the versions of the judges and their settings."""
    versions = "\n".join(f"{judge.name} {judge_version(judge, 'drawn')}" for judge in JUDGES)
    settings = mannequin_judges()
    versions += f"\n{settings.traits} {settings.sex_margin}"
    return hashlib.sha256(versions.encode()).hexdigest()[:8]


def judges_in(path: Path) -> list[str]:
    """Return the judges of the runs in the results file, in the order of their first line."""
    return list(dict.fromkeys(str(line.get("judges", FIRST_JUDGES)) for line in _lines(path)))


def finished(path: Path, judges: str) -> dict[tuple[str, int], Measures]:
    """Return the measures of the runs in the results file by these judges, by key and seed."""
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
    """Add a finished run to the results file, atomically."""
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
