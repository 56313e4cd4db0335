"""A trial's LoRA as one file for other programs, checked before it is in its place.

The file is loaded as a user would load it, by diffusers into a base of its own, and once more by
adding `alpha / rank * up @ down` to the weights without any LoRA code; both must draw what the
study drew.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from metrics.contract import Image, Objective
from tuner.errors import TunerError
from tuner.export.verify import MOST_DIFFERENCE, difference, quiet, stored_cells
from tuner.models import BaseModel, load_base, read_file
from tuner.models.adapter import models
from tuner.models.lora_file import (
    LoraFile,
    layers,
    merge,
    payload_sha256,
    write_file,
    write_peft_file,
)
from tuner.models.metadata import base_name, training_metadata
from tuner.results.confirmation import Choice
from tuner.space import StudyConfig, SuiteConfig, TrainConfig, load_study
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder, replacing
from tuner.storage.rows import RungRow

Names = Literal["kohya", "diffusers"]


_DORA_NOTES = (
    "a DoRA: ComfyUI and Forge scale it by other lengths and A1111 along the inputs, so that they "
    "draw it differently, and diffusers drops its scales; --format diffusers is what was scored",
)
_KINDS = {"lora": "LoRA for", "dreambooth": "DreamBooth of"}


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    `modules` is how many layers the file changes, all of which the base has. The differences are
    the largest of a channel in [0, 1] to the study's samples of `cells` cells, drawn with the
    file loaded by diffusers and with it merged by hand; None when the samples are gone.
    """

    path: Path
    modules: int
    cells: int
    diffusers_difference: float | None
    merged_difference: float | None
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The report in words, for a terminal."""
        checked = f"{self.modules} of {self.modules} modules are in the base, all values finite"
        if self.diffusers_difference is None:
            gone = "not compared with the study's samples: they are gone"
            return (checked, gone, *self.notes)
        return (
            checked,
            f"{self.cells} samples drawn anew differ from the study's by at most "
            f"{self.diffusers_difference:.4f} loaded by diffusers, "
            f"{self.merged_difference:.4f} merged by hand (allowed {MOST_DIFFERENCE:.4f})",
            *self.notes,
        )


def export(
    folder: StudyFolder,
    trial: int,
    out: Path,
    names: Names = "kohya",
    *,
    force: bool = False,
    choice: Choice | None = None,
) -> ExportReport:
    """Write the LoRA of `trial`'s last rung, or of the rung of `choice`, to `out` and check it.

    What `choice` was confirmed with stands in the metadata in place of the study's own numbers.
    `names` are kohya's (ComfyUI, A1111, Forge, and diffusers too) or those of diffusers and PEFT.
    Raises TunerError when `out` exists (without `force`) or the trial has no rung, ExportError
    when the file does not draw what the study drew; `out` is then as it was.
    """
    if out.suffix != ".safetensors":
        raise TunerError(f"{out} must end in .safetensors")
    if out.exists() and not force:
        raise TunerError(f"{out} exists; give another name, or --force to write over it")
    config = load_study(folder.study_yaml)
    rung = last_rung(folder, trial, choice.step if choice else None)
    train = read_yaml(folder.trial(trial).train_yaml)
    assert rung.lora is not None
    lora = read_file(rung.lora)
    base = load_base(config.base)
    base.clip_skip = train.clip_skip
    metadata = file_metadata(base, config, train, rung)
    metadata |= confirmed_metadata(choice)
    metadata |= {"ss_output_name": out.stem, "modelspec.title": out.stem}
    with replacing(out) as temporary:
        write_lora(temporary, replace(lora, metadata=metadata), base, names)
        report = _check(temporary, base, config.suite, stored_cells(folder, rung, config.base))
    notes = _DORA_NOTES if names == "kohya" and _is_dora(lora) else ()
    return replace(report, path=out, notes=notes)


def last_rung(folder: StudyFolder, trial: int, step: int | None = None) -> RungRow:
    """The trial's rung at `step`, or the last one whose file is there.

    Raises TunerError where there is none.
    """
    with Store(folder.results_db, read_only=True) as store:
        rungs = [
            rung
            for rung in store.rungs(trial)
            if rung.lora and rung.lora.is_file() and step in (None, rung.step)
        ]
        known = [row.number for row in store.trials() if store.rungs(row.number)]
    if not rungs:
        there = ", ".join(map(str, known)) or "none"
        raise TunerError(f"trial {trial} of {folder.name} has no LoRA (trials that have: {there})")
    return rungs[-1]


def file_metadata(
    base: BaseModel, config: StudyConfig, train: TrainConfig, rung: RungRow
) -> dict[str, str]:
    """What a file of the rung says of itself: how it was trained and how it was scored."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    metadata = training_metadata(base, train, rung.step) | {
        "modelspec.date": now,
        "modelspec.description": (
            f"{_KINDS[train.method]} {base_name(base)}, trial {rung.trial} of the study "
            f"{config.study}"
        ),
        "tuner.study": config.study,
        "tuner.trial": str(rung.trial),
    }
    for name, objective in rung.objectives.items():
        metadata[f"tuner.{name}"] = _number(objective)
    if train.alias is not None:
        metadata["modelspec.trigger_phrase"] = train.alias
    return metadata


def confirmed_metadata(choice: Choice | None) -> dict[str, str]:
    """What the file is known by: fresh samples, or only those that chose it."""
    if choice is None or choice.winner is None:
        return {"tuner.confirmed": "no"}
    told = choice.winner.objectives
    found = {"tuner.confirmed": "; ".join(choice.why)}
    return found | {f"tuner.{name}": _number(one) for name, one in told.items()}


def _number(one: Objective) -> str:
    return f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"


def write_lora(path: Path, lora: LoraFile, base: BaseModel, names: Names) -> None:
    """Twice: the hash of the tensors stands in the header of the second."""
    dotted = _dotted(base)
    metadata = dict(lora.metadata)
    for _ in range(2):
        if names == "kohya":
            write_file(path, replace(lora, metadata=metadata))
        else:
            write_peft_file(path, replace(lora, metadata=metadata), dotted)
        sha256 = payload_sha256(path)
        metadata |= {"modelspec.hash_sha256": f"0x{sha256}", "sshs_model_hash": sha256}


def _is_dora(lora: LoraFile) -> bool:
    return any(module.magnitude is not None for module in lora.modules.values())


def _dotted(base: BaseModel) -> dict[str, str]:
    return {
        kohya: f"{component}.{name}"
        for component, model in models(base).items()
        for kohya, name in layers(component, model).items()
    }


@contextlib.contextmanager
def _for_diffusers(path: Path, lora: LoraFile, base: BaseModel) -> Iterator[Path]:
    """The file, but of a DoRA a copy in diffusers' names: from kohya's it drops the scales."""
    if not _is_dora(lora):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dora.safetensors"
        write_peft_file(copy, lora, _dotted(base))
        yield copy


def _check(
    path: Path, base: BaseModel, suite: SuiteConfig, stored: Mapping[int, Image]
) -> ExportReport:
    """Draw the cells of `stored` with the file loaded in both ways. `base` is used up by it."""
    lora = read_file(path)
    by_diffusers, by_hand = None, None
    with quiet(), _for_diffusers(path, lora, base) as readable:
        base.pipeline.load_lora_weights(str(readable), use_safetensors=True)
    if stored:
        by_diffusers = difference(base, suite, stored, "loaded by diffusers")
    base.pipeline.unload_lora_weights()
    merge(lora, models(base))
    if stored:
        by_hand = difference(base, suite, stored, "merged by hand")
    return ExportReport(path, len(lora.modules), len(stored), by_diffusers, by_hand)
