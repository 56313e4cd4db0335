"""Every kind of export opens in an old version of diffusers, and draws what the pinned one draws.

The old versions are diffusers 0.32.1 with transformers 4.54, in a folder that comes first on the
path of a process of its own: torch is the same. TUNER_OLD_DIFFUSERS names a folder that has them
already; otherwise pip installs them, and without a network the test is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tuner.export.draw_exports import draw_all, sample
from tests.tuner.models.test_lora_kinds import strong
from tuner.export.folder import write_folder
from tuner.export.lora import write_lora
from tuner.export.low_rank import changes, extracted
from tuner.export.single_file import write_single_file
from tuner.models import BaseModel, adapter, dreambooth, load_base, read_file
from tuner.models.lora_file import LoraFile, write_file
from tuner.space import TrainConfig

OLD = [
    "diffusers==0.32.1",
    "transformers==4.54.0",
    "tokenizers==0.21.4",
    "huggingface_hub==0.36.2",
    "peft==0.15.2",
]
ALL_LAYERS = "attention+feed_forward+convolutions"
KINDS = {
    "attention": {"alpha": 4.0},
    "text_encoder": {"alpha": 4.0, "text_encoder_ratio": 0.5},
    "alpha": {"rank": 16, "alpha": 4.0, "text_encoder_ratio": 0.5},
    "feed_forward": {"target_modules": "attention+feed_forward", "text_encoder_ratio": 0.5},
    "convolutions": {"target_modules": ALL_LAYERS, "text_encoder_ratio": 0.5},
    "rslora": {"use_rslora": True, "text_encoder_ratio": 0.5},
    "dora": {"use_dora": True, "target_modules": ALL_LAYERS, "text_encoder_ratio": 0.5},
}
MOST, LEAST = 1e-3, 0.05
"""Most difference of a channel between versions, and least difference from the base, in [0, 1]."""


@pytest.fixture(scope="module")
def old_diffusers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := os.environ.get("TUNER_OLD_DIFFUSERS"):
        return Path(given)
    folder = tmp_path_factory.mktemp("old") / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    installed = subprocess.run([*pip, *OLD], capture_output=True, text=True)
    if installed.returncode != 0:
        pytest.skip(f"the old versions cannot be installed: {installed.stderr[-200:]}")
    return folder


def loras(base: BaseModel, folder: Path) -> Iterator[tuple[str, LoraFile, np.ndarray]]:
    """Each kind of LoRA, and the sample that the base draws with it in memory."""
    path = folder / "own.safetensors"
    for name, kind in KINDS.items():
        settings = {"rank": 4, "alpha": 8.0, "text_encoder_ratio": 0.0} | kind
        strong(base, TrainConfig.model_validate(settings))
        drawn = sample(base.pipeline)
        adapter.save(base, "one", path, {})
        adapter.detach(base, "one")
        yield name, read_file(path), drawn
    weights = trained(base, folder)
    lora, share = extracted(changes(base, weights), 48, {})  # some layers are smaller
    assert share > 0.9
    write_file(path, lora)
    with adapter.loaded(base, path):
        drawn = sample(base.pipeline)
    yield "extracted", read_file(path), drawn


def trained(base: BaseModel, folder: Path) -> Path:
    """Whole weights as DreamBooth writes them, changed everywhere."""
    path = folder / "weights.safetensors"
    config = TrainConfig(method="dreambooth", text_encoder_ratio=0.5)
    parts = dreambooth.copies(base, config)
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for part in parts.values():
            for weight in part.parameters():
                weight += 0.3 * weight.std() * torch.randn(weight.shape, generator=random)
    dreambooth.save(parts, path, {})
    return path


def whole(tiny_base: Path, folder: Path) -> tuple[dict[str, tuple[str, str]], np.ndarray]:
    model = load_base(str(tiny_base), "cpu")
    dreambooth.put_on(model, folder / "weights.safetensors")
    drawn = sample(model.pipeline)
    model.pipeline.to(torch.float16)
    file, written = folder / "model.safetensors", folder / "model"
    write_single_file(file, model.pipeline, {})
    write_folder(written, model.pipeline, {})
    return {"dreambooth_file": ("file", str(file)), "dreambooth": ("folder", str(written))}, drawn


@pytest.mark.slow
def test_every_export_draws_the_same_in_both_versions(
    base: BaseModel, tiny_base: Path, old_diffusers: Path, tmp_path: Path
) -> None:
    write_folder(tmp_path / "base", base.pipeline, {})
    exports: dict[str, tuple[str, str]] = {"base": ("folder", str(tmp_path / "base"))}
    expected = {"base": sample(base.pipeline)}
    for kind, lora, drawn in loras(base, tmp_path):
        for names in ("diffusers",) if kind == "dora" else ("kohya", "diffusers"):
            file = tmp_path / f"{kind}_{names}.safetensors"
            write_lora(file, lora, base, names)  # type: ignore[arg-type]  # it is one of the two
            exports[file.stem], expected[file.stem] = ("lora", str(file)), drawn
    models, drawn = whole(tiny_base, tmp_path)
    exports |= models
    expected |= dict.fromkeys(models, drawn)
    listing = tmp_path / "exports.json"
    listing.write_text(json.dumps({"base": str(tmp_path / "base"), "exports": exports}))
    draw_all(listing, tmp_path / "pinned.npz")
    script = Path(__file__).with_name("draw_exports.py")
    command = [sys.executable, str(script), str(listing), str(tmp_path / "old.npz")]
    environment = os.environ | {"PYTHONPATH": str(old_diffusers)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.strip() == "diffusers 0.32.1, transformers 4.54.0"
    for version in ("pinned", "old"):
        drawings = np.load(tmp_path / f"{version}.npz")
        for name, sound in expected.items():
            drawn = drawings[name]
            assert drawn.dtype.kind == "f", f"{name}, {version}: {drawn}"
            apart = np.abs(drawn - sound).max()
            assert apart <= MOST, f"{name}, {version}: {apart:.4f} from the sample in memory"
            effect = np.abs(drawn - expected["base"]).max()
            assert name == "base" or effect > LEAST, (
                f"{name}, {version}: {effect:.4f} from the base"
            )
