"""The family of a base by its files, never by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tuner.written_base import change, write_folder, write_weights
from tuner.models.stored.families import STABLE_DIFFUSION, STABLE_DIFFUSION_XL
from tuner.models.stored.known import known_layout, layout_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose index names Stable Diffusion XL."""
    base = write_folder(tmp_path / "base")
    change(base / "model_index.json", _class_name="StableDiffusionXLPipeline")
    return base


def test_a_folder_is_known_by_its_index(tmp_path: Path, folder: Path) -> None:
    assert known_layout(str(folder)) is STABLE_DIFFUSION_XL
    assert known_layout(str(write_folder(tmp_path / "first"))) is STABLE_DIFFUSION
    change(folder / "model_index.json", _class_name="FluxPipeline")
    assert known_layout(str(folder)) is None
    (folder / "model_index.json").write_text("{")
    assert known_layout(str(folder)) is None


def test_a_file_is_known_by_its_tensors(tmp_path: Path) -> None:
    shapes = {"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}
    first = write_weights(tmp_path / "sd_xl_base.safetensors", shapes)
    assert known_layout(str(first)) is STABLE_DIFFUSION
    second = {"conditioner.embedders.1.model.text_projection": (1280, 1280)}
    other = write_weights(tmp_path / "plain.safetensors", shapes | second)
    assert known_layout(str(other)) is STABLE_DIFFUSION_XL
    other.write_bytes(b"no header")
    assert known_layout(str(other)) is None


def test_a_hub_id_is_known_by_its_cached_index(
    folder: Path, hub_cache: Callable[[Path, str, str], None]
) -> None:
    for name in ("owner/name", "owner/illustrious-xl", "owner/noob-sdxl@main"):
        assert known_layout(name) is None
        assert layout_of(name) is (STABLE_DIFFUSION_XL if "xl" in name else STABLE_DIFFUSION)
    hub_cache(folder, "owner/name", "main")
    assert layout_of("owner/name") is STABLE_DIFFUSION_XL


def test_what_is_not_there_is_of_no_known_layout() -> None:
    assert known_layout("mannequin") is STABLE_DIFFUSION
    assert known_layout("nowhere.safetensors") is None
    assert known_layout("weights.ckpt") is None


def counted() -> dict[str, int]:
    """Numbers of a LoRA of rank 1 on the attention of SDXL, by its configuration."""
    blocks = {640: 2 * 2 + 3 * 2, 1280: 2 * 10 + 10 + 3 * 10}
    own = {width: 8 * width + 4 * width + 2 * (2048 + width) for width in blocks}
    text = {768: 12, 1280: 32}
    return {
        "lora": sum(count * own[width] for width, count in blocks.items()),
        "text_lora": sum(count * 4 * 2 * width for width, count in text.items()),
    }


def test_bytes_of_a_lora_are_counted_on_the_layers_of_sdxl() -> None:
    cost = STABLE_DIFFUSION_XL.cost
    assert {name: 2 * count for name, count in counted().items()} == {
        "lora": cost.lora,
        "text_lora": cost.text_lora,
    }
