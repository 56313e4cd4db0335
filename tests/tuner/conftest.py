"""Tiny bases with random weights, of the same classes as the big ones."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import alembic.util
import numpy as np
import pytest
import torch
import typer.testing
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from tests.tuner.tiny_xl import save_tiny_xl
from tuner.data import TrainingSet, read_folder
from tuner.models import BaseModel, load_base
from tuner.models.clip_tokenizer import all_merges, clip_tokenizer

torch.set_num_threads(1)

# Whenever a study is opened, Optuna has the files of all its schemas read and run anew: here once.
# `env.py` is no such file: running it is what writes the version into a database.
_load, _load_once = alembic.util.load_python_file, functools.cache(alembic.util.load_python_file)
alembic.util.load_python_file = lambda folder, name: (
    _load(folder, name) if name == "env.py" else _load_once(folder, name)
)

# Whenever a command is run, typer builds all commands from their functions anew: here once.
typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]

MERGES = 2000
"""Of CLIP's 48,894 merges: a tokenizer of all of them takes longer to load than the networks."""


@pytest.fixture(autouse=True)
def own_selfchecks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor write what selfchecks of this machine's user found."""
    monkeypatch.setattr(
        "tuner.judging.calibration.home_file", lambda: tmp_path / "home" / "selfchecks.json"
    )
    for place in ("thresholds", "keep_calibration"):
        monkeypatch.setattr(
            f"tuner.judging.{place}.home_thresholds", lambda: tmp_path / "home" / "thresholds.json"
        )


def text_encoder(tokens: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=32,
            intermediate_size=64,
            num_attention_heads=4,
            num_hidden_layers=2,
            projection_dim=32,
            bos_token_id=tokens - 2,
            eos_token_id=tokens - 1,
            pad_token_id=tokens - 1,
        )
    )


def save_tiny_base(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Write a random Stable Diffusion: 64 pixels, latents (4, 16, 16), 0.2 M without text."""
    tokenizer = clip_tokenizer(all_merges()[:MERGES])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionPipeline(
            unet=UNet2DConditionModel(
                sample_size=16,
                block_out_channels=(16, 32),
                norm_num_groups=8,
                layers_per_block=1,
                cross_attention_dim=32,
                attention_head_dim=2,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            ),
            vae=AutoencoderKL(
                block_out_channels=(16, 16, 16),
                norm_num_groups=8,
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                sample_size=64,
            ),
            text_encoder=text_encoder(len(tokenizer)),
            tokenizer=tokenizer,
            scheduler=DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
                prediction_type=prediction_type,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    # Random weights draw pictures that are nearly one colour, which no judge takes for a picture.
    pipeline.vae.decoder.conv_out.weight.data *= 2
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny base, in diffusers layout."""
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def tiny_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny Stable Diffusion XL, in diffusers layout."""
    return save_tiny_xl(tmp_path_factory.mktemp("base") / "tiny_xl", MERGES)


@pytest.fixture(scope="session")
def base(tiny_base: Path) -> BaseModel:
    """The tiny base, loaded once: whoever attaches an adapter takes it off again."""
    return load_base(str(tiny_base), device="cpu")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str, str], None]:
    """Put a folder into a cache of the hub as one revision of OWNER/NAME."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def put(folder: Path, hub_id: str, revision: str) -> None:
        repository = cache / f"models--{hub_id.replace('/', '--')}"
        commit = "0123456789abcdef" * 2 + "01234567"
        shutil.copytree(folder, repository / "snapshots" / commit)
        (repository / "refs").mkdir()
        (repository / "refs" / revision).write_text(commit)

    return put


@pytest.fixture(scope="session")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Twelve noisy captioned pictures of 80 x 64 pixels, read by the folder reader."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for number in range(12):
        pixels = random.integers(0, 256, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        sex = "1girl" if number % 3 else "1boy"
        (folder / f"{number:02d}.txt").write_text(f"{sex}, solo, red shirt, blue skirt")
    return read_folder(folder)
