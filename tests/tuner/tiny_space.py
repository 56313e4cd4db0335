"""A search space whose base and judges have random weights: a real study in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.metrics.conftest import TINY_CLIP
from tests.tuner.conftest import save_tiny_base

SPACE = """
study: faults
base: tiny
data: data
budget: {trials: 2, rungs: [1, 2]}
objectives: [pose, quality]
suite:
  prompts: [{text: 1girl, sex: female}, {text: 1boy, sex: male}]
  seeds: 1
  size: 64
  steps: 2
judges: {gender_model: clip}
sampler: random
train: {rank: {choices: [1, 2, 3, 4]}, learning_rate: {low: 1e-4, high: 1e-2}, batch_size: 2}
"""


def write_clip(folder: Path) -> Path:
    """An open_clip model of random weights in `folder`."""
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(TINY_CLIP))
    (folder / "random-for-study.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(folder / "random-for-study.json")
    torch.manual_seed(0)
    model = open_clip.create_model("random-for-study")
    save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))
    return folder


def write_space(folder: Path) -> Path:
    """SPACE in `folder`, with all that it names: a base, a judge and six pictures."""
    save_tiny_base(folder / "tiny")
    write_clip(folder / "clip")
    (folder / "data").mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "data" / f"{number}.png")
        (folder / "data" / f"{number}.txt").write_text("1girl, solo" if number % 2 else "1boy")
    (folder / "faults.yaml").write_text(SPACE)
    return folder / "faults.yaml"
