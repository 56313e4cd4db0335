"""Export of a trial's result for other programs: a LoRA, or the whole model of DreamBooth.

The whole model is written as one .safetensors file in the original layout, as a folder in
diffusers' layout, or as a LoRA that approximates it. A file or folder is read back and must draw
the study's samples again.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from tuner.errors import TunerError
from tuner.export.lora import (
    ExportReport,
    Names,
    confirmed_metadata,
    export,
    file_metadata,
    last_rung,
    write_lora,
)
from tuner.export.low_rank import extracted
from tuner.export.single_file import write_single_file
from tuner.export.verify import difference, quiet, stored_cells
from tuner.models import BaseModel, adapter, dreambooth, load_base
from tuner.models.lora_file import Component
from tuner.results.confirmation import Choice
from tuner.space import load_study
from tuner.space.config import MANNEQUIN
from tuner.space.train_config import read_yaml
from tuner.storage import StudyFolder, replacing, shipped
from tuner.storage.files import write_text
from tuner.text import byte_size

_LAYERS = "attention+feed_forward+convolutions"


@dataclass(frozen=True)
class ModelReport:
    """The path that was written and the report in words, a line each."""

    path: Path
    lines: tuple[str, ...]


def export_trial(
    folder: StudyFolder,
    choice: Choice,
    out: Path,
    names: Names = "kohya",
    *,
    force: bool = False,
    lora_rank: int | None = None,
) -> ExportReport | ModelReport:
    """Write the chosen trial's LoRA or whole model to `out` and check it.

    A LoRA is written as one file in the naming `names`. DreamBooth's model is written as one file
    if `out` ends in .safetensors, else as a folder; with `lora_rank` as a LoRA of that rank, which
    is not compared with the samples. Raises TunerError if `out` exists (without `force`) or the
    trial has no rung, ExportError if the result does not draw the study's samples again; `out` is
    then unchanged.
    """
    trial = choice.trial
    train = read_yaml(folder.trial(trial).train_yaml)
    if train.method == "lora":
        if lora_rank is not None:
            raise TunerError(f"trial {trial} is a LoRA of rank {train.rank}; drop --lora-rank")
        return export(folder, trial, out, names, force=force, choice=choice)
    if out.suffix not in ("", ".safetensors") or (lora_rank and not out.suffix):
        raise TunerError(f"{out}: give NAME.safetensors, or for a whole model a folder NAME")
    if out.exists() and not force:
        raise TunerError(f"{out} exists; give another name, or --force to write over it")
    config = load_study(folder.study_yaml)
    rung = last_rung(folder, trial, choice.step)
    assert rung.lora is not None
    base = load_base(config.base, device="cpu")
    base.clip_skip = train.clip_skip
    metadata = file_metadata(base, config, train, rung) | {"modelspec.title": out.stem}
    metadata |= confirmed_metadata(choice)
    stored = stored_cells(folder, rung, config.base)
    if lora_rank is not None:
        return _as_lora(base, rung.lora, out, names, lora_rank, metadata)
    dreambooth.put_on(base, rung.lora)
    write = _as_folder if not out.suffix else _as_file
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    try:
        read_back = write(base, part, metadata)
        lines = [f"the whole model, {byte_size(_size(part))} in float16"]
        if stored:
            read_back.clip_skip = train.clip_skip
            apart = difference(read_back, config.suite, stored, "read back by diffusers")
            lines.append(f"{len(stored)} samples drawn anew differ by at most {apart:.4f}")
        _put(part, out)
    finally:
        _remove(part)
    return ModelReport(out, tuple(lines))


def _as_file(base: BaseModel, path: Path, metadata: dict[str, str]) -> BaseModel:
    write_single_file(path, base.pipeline, metadata)
    source = str(shipped.BASE) if base.name == MANNEQUIN else base.name
    parts: dict[str, object] = {
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    if not Path(source).is_file():  # diffusers knows a checkpoint file's architecture by its keys
        parts["config"] = source
    pipeline = StableDiffusionPipeline.from_single_file(str(path), local_files_only=True, **parts)
    return _read_back(base, pipeline)


def _as_folder(base: BaseModel, path: Path, metadata: dict[str, str]) -> BaseModel:
    with quiet():  # diffusers warns that some parts must stay float32, without naming any
        base.pipeline.to(torch.float16)
    base.pipeline.save_pretrained(path)
    # transformers loads the text encoder in the dtype of its configuration, diffusers the other
    # parts in float32: with float16 here, the loaded model would have mixed dtypes.
    config = path / "text_encoder" / "config.json"
    text = json.loads(config.read_text("utf-8")) | {"dtype": "float32"}
    write_text(config, json.dumps(text, indent=2, sort_keys=True) + "\n")
    write_text(path / "tuner.json", json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
    pipeline = StableDiffusionPipeline.from_pretrained(path, local_files_only=True)
    return _read_back(base, pipeline)


def _read_back(base: BaseModel, pipeline: StableDiffusionPipeline) -> BaseModel:
    pipeline.set_progress_bar_config(disable=True)
    return BaseModel(base.name, pipeline.to("cpu"), torch.device("cpu"), base.native_size)


def _as_lora(
    base: BaseModel, weights: Path, out: Path, names: Names, rank: int, metadata: dict[str, str]
) -> ModelReport:
    before = _matrices(base)
    dreambooth.put_on(base, weights)
    metadata |= {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
    }
    lora, share = extracted(before, _matrices(base), rank, metadata)
    if not lora.modules:
        raise TunerError("training changed no layer that a LoRA can change; nothing was written")
    with replacing(out) as temporary:
        write_lora(temporary, lora, base, names)
    held = f"rank {rank} holds {share:.1%} of the squared change of {len(lora.modules)} layers"
    note = "a LoRA only approximates a whole model: compare pictures"
    return ModelReport(out, (held, note))


def _matrices(base: BaseModel) -> dict[Component, dict[str, torch.Tensor]]:
    """Return copies of the weights of all layers that a LoRA of this base can change."""
    return {
        component: {
            name: model.get_submodule(name).weight.detach().clone()  # type: ignore[operator,union-attr]
            for name in adapter.targets(model, component, _LAYERS)
        }
        for component, model in adapter.models(base).items()
    }


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
