"""Write a trial's settings as the configuration of another trainer, with the pictures it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml

from tuner.data import TrainingSet, apply_policy, read_folder
from tuner.data.folder import TrainingImage
from tuner.data.quality_tags import is_quality
from tuner.errors import TunerError
from tuner.export import recipe_ai_toolkit, recipe_kohya, recipe_onetrainer
from tuner.export.lora import last_rung, require_trial
from tuner.export.recipe_data import write_pictures
from tuner.export.recipe_run import TrainedRun, common_notes
from tuner.export.written import Written
from tuner.models import dreambooth, read_file
from tuner.models.metadata import chunks_in
from tuner.models.stored.families import STABLE_DIFFUSION_XL
from tuner.models.stored.known import known_layout
from tuner.results.confirmation import Choice
from tuner.space import StudyConfig, TrainConfig
from tuner.space.base_name import parse_base
from tuner.space.config import MANNEQUIN, OF_BASE, rung_steps
from tuner.space.load import load_recorded
from tuner.space.train_config import read_yaml
from tuner.storage import StudyFolder, shipped
from tuner.storage.files import refuse_existing, write_whole
from tuner.study.record import read_data
from tuner.text import counted

Trainer = Literal["kohya", "ai-toolkit", "onetrainer"]

SUFFIXES: dict[Trainer, tuple[str, ...]] = {
    "kohya": (".toml",),
    "ai-toolkit": (".yaml", ".yml"),
    "onetrainer": (".json",),
}
_COMMANDS: dict[Trainer, str] = {
    "kohya": "accelerate launch {script} --config_file",
    "ai-toolkit": "python run.py",
    "onetrainer": "python scripts/train.py --config-path",
}
_PRECISION = "precision: bf16, as in the trial on a GPU that has it; older GPUs need fp16"


def write_recipe(  # noqa: PLR0913 - one argument per option
    folder: StudyFolder,
    choice: Choice,
    trainer: Trainer,
    out: Path,
    *,
    force: bool = False,
    base_at: str | None = None,
    data_at: Sequence[str] = (),
) -> Written:
    """Write the settings of the chosen trial for `trainer` to `out`, and its pictures beside it.

    Beside NAME.toml and the like there are NAME_data with pictures and captions, for kohya
    NAME_dataset.toml, for OneTrainer NAME_concepts.json and NAME.txt; the trainer writes its result
    into NAME_output. `base_at` and `data_at` are the places of a base and of pictures that were
    moved (`load_recorded`). Raises TunerError if one of them exists (without `force`), and
    for a trial without a LoRA or whole weights.
    """
    if out.suffix not in SUFFIXES[trainer]:
        raise TunerError(f"{out}: give a file that ends in {' or '.join(SUFFIXES[trainer])}")
    out = out.absolute()
    data = out.with_name(f"{out.stem}_data")
    beside = _beside(trainer, out)
    for path in (out, *beside, data):
        refuse_existing(path, force)
    config = load_recorded(folder, base=base_at, data=data_at, needs=("data",))
    run, lines = _trained_run(folder, config, choice, data)
    notes = [*common_notes(run), *_NOTES[trainer](run), *lines]
    if not any(line.startswith("precision:") for line in notes):
        notes.append(_PRECISION)
    title = f"trial {choice.trial} of the study {folder.name}, step {run.kept_step}"
    why = choice.why or ("chosen by --trial",)
    command = _COMMANDS[trainer].format(script=recipe_kohya.script(run))
    known = (f"start it with: {command} {out}", "what does not translate:", *notes)
    for path, text in _texts(trainer, run, out, (title, *why, *known)).items():
        write_whole(path, text)
    return Written(out, (*map(str, (*beside, data)), *known))


def _beside(trainer: Trainer, out: Path) -> tuple[Path, ...]:
    """Return the files that are written beside `out`."""
    if trainer == "kohya":
        return (out.with_name(f"{out.stem}_dataset.toml"),)
    if trainer == "onetrainer":
        return out.with_name(f"{out.stem}_concepts.json"), out.with_suffix(".txt")
    return ()


_NOTES = {
    "kohya": recipe_kohya.notes,
    "ai-toolkit": recipe_ai_toolkit.notes,
    "onetrainer": recipe_onetrainer.notes,
}


def _texts(trainer: Trainer, run: TrainedRun, out: Path, header: Sequence[str]) -> dict[Path, str]:
    """Return the text of each file of a configuration; `header` is what a person should know."""
    output = out.with_name(f"{out.stem}_output") / f"{out.stem}.safetensors"
    comments = "".join(f"# {line}\n" for line in header)
    if trainer == "kohya":
        (dataset,) = _beside(trainer, out)
        return {
            out: comments + recipe_kohya.toml(recipe_kohya.settings(run, dataset, output)),
            dataset: recipe_kohya.toml(recipe_kohya.dataset_settings(run)).lstrip(),
        }
    if trainer == "ai-toolkit":
        job = recipe_ai_toolkit.settings(run, output)
        return {out: comments + yaml.safe_dump(job, sort_keys=False, allow_unicode=True)}
    concept_file, text = _beside(trainer, out)
    return {
        out: _json(recipe_onetrainer.settings(run, concept_file, output)),
        concept_file: _json(recipe_onetrainer.concepts(run)),
        text: "\n".join(header) + "\n",
    }


def _json(value: object) -> str:
    # OneTrainer opens its files in the system's encoding.
    return json.dumps(value, indent=4) + "\n"


def _trained_run(
    folder: StudyFolder, config: StudyConfig, choice: Choice, data: Path
) -> tuple[TrainedRun, tuple[str, ...]]:
    """Write the trial's pictures to `data`; return its run, and notes about base and pictures."""
    require_trial(folder, choice.trial)
    train = read_yaml(folder.trial(choice.trial).train_yaml)
    rung = last_rung(folder, choice.trial, choice.step)
    assert rung.lora is not None
    if train.method == "lora":
        header = read_file(rung.lora).metadata
    else:
        header = dreambooth.read_metadata(rung.lora)
    base, lines = _base(config)
    pictures, prior = _pictures(folder, config, train)
    if _is_changed(folder, train.data, pictures):
        lines.append("data: pictures or captions were changed after the study was begun")
    own, others = write_pictures(data, pictures, prior, train)
    left_out = len(pictures.held_out) + len(pictures.set_aside)
    if left_out:
        lines.append(
            f"data: {counted(len(pictures.images), 'picture')} to train on; left out: "
            f"{len(pictures.held_out)} held out for the judges, {len(pictures.set_aside)} that "
            "cannot be used"
        )
    # A cosine ends with the last rung, whichever rung was the best one.
    ends = rung_steps(train, config.budget)[-1] if train.schedule == "cosine" else rung.step
    run = TrainedRun(
        train,
        base,
        second=header.get("ss_v2") == "True",
        velocity=header.get("modelspec.prediction_type") == "v",
        steps=ends,
        kept_step=rung.step,
        pictures=own,
        prior=others,
        bucket_step=16 if config.base == MANNEQUIN else 64,
        zero_snr=header.get("ss_zero_terminal_snr") == "True",
        chunks=chunks_in(header),
        is_xl=_is_xl(header, base),
        rates_quality=_rate_quality(pictures, train),
    )
    return run, tuple(lines)


def _is_xl(header: Mapping[str, str], base: str) -> bool:
    """Return True if a file with this header was trained on a Stable Diffusion XL."""
    version = header.get("ss_base_model_version")
    if version is not None:
        return version.startswith("sdxl")
    return known_layout(base) is STABLE_DIFFUSION_XL


def _rate_quality(pictures: TrainingSet, train: TrainConfig) -> bool:
    """Return True if a caption of the trial has a tag of quality or rating."""
    captions = (apply_policy(image.caption, train.captions) for image in pictures.images)
    return any(is_quality(tag) for caption in captions for tag in caption.split(", "))


def _is_changed(folder: StudyFolder, name: str | None, pictures: TrainingSet) -> bool:
    """Return True if the header of study.yaml has another hash of the training set `name`."""
    start = f"# data {name or 'data'}: sha256 "
    lines = folder.study_yaml.read_text(encoding="utf-8").splitlines()
    recorded = [line.removeprefix(start) for line in lines if line.startswith(start)]
    return bool(recorded) and recorded != [pictures.sha256]


def _base(config: StudyConfig) -> tuple[str, list[str]]:
    """Return the path or hub id of the study's base, and notes about it."""
    if config.base == MANNEQUIN:
        small = "base: the mannequin is for trying tuner; other trainers expect Stable Diffusion"
        return str(shipped.BASE), [small]
    parsed = parse_base(config.base)
    if parsed.revision is not None and parsed.hub_id is not None:
        return parsed.hub_id, [f"base: its revision {parsed.revision} cannot be written there"]
    return str(parsed.path or parsed.hub_id), []


def _pictures(
    folder: StudyFolder, config: StudyConfig, train: TrainConfig
) -> tuple[TrainingSet, Sequence[TrainingImage]]:
    """Return the training set of the trial, and the regularisation pictures that it trains on."""
    pictures = read_data(config)[train.data]
    if train.prior_weight == 0:
        return pictures, ()
    if config.regularisation == OF_BASE:
        drawn = read_folder(folder.regularisation)
        return pictures, (*drawn.images, *drawn.held_out)
    return pictures, pictures.regularisation.images if pictures.regularisation else ()
