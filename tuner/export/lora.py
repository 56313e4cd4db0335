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
from pathlib import Path
from typing import Literal

import torch

from metrics.contract import Image
from tuner.errors import TunerError
from tuner.export.dora import for_comfyui, in_comfyui, is_dora, notes as dora_notes
from tuner.export.header import (
    confirmed_metadata,
    file_metadata,
    lora_hashes,
    only_kohya,
    started_metadata,
    title_metadata,
)
from tuner.export.verify import (
    MOST_DIFFERENCE,
    difference,
    quiet,
    reference,
    stored_cells,
)
from tuner.models import BaseModel, load_base, read_file
from tuner.models.adapter import models
from tuner.models.lora_file import (
    LoraFile,
    layers,
    merge,
    write_diffusers_file,
    write_file,
)
from tuner.models.metadata import DORA_FOR, base_name
from tuner.results.confirmation import Choice
from tuner.space import SuiteConfig
from tuner.space.load import load_recorded
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder, replacing
from tuner.storage.files import refuse_existing
from tuner.storage.rows import RungRow
from tuner.text import counted

Names = Literal["kohya", "diffusers"]
"""Naming of a file's tensors: kohya's or diffusers'."""

DoraFor = Literal["comfyui"]
"""Program that a DoRA's scales are made for."""

DIFFUSERS_NOTE = (
    "the names of diffusers are for diffusers only: ComfyUI leaves out the attention of the UNet, "
    "A1111 everything; --format kohya is for them"
)


@dataclass(frozen=True)
class ExportReport:
    """The written LoRA file and the results of its check.

    `modules` is the number of layers that the file changes; the base has all of them. The
    differences are the largest of any channel, in [0, 1], between `cells` of the study's cells
    drawn with its own LoRA and with the file, loaded by diffusers and merged by hand; None if
    the study's samples are gone, or the file is not for diffusers. `by_hand` says how it was
    merged.
    """

    path: Path
    modules: int
    cells: int
    diffusers_difference: float | None
    merged_difference: float | None
    notes: tuple[str, ...] = ()
    by_hand: str = "merged by hand"

    @property
    def lines(self) -> tuple[str, ...]:
        """The report in words, a line each."""
        checked = f"{self.modules} of {self.modules} modules are in the base, all values finite"
        ways = {
            "loaded by diffusers": self.diffusers_difference,
            self.by_hand: self.merged_difference,
        }
        apart = [f"{most:.4f} {how}" for how, most in ways.items() if most is not None]
        if not apart:
            gone = "not compared with the study's samples: they are gone"
            return (checked, gone, *self.notes)
        return (
            checked,
            f"{counted(self.cells, 'sample')} drawn anew differ{'s' * (self.cells == 1)} from the "
            f"study's LoRA, both in float32, by at most "
            f"{', '.join(apart)} (allowed {MOST_DIFFERENCE:.4f})",
            *self.notes,
        )


def export(  # noqa: PLR0913 - one argument per option
    folder: StudyFolder,
    trial: int,
    out: Path,
    names: Names = "kohya",
    *,
    force: bool = False,
    choice: Choice | None = None,
    dora_for: DoraFor | None = None,
    base_at: str | None = None,
) -> ExportReport:
    """Write the LoRA of `trial`'s last rung, or of the rung of `choice`, to `out` and check it.

    The confirmed numbers of `choice` replace the study's own numbers in the metadata. `names` are
    kohya's (ComfyUI, A1111, Forge, and also diffusers) or those of diffusers. `dora_for` changes
    the scales of a DoRA so that they are right in that program. `base_at` is the place of a base
    that was moved. Raises TunerError if `out` exists (without `force`) or the trial has no rung,
    ExportError if the file does not draw the study's samples again; `out` is then unchanged.
    """
    if out.suffix != ".safetensors":
        raise TunerError(f"{out} must end in .safetensors")
    refuse_existing(out, force)
    config = load_recorded(folder, base=base_at, needs=("base",))
    rung = last_rung(folder, trial, choice.step if choice else None)
    train = read_yaml(folder.trial(trial).train_yaml)
    assert rung.lora is not None
    lora = read_file(rung.lora)
    _refuse_dora_for(lora, trial, names, dora_for)
    base = load_base(config.base, prediction=config.base_prediction)
    with quiet():  # in half precision each way of loading rounds differently
        base.pipeline.to(torch.float32)
    base.clip_skip = train.clip_skip
    stored = stored_cells(folder, rung, config.base)
    expected = reference(base, config.suite, stored, rung.lora)
    metadata = file_metadata(base, config, train, rung) | title_metadata(out.stem)
    metadata |= confirmed_metadata(choice) | started_metadata(folder, trial)
    notes = _notes(lora, base, names, dora_for)
    if is_dora(lora) and names == "kohya":
        metadata["modelspec.usage_hint"] = notes[0]
    if dora_for is not None:
        lora = for_comfyui(lora, base)
        metadata[DORA_FOR] = f"{dora_for}, base {base_name(base)}"
    with replacing(out) as temporary:
        write_lora(temporary, replace(lora, metadata=metadata), base, names)
        report = _check(temporary, base, config.suite, expected)
    return replace(report, path=out, notes=notes)


def _refuse_dora_for(lora: LoraFile, trial: int, names: Names, dora_for: DoraFor | None) -> None:
    if dora_for is not None and not is_dora(lora):
        raise TunerError(f"trial {trial} is no DoRA; drop --dora-for")
    if dora_for is not None and names != "kohya":
        raise TunerError(f"{dora_for} reads kohya's names; give --dora-for or --format {names}")


def _notes(
    lora: LoraFile, base: BaseModel, names: Names, dora_for: DoraFor | None
) -> tuple[str, ...]:
    if names == "diffusers":
        return (DIFFUSERS_NOTE,)
    return dora_notes(lora, base, dora_for) if is_dora(lora) else ()


def require_trial(folder: StudyFolder, trial: int) -> None:
    """Raise TunerError if the study has no such trial."""
    with Store(folder.results_db, read_only=True) as store:
        known = [row.number for row in store.trials()]
    if trial not in known:
        last = f", the last is {max(known)}" if known else ""
        raise TunerError(
            f"{folder.name} has no trial {trial}; it has {counted(len(known), 'trial')}{last}"
        )


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


def write_lora(path: Path, lora: LoraFile, base: BaseModel, names: Names) -> None:
    """Write the LoRA twice: its hashes are computed from the first file, as kohya's trainer does.

    They are in the header of the second file.
    """
    dotted = _dotted(base)
    metadata = only_kohya(lora.metadata)
    for _ in range(2):
        if names == "kohya":
            write_file(path, replace(lora, metadata=metadata))
        else:
            write_diffusers_file(path, replace(lora, metadata=metadata), dotted)
        metadata = {**lora.metadata, **lora_hashes(path)}


def _dotted(base: BaseModel) -> dict[str, str]:
    """Return diffusers' name of every layer, by kohya's.

    transformers 5.6 dropped the level `text_model.`; diffusers reads it with every version.
    """
    return {
        kohya: f"{component}.{'' if component == 'unet' else 'text_model.'}"
        f"{name.removeprefix('text_model.')}"
        for component, model in models(base).items()
        for kohya, name in layers(component, model).items()
    }


@contextlib.contextmanager
def _for_diffusers(path: Path, lora: LoraFile, base: BaseModel) -> Iterator[Path]:
    """Yield the file, or for a DoRA a copy in diffusers' names, which keeps its scales there."""
    if not is_dora(lora):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dora.safetensors"
        write_diffusers_file(copy, lora, _dotted(base))
        yield copy


def _check(
    path: Path, base: BaseModel, suite: SuiteConfig, expected: Mapping[int, Image]
) -> ExportReport:
    """Draw the cells of `expected` with the file loaded in both ways; this changes `base`."""
    lora = read_file(path)
    in_program = DORA_FOR in lora.metadata
    by_diffusers, by_hand, how = None, None, "merged by hand"
    if in_program:
        how = "merged as ComfyUI computes"
        merge(lora, models(base), in_comfyui)
    else:
        with quiet(), _for_diffusers(path, lora, base) as readable:
            base.pipeline.load_lora_weights(str(readable), use_safetensors=True)
        if expected:
            by_diffusers = difference(base, suite, expected, "loaded by diffusers")
        base.pipeline.unload_lora_weights()
        merge(lora, models(base))
    if expected:
        by_hand = difference(base, suite, expected, how)
    return ExportReport(path, len(lora.modules), len(expected), by_diffusers, by_hand, by_hand=how)
