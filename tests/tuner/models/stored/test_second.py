"""Single files of Stable Diffusion 2.x are checked whole, as those of 1.x are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.tuner.written_base import second_checkpoint_shapes, write_weights
from tuner.errors import ConfigError, MissingModelError
from tuner.models.checkpoint import check_checkpoint, read_checkpoint
from tuner.models.stored.families import STABLE_DIFFUSION_15

LAST_LAYER = "cond_stage_model.model.transformer.resblocks.23.attn.in_proj_weight"


def check(folder: Path, changes: Mapping[str, tuple[int, ...] | None]) -> None:
    shapes = {**second_checkpoint_shapes(), **changes}
    there = {name: shape for name, shape in shapes.items() if shape is not None}
    check_checkpoint("m", read_checkpoint(write_weights(folder / "m.safetensors", there)))


def test_a_whole_file_is_accepted(tmp_path: Path) -> None:
    unused = {LAST_LAYER: (3072, 1024), "cond_stage_model.model.text_projection": (1024, 1024)}
    # Older files have kernels of one pixel where later ones have linear layers.
    kernel = {"model.diffusion_model.input_blocks.1.1.proj_in.weight": (320, 320, 1, 1)}
    check(tmp_path, unused | kernel)


@pytest.mark.parametrize(
    ("name", "wrong", "part"),
    [
        ("model.diffusion_model.out.2.weight", (4, 640, 3, 3), "unet"),
        ("first_stage_model.decoder.conv_in.weight", (512, 16, 3, 3), "vae"),
        ("cond_stage_model.model.ln_final.weight", (768,), "text encoder"),
        (LAST_LAYER.replace("23", "22"), None, "text encoder"),
    ],
)
def test_a_tensor_of_another_shape_is_refused(
    tmp_path: Path, name: str, wrong: tuple[int, ...] | None, part: str
) -> None:
    words = f"of its {part} has the shape" if wrong else f"its {part} lack 1 of"
    with pytest.raises((ConfigError, MissingModelError), match=words):
        check(tmp_path, {name: wrong})


def test_a_second_stable_diffusion_with_its_configuration_beside_it(tmp_path: Path) -> None:
    folder = shutil.copytree(STABLE_DIFFUSION_15, tmp_path / "m")
    (folder / "tokenizer").mkdir()
    text = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23}
    unet = {"cross_attention_dim": 1024, "use_linear_projection": True}
    for part, values in (("unet", unet), ("text_encoder", text)):
        file = folder / part / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
    path = write_weights(tmp_path / "m.safetensors", second_checkpoint_shapes())
    file = read_checkpoint(path)
    assert file.config == folder
    check_checkpoint("m", file)
    assert file.layers == 23


@pytest.mark.parametrize("keys", [("v_pred",), ("v_pred", "ztsnr")])
def test_the_keys_of_velocity_count_in_a_second_stable_diffusion(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    marked = second_checkpoint_shapes() | dict.fromkeys(keys, (0,))
    file = read_checkpoint(write_weights(tmp_path / "m.safetensors", marked))
    check_checkpoint("m", file)
    prediction = file.prediction(None)
    assert (prediction.velocity, prediction.zero_snr) == (True, len(keys) == 2)
