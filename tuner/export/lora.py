"""Export of a trial's LoRA as one file for other programs, checked before it is moved into place.

The file is loaded twice: by diffusers, as a user would load it, and by adding
`alpha / rank * up @ down` to the weights of the base without any LoRA code. Both must draw the
study's samples again.
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
"""Naming of a file's tensors: kohya's, or that of diffusers and PEFT."""

_DORA_NOTES = (
    "a DoRA: ComfyUI and Forge normalise it by other lengths and A1111 along the inputs, so they "
    "draw it differently, and diffusers ignores its scales; with --format diffusers, diffusers "
    "draws it as it was scored",
)
_KINDS = {"lora": "LoRA for", "dreambooth": "DreamBooth of"}


@dataclass(frozen=True)
class ExportReport:
    """The written LoRA file and the results of its check.

    `modules` is the number of layers that the file changes; the base has all of them. The
    differences are the largest of any channel, in [0, 1], between the study's samples of `cells`
    cells and the same cells drawn with the file, loaded by diffusers and merged by hand; None if
    the study's samples are gone.
    """

    path: Path
    modules: int
    cells: int
    diffusers_difference: float | None
    merged_difference: float | None
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The report in words, a line each."""
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

    The confirmed numbers of `choice` replace the study's own numbers in the metadata. `names` are
    kohya's (ComfyUI, A1111, Forge, and also diffusers) or those of diffusers and PEFT. Raises
    TunerError if `out` exists (without `force`) or the trial has no rung, ExportError if the file
    does not draw the study's samples again; `out` is then unchanged.
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
    """Return the trial's rung at `step`, by default the last one, among those whose file exists.

    Raises TunerError if there is none.
    """
    with Store(folder.results_db, read_only=True) as store:
        rungs = [
            rung
            for rung in store.rungs(trial)
            if rung.lora and rung.lora.is_file() and step in (None, rung.step)
        ]
        known = [row.number for row in store.trials() if store.rungs(row.number)]
    if not rungs:
        others = ", ".join(map(str, known)) or "none"
        raise TunerError(
            f"trial {trial} of {folder.name} has no LoRA (trials that have one: {others})"
        )
    return rungs[-1]


def file_metadata(
    base: BaseModel, config: StudyConfig, train: TrainConfig, rung: RungRow
) -> dict[str, str]:
    """Return the metadata of a rung's file: its training, its study and its scores."""
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
    """Return the confirmed numbers and the reasons as metadata, or "no" if unconfirmed."""
    if choice is None or choice.winner is None:
        return {"tuner.confirmed": "no"}
    metadata = {"tuner.confirmed": "; ".join(choice.why)}
    for name, objective in choice.winner.objectives.items():
        metadata[f"tuner.{name}"] = _number(objective)
    return metadata


def _number(objective: Objective) -> str:
    return f"{objective.value:.4f} [{objective.low:.4f}, {objective.high:.4f}]"


def write_lora(path: Path, lora: LoraFile, base: BaseModel, names: Names) -> None:
    """Write the LoRA; a second pass puts the tensors' hash into the header."""
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
    """Yield the file, or for a DoRA a copy in diffusers' names, which keeps its scales there."""
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
    """Draw the cells of `stored` with the file loaded in both ways; this changes `base`."""
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
