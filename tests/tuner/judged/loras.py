"""LoRA files for a base with random weights: small, different, and written as kohya names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from tests.tuner.conftest import save_tiny_base
from tests.tuner.tiny_space import write_clip
from tuner.models import BaseModel, adapter, load_base
from tuner.models.metadata import training_metadata
from tuner.space import TrainConfig

SUITE = """
suite:
  prompts: [{text: 1girl, sex: female}, {text: 1boy, sex: male}, {text: "1girl, solo", sex: female}]
  seeds: 2
  size: 64
  steps: 2
  guidance_scale: 3.0
objectives: [pose, quality]
judges: {gender_model: clip, domain: drawn}
"""


def write_world(folder: Path) -> Path:
    """A base, a judge and a suite in `folder`; returns the suite's file."""
    folder.mkdir(exist_ok=True)
    save_tiny_base(folder / "tiny")
    write_clip(folder / "clip")
    (folder / "suite.yaml").write_text(SUITE)
    return folder / "suite.yaml"


def write_loras(
    folder: Path, base: str, steps: Mapping[str, int], more: Mapping[str, str] | None = None
) -> list[Path]:
    """A LoRA for each name and its step, further from the base with every step."""
    opened = load_base(base, "cpu")
    folder.mkdir(exist_ok=True)
    return [
        _write(folder / f"{name}.safetensors", opened, step, more) for name, step in steps.items()
    ]


def _write(path: Path, base: BaseModel, step: int, more: Mapping[str, str] | None) -> Path:
    config = TrainConfig(rank=2, alpha=2.0)
    adapter.attach(base, config, "random")
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in adapter.parameters(base, "random"):
            weight.copy_(torch.randn_like(weight) * 0.02 * step)
    adapter.save(base, "random", path, training_metadata(base, config, step) | dict(more or {}))
    adapter.detach(base, "random")
    return path
