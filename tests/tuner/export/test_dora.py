"""A DoRA in other programs, computed here by loops as their public code does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tuner.errors import TunerError
from tuner.export.dora import differences, for_comfyui, in_comfyui, notes
from tuner.models import BaseModel, adapter
from tuner.models.lora_file import LoraFile, LoraFileError, LoraModule, layers
from tuner.models.metadata import DORA_FOR

LINEAR = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
CONVOLUTION = "lora_unet_mid_block_resnets_0_conv1"


def weight_of(base: BaseModel, name: str) -> torch.Tensor:
    unet = adapter.models(base)["unet"]
    return unet.get_submodule(layers("unet", unet)[name]).weight.detach()


def dora(base: BaseModel) -> LoraFile:
    random = torch.Generator().manual_seed(1)
    modules = {}
    for name in (LINEAR, CONVOLUTION):
        weight = weight_of(base, name)
        down = torch.randn(3, *weight.shape[1:], generator=random) * 0.3
        up = torch.randn(len(weight), 3, *[1] * (weight.ndim - 2), generator=random) * 0.3
        magnitude = torch.rand(len(weight), generator=random) + 0.5
        modules[name] = LoraModule(down, up, 6.0, magnitude)
    return LoraFile(modules, {"ss_v2": "False"})


def by_rows(module: LoraModule, weight: torch.Tensor, of_base: bool) -> np.ndarray:
    """Each output's weights times its scale, divided by the length before or after the update."""
    change = module.alpha / 3 * module.up.flatten(1) @ module.down.flatten(1)
    before = weight.flatten(1).numpy()
    after = before + change.numpy()
    scales = module.magnitude.numpy()
    lengths = [np.linalg.norm(row) for row in (before if of_base else after)]
    return np.stack([row * s / n for row, s, n in zip(after, scales, lengths, strict=True)])


@pytest.mark.parametrize("name", [LINEAR, CONVOLUTION])
def test_the_scales_for_comfyui_give_the_scored_weights_there(base: BaseModel, name: str) -> None:
    lora = dora(base)
    module, weight = lora.modules[name], weight_of(base, name)
    scored = by_rows(module, weight, of_base=False)
    np.testing.assert_allclose(module.updated(weight), scored, atol=1e-5)
    np.testing.assert_allclose(
        in_comfyui(module, weight), by_rows(module, weight, of_base=True), atol=1e-5
    )
    there = by_rows(for_comfyui(lora, base).modules[name], weight, of_base=True)
    np.testing.assert_allclose(there, scored, atol=1e-5)


def test_the_distances_of_the_programs_are_shares_of_the_change(base: BaseModel) -> None:
    lora = dora(base)
    one = LoraFile({LINEAR: lora.modules[LINEAR]})
    module, weight = one.modules[LINEAR], weight_of(base, LINEAR)
    scored = by_rows(module, weight, of_base=False)
    change = np.linalg.norm(scored - weight.numpy())
    plain = weight.numpy() + replace(module, magnitude=None).update().numpy()
    columns = plain / np.linalg.norm(plain, axis=0) * module.magnitude.numpy()[:, None]
    expected = {
        "ComfyUI and Forge": by_rows(module, weight, of_base=True),
        "A1111": columns,
        "kohya's trainer": plain,
    }
    measured = differences(one, base)
    assert measured.keys() == expected.keys()
    for program, there in expected.items():
        share = np.linalg.norm(there - scored) / change
        assert measured[program] == pytest.approx(share, rel=1e-4)
        assert f"{program} {share:.2f}" in notes(one, base, None)[0]


def test_scales_for_a_program_name_their_base_and_are_not_trained_on(base: BaseModel) -> None:
    assert "on the base tiny alone" in notes(dora(base), base, "comfyui")[0]
    lora = for_comfyui(dora(base), base)
    marked = replace(lora, metadata={DORA_FOR: "comfyui, base tiny"})
    with pytest.raises(LoraFileError, match="scales for comfyui, base tiny"):
        adapter._attach_file(base, marked, "file")
    assert issubclass(LoraFileError, TunerError)
