from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from metrics import open_detectors, score
from metrics.contract import JudgeSettings, Prompt, Sample
from tuner.mannequin import build, draw
from tuner.mannequin.render import random_figure
from tuner.storage import shipped


@pytest.mark.slow
def test_the_fast_build_makes_a_base_and_a_judge_that_load(tmp_path: Path) -> None:
    build(tmp_path, fast=True)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "base")
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("1girl", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()
    settings = JudgeSettings(str(tmp_path / "clip"), str(tmp_path / "yolo"), domain="drawn")
    with open_detectors(settings) as detectors:
        figure = random_figure(np.random.default_rng(0), sex="female")
        sample = Sample(Prompt("1girl", "female"), 0, draw(figure))
        assert {"gender", "one_person"} <= set(score([sample], detectors)[0].scores)


def test_the_shipped_base_loads_as_float32_without_any_keyword() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = StableDiffusionPipeline.from_pretrained(shipped.BASE)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert part.dtype == torch.float32


def test_the_shipped_weights_are_safetensors_of_at_most_40_mb() -> None:
    files = [path for path in shipped.WEIGHTS.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".yaml"}
    assert sum(path.stat().st_size for path in files) <= 40e6
