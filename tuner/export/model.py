"""Export of a trial's result for other programs: a LoRA, or the whole model of DreamBooth.

The whole model is written as one .safetensors file in the original layout, as a folder in
diffusers' layout, or as a LoRA that approximates it. A file or folder is read back and must draw
the study's samples again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metrics.contract import Image
from tuner.errors import TunerError
from tuner.export.folder import write_configuration, write_folder
from tuner.export.header import (
    confirmed_metadata,
    file_metadata,
    put_hash,
    room_for_hash,
    started_metadata,
    title_metadata,
)
from tuner.export.lora import (
    DIFFUSERS_NOTE,
    DoraFor,
    ExportReport,
    Names,
    export,
    last_rung,
    require_trial,
    write_lora,
)
from tuner.export.low_rank import changes, extracted
from tuner.export.single_file import markers, write_single_file
from tuner.export.verify import difference, quiet, reference, stored_cells
from tuner.export.written import Written
from tuner.models import BaseModel, dreambooth, load_base
from tuner.models.metadata import network_arguments
from tuner.results.confirmation import Choice
from tuner.space import SuiteConfig
from tuner.space.load import load_recorded
from tuner.space.train_config import read_yaml
from tuner.storage import StudyFolder, replacing
from tuner.storage.files import refuse_existing
from tuner.text import byte_size, counted

_V_NOTE = (
    "a model with v-prediction: its mark v_pred is in the file, but A1111 needs a .yaml beside it, "
    "and ComfyUI the node ModelSamplingDiscrete for Stable Diffusion 1.x"
)


def export_trial(  # noqa: PLR0913 - one argument per option
    folder: StudyFolder,
    choice: Choice,
    out: Path,
    names: Names = "kohya",
    *,
    force: bool = False,
    lora_rank: int | None = None,
    dora_for: DoraFor | None = None,
    base_at: str | None = None,
) -> ExportReport | Written:
    """Write the chosen trial's LoRA or whole model to `out` and check it.

    A LoRA is written as one file in the naming `names`, a DoRA with the scales that the program
    `dora_for` needs. DreamBooth's model is written as one file if `out` ends in .safetensors, else
    as a folder; with `lora_rank` as a LoRA of that rank, which is not compared with the samples.
    `base_at` is the place of a base that was moved. Raises TunerError if `out` exists (without
    `force`) or the trial has no rung, ExportError if the result does not draw the study's samples
    again; `out` is then unchanged.
    """
    trial = choice.trial
    require_trial(folder, trial)
    train = read_yaml(folder.trial(trial).train_yaml)
    if train.method == "lora":
        if lora_rank is not None:
            raise TunerError(f"trial {trial} is a LoRA of rank {train.rank}; drop --lora-rank")
        return export(
            folder,
            trial,
            out,
            names,
            force=force,
            choice=choice,
            dora_for=dora_for,
            base_at=base_at,
        )
    if dora_for is not None:
        raise TunerError(f"trial {trial} is no DoRA; drop --dora-for")
    if out.suffix not in ("", ".safetensors") or (lora_rank and not out.suffix):
        raise TunerError(f"{out}: give NAME.safetensors, or for a whole model a folder NAME")
    refuse_existing(out, force)
    if out.is_dir() and any(out.iterdir()) and not (out / "model_index.json").is_file():
        raise TunerError(f"{out} is a folder that holds no model; give another name")
    config = load_recorded(folder, base=base_at, needs=("base",))
    rung = last_rung(folder, trial, choice.step)
    assert rung.lora is not None
    base = load_base(config.base, device="cpu", prediction=config.base_prediction)
    base.clip_skip = train.clip_skip
    metadata = file_metadata(base, config, train, rung) | title_metadata(out.stem)
    metadata |= confirmed_metadata(choice) | started_metadata(folder, trial)
    stored = stored_cells(folder, rung, config.base)
    if lora_rank is not None:
        return _as_lora(base, rung.lora, out, names, lora_rank, metadata)
    expected = reference(base, config.suite, stored, rung.lora)
    dreambooth.put_on(base, rung.lora)
    return _as_whole(base, out, metadata, config.suite, expected)


def _as_whole(
    base: BaseModel,
    out: Path,
    metadata: dict[str, str],
    suite: SuiteConfig,
    expected: Mapping[int, Image],
) -> Written:
    with quiet():  # diffusers warns that some parts must stay float32, without naming any
        base.pipeline.to(torch.float16)
    write = _as_folder if not out.suffix else _as_file
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    try:
        read_back = write(base, part, metadata)
        lines = [f"the whole model, {byte_size(_size(part))} in float16"]
        if expected:
            apart = difference(read_back, suite, expected, "read back by diffusers")
            drawn = counted(len(expected), "sample")
            lines.append(
                f"{drawn} drawn anew differ{'s' * (len(expected) == 1)} by at most {apart:.4f}"
            )
        if write is _as_file and markers(base.pipeline) and not base.family.LAYOUT.reads_marks:
            lines.append(_V_NOTE)
        _put(part, out)
    finally:
        _remove(part)
    return Written(out, tuple(lines))


def _as_file(base: BaseModel, path: Path, metadata: dict[str, str]) -> BaseModel:
    write_single_file(path, base.pipeline, metadata | room_for_hash())
    put_hash(path)
    # Without a configuration diffusers would fetch one from the hub.
    with tempfile.TemporaryDirectory() as folder:
        write_configuration(Path(folder), base.pipeline)
        pipeline = base.family.open_file(path, Path(folder), torch.float32)
    return _read_back(base, pipeline)


def _as_folder(base: BaseModel, path: Path, metadata: dict[str, str]) -> BaseModel:
    write_folder(path, base.pipeline, metadata)
    return _read_back(base, base.family.open_folder(path, torch.float32, None))


def _read_back(base: BaseModel, pipeline: Any) -> BaseModel:
    pipeline.set_progress_bar_config(disable=True)
    place = torch.device("cpu")
    return BaseModel(base.name, pipeline.to(place), place, base.native_size, base.clip_skip)


def _as_lora(
    base: BaseModel, weights: Path, out: Path, names: Names, rank: int, metadata: dict[str, str]
) -> Written:
    metadata |= network_arguments((rank, float(rank))) | {
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(rank)),
        "modelspec.architecture": f"{metadata['modelspec.architecture']}/lora",
        "modelspec.description": f"LoRA extracted from a {metadata['modelspec.description']}",
    }
    lora, share = extracted(changes(base, weights), rank, metadata)
    if not lora.modules:
        raise TunerError("training changed no layer that a LoRA can change; nothing was written")
    with replacing(out) as temporary:
        write_lora(temporary, lora, base, names)
    held = f"rank {rank} holds {share:.1%} of the squared change of "
    held += counted(len(lora.modules), "layer")
    note = "a LoRA only approximates a whole model: compare pictures"
    return Written(out, (held, note, *[DIFFUSERS_NOTE][: names == "diffusers"]))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _put(part: Path, out: Path) -> None:
    _remove(out)
    part.rename(out)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
