"""Stable Diffusion 1.5 at its full size, with random weights: a training step, a sample, export.

Everything is read from one file of the original layout with the shipped configuration, as a user's
checkpoint is, and no network is asked. `pose_sd15.yaml` says what is trained.
"""

from __future__ import annotations

import gc
import resource
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from metrics.contract import Objective, Sample, ScoredSample
from tests.tuner.generators import samples_of
from tuner.data import TrainingSet
from tuner.export.lora import export
from tuner.export.single_file import write_single_file
from tuner.export.verify import MOST_DIFFERENCE
from tuner.models import BaseModel, load_base, read_file, sample_batches
from tuner.models.clip_tokenizer import all_merges, clip_tokenizer
from tuner.models.stored.families import STABLE_DIFFUSION_15
from tuner.space import StudyConfig, TrainConfig, load_study, to_yaml
from tuner.space.templates import shipped_spaces
from tuner.space.train_config import to_yaml as train_yaml
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text
from tuner.storage.folder import RungFolder
from tuner.storage.rows import RungRow
from tuner.study import check_study
from tuner.study.samplers import start_parameters, suggest
from tuner.training import Checkpoint, train
from tuner.training.buckets import bucket_sizes
from tuner.trial.keep import write_pictures

ALLOWED_GIB = 24
UNET_PARAMETERS = 859_520_964
"""Of Stable Diffusion 1.5's UNet, as its authors' checkpoint has them."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 GB of random weights in SD1.5's shape, in the original layout."""
    path = tmp_path_factory.mktemp("exact") / "random_sd15.safetensors"
    parts = {name: STABLE_DIFFUSION_15 / name for name in ("unet", "vae", "text_encoder")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(parts["unet"]))
        assert sum(one.numel() for one in unet.parameters()) == UNET_PARAMETERS
        pipeline = StableDiffusionPipeline(
            unet=unet,
            vae=AutoencoderKL.from_config(AutoencoderKL.load_config(parts["vae"])),
            text_encoder=CLIPTextModel(CLIPTextConfig.from_pretrained(parts["text_encoder"])),
            tokenizer=clip_tokenizer(all_merges()),
            scheduler=PNDMScheduler.from_pretrained(STABLE_DIFFUSION_15 / "scheduler"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    write_single_file(path, pipeline, {})
    return path


def shipped(base: Path, data: Path) -> StudyConfig:
    """pose_sd15.yaml on that checkpoint; only what makes a test short is set."""
    short = ["budget.rungs=[1]", "suite.seeds=1", "suite.size=256", "suite.steps=1"]
    short += ["train.resolution=256", "train.batch_size=1", "train.learning_rate=0.01"]
    space = shipped_spaces()["pose_sd15"]
    config = load_study(space, base=str(base), data=str(data), set_values=short)
    suite = config.suite.model_copy(update={"prompts": config.suite.prompts[:1]})
    return config.model_copy(update={"suite": suite})


def drawn(
    base: BaseModel, config: StudyConfig, lora: Path | None, files: RungFolder
) -> list[Sample]:
    return samples_of(sample_batches(base, config.suite, lora, files))


def trained(base: BaseModel, data: TrainingSet, config: TrainConfig, folder: StudyFolder) -> Path:
    *_, last = train(base, data, config, (1,), folder.trial(0).root)
    assert isinstance(last, Checkpoint)
    assert last.loss > 0
    return last.path


def remember(folder: StudyFolder, lora: Path, kept: list[ScoredSample]) -> None:
    pose = {"pose": Objective("pose", 0.5, 0.25, 0.75, 1, 1)}
    row = RungRow(0, 1, pose, {}, lora, folder.trial(0).rung(1).grid)
    with Store(folder.results_db) as store:
        store.begin_trial(0, {})
        store.put_rung(row, kept)


def peak_gib() -> float:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_exact_model_trains_samples_and_is_exported(
    checkpoint: Path, training_set: TrainingSet, tmp_path: Path
) -> None:
    config = shipped(checkpoint, training_set.root)
    folder = StudyFolder(tmp_path / "exact")
    folder.create()
    write_text(folder.study_yaml, to_yaml(config))
    recipe = start_parameters(config)[0]
    settings = suggest(optuna.trial.FixedTrial(recipe), config)  # type: ignore[arg-type]
    write_text(folder.trial(0).train_yaml, train_yaml(settings))

    base = load_base(str(checkpoint), "cpu")
    assert (base.native_size, base.dtype) == (512, torch.float32)
    assert base.family.bucket_step(base.pipeline) == 64
    assert (384, 640) in bucket_sizes((512, 512), base.family.bucket_step(base.pipeline))
    lora = trained(base, replace(training_set, images=training_set.images[:2]), settings, folder)
    # 64 attention projections of the UNet's 16 transformers twice, 48 of the text encoder.
    modules = read_file(lora).modules
    assert len([name for name in modules if name.startswith("lora_unet_")]) == 128
    assert len([name for name in modules if name.startswith("lora_te_")]) == 48
    assert {one.down.shape[0] for one in modules.values()} == {settings.rank} == {32}

    files = folder.trial(0).rung(1)
    before = drawn(base, config, None, RungFolder(folder.base))
    after = drawn(base, config, lora, files)
    assert after[0].image.shape == (256, 256, 3)
    assert (before[0].image != after[0].image).any()
    kept = write_pictures([ScoredSample(one, {}) for one in after], files, base.name)
    del base
    gc.collect()
    remember(folder, lora, kept)
    report = export(folder, 0, tmp_path / "sd15.safetensors")
    assert (report.modules, report.cells) == (176, 1)
    assert report.diffusers_difference is not None
    assert report.merged_difference is not None
    assert max(report.diffusers_difference, report.merged_difference) <= MOST_DIFFERENCE
    assert peak_gib() < ALLOWED_GIB


@pytest.mark.slow
def test_every_recipe_and_value_of_the_shipped_space_fits_the_checkpoint(
    checkpoint: Path, training_set: TrainingSet, tmp_path: Path
) -> None:
    space = shipped_spaces()["pose_sd15"]
    face = ["judges.gender_model=face"]  # open_clip's weights are on no machine of the tests
    config = load_study(space, base=str(checkpoint), data=str(training_set.root), set_values=face)
    assert config.suite.sampler == "dpm++"
    report = check_study(config, tmp_path)
    assert f"base {checkpoint}: a single file" in report.lines
    recipes = start_parameters(config)
    assert len(recipes) == 5
    for recipe in recipes:
        settings = suggest(optuna.trial.FixedTrial(recipe), config)  # type: ignore[arg-type]
        assert settings.method == "lora"
        assert {name: getattr(settings, name) for name in recipe} == recipe
