from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tuner.models import BaseModel, read_file
from tuner.models.families.layer_names import plain_name
from tuner.models.lora_file import (
    LoraFile,
    LoraFileError,
    LoraModule,
    layers,
    merge,
    payload_sha256,
    write_diffusers_file,
    write_file,
)
from tuner.models.metadata import clip_skip_in

NAME = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
DOTTED = {NAME: "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"}


def a_lora(rank: int = 2, alpha: float = 6.0, width: int = 32) -> LoraFile:
    torch.manual_seed(0)
    down, up = torch.randn(rank, width).half(), torch.randn(width, rank).half()
    return LoraFile({NAME: LoraModule(down, up, alpha)}, {"ss_v2": "False"})


@pytest.mark.parametrize("name", ["text_model.encoder.layers.0.q_proj", "encoder.layers.0.q_proj"])
def test_both_layouts_of_the_text_encoder_have_one_name(name: str) -> None:
    assert plain_name("text_encoder", name) == "lora_te_text_model_encoder_layers_0_q_proj"


def test_the_update_is_alpha_by_rank_times_up_times_down() -> None:
    module = LoraModule(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]), alpha=2.0)
    assert module.update().tolist() == [[6.0, 12.0], [8.0, 16.0]]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_file(path, a_lora())
    assert set(load_file(path)) == {
        f"{NAME}.alpha",
        f"{NAME}.lora_down.weight",
        f"{NAME}.lora_up.weight",
    }
    read = read_file(path)
    assert read.metadata == {"ss_v2": "False"}
    assert read.modules[NAME].alpha == 6.0
    assert torch.equal(read.modules[NAME].down, a_lora().modules[NAME].down)
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(("rank", "alpha"), [(2, 6.0), (4, 1.0), (3, 3.0)])
def test_the_names_of_diffusers_have_alpha_by_rank_in_the_weights(
    tmp_path: Path, rank: int, alpha: float
) -> None:
    """diffusers 0.32 finds no alpha there, and one rank for the alpha of all modules."""
    small, large = a_lora(rank, alpha).modules[NAME], a_lora(8, 2.0).modules[NAME]
    other = NAME.replace("to_q", "to_k")
    dotted = DOTTED | {other: DOTTED[NAME].replace("to_q", "to_k")}
    path = tmp_path / "a.safetensors"
    write_diffusers_file(path, LoraFile({NAME: small, other: large}, {"ss_v2": "False"}), dotted)
    tensors = load_file(path)
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"ss_v2": "False"}
    for name, module in ((NAME, small), (other, large)):
        down, up = (tensors[f"{dotted[name]}.lora_{half}.weight"] for half in "AB")
        assert down.shape[0] == up.shape[1] == 8
        torch.testing.assert_close(up.float() @ down.float(), module.update(), atol=0.02, rtol=2e-3)
    read = read_file(path).modules[NAME]
    torch.testing.assert_close(read.update(), small.update(), atol=0.02, rtol=2e-3)


def test_a_missing_alpha_means_the_rank(tmp_path: Path) -> None:
    module = a_lora().modules[NAME]
    path = tmp_path / "a.safetensors"
    save_file({f"{NAME}.lora_down.weight": module.down, f"{NAME}.lora_up.weight": module.up}, path)
    assert read_file(path).modules[NAME].alpha == 2.0


def test_the_hash_is_of_the_tensors_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    write_file(first, a_lora())
    write_file(second, LoraFile(a_lora().modules, {"another": "header", "of": "other length"}))
    assert payload_sha256(first) == payload_sha256(second)
    write_file(second, a_lora(alpha=5.0))
    assert payload_sha256(first) != payload_sha256(second)


def broken(path: Path, kind: str) -> None:
    module = a_lora().modules[NAME]
    down, up = f"{NAME}.lora_down.weight", f"{NAME}.lora_up.weight"
    tensors = {down: module.down, up: module.up}
    changes: dict[str, dict[str, torch.Tensor]] = {
        "one half": {down: module.down},
        "nan": tensors | {up: module.up * torch.nan},
        "ranks": tensors | {up: module.up[:, :1].contiguous()},
        "stranger": tensors | {"lora_transformer_blocks_0.lora_up.weight": module.up.clone()},
        "integers": tensors | {up: module.up.int()},
        "nothing": {},
    }
    save_file(changes.get(kind, tensors), path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    if kind == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("one half", "only down"),
        ("nan", "not finite"),
        ("ranks", "ranks disagree"),
        ("stranger", "lora_transformer_blocks_0"),
        ("integers", "floats"),
        ("nothing", "no LoRA"),
        ("truncated", "no whole safetensors"),
        ("empty", "no whole safetensors"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "broken.safetensors"
    broken(path, kind)
    with pytest.raises(LoraFileError, match=words):
        read_file(path)


def test_a_pickle_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lora.pt").write_bytes(b"cos\nsystem\n")
    with pytest.raises(LoraFileError, match="only"):
        read_file(tmp_path / "lora.pt")
    with pytest.raises(LoraFileError, match="no LoRA file"):
        read_file(tmp_path / "absent.safetensors")


def test_merging_a_lora_and_its_opposite_gives_the_weights_back(base: BaseModel) -> None:
    unet = base.pipeline.unet
    weight = unet.get_submodule(layers("unet", unet)[NAME]).weight
    before = weight.clone()
    module = a_lora().modules[NAME]
    merge(a_lora(), {"unet": unet})
    torch.testing.assert_close(weight - before, module.update())
    merge(LoraFile({NAME: LoraModule(module.down, -module.up, module.alpha)}), {"unet": unet})
    torch.testing.assert_close(weight, before)
    weight.data.copy_(before)


def test_merging_needs_every_module_and_its_shape(base: BaseModel) -> None:
    stranger = LoraFile({f"{NAME}x": a_lora().modules[NAME]})
    with pytest.raises(LoraFileError, match="1 of 1 modules are not in this base"):
        merge(stranger, {"unet": base.pipeline.unet})
    with pytest.raises(LoraFileError, match="another base"):
        merge(a_lora(width=320), {"unet": base.pipeline.unet})


@pytest.mark.parametrize("settings", ["", "{", "[]", "null", "[" * 100_000])
def test_settings_of_peft_that_are_no_settings_are_refused(tmp_path: Path, settings: str) -> None:
    path = tmp_path / "x.safetensors"
    name = DOTTED[NAME]
    tensors = {
        f"{name}.lora_A.weight": torch.ones(2, 64),
        f"{name}.lora_B.weight": torch.ones(64, 2),
    }
    save_file(tensors, path, {"lora_adapter_metadata": settings})
    with pytest.raises(LoraFileError, match="is no JSON of settings"):
        read_file(path)


@pytest.mark.parametrize(("text", "layer"), [("2", 2), ("None", 1), ("0", 1), ("9" * 5000, 1)])
def test_a_clip_skip_that_is_no_layer_is_the_last(text: str, layer: int) -> None:
    assert clip_skip_in({"ss_clip_skip": text}) == layer
