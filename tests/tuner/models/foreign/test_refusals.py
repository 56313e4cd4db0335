"""Files that are not read: one line each, with the reason and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tuner.models.foreign.test_methods import LINEAR
from tests.tuner.models.foreign.writers import Tensors, random_lora, write, written
from tuner.errors import ConfigError, TunerError
from tuner.models import BaseModel, load_base
from tuner.models.foreign.apply import apply_foreign
from tuner.models.foreign.file import lora_paths, read_foreign
from tuner.models.lora_file import LoraFileError, write_file

DOWN, UP = f"{LINEAR}.lora_down.weight", f"{LINEAR}.lora_up.weight"
HALVES: Tensors = {DOWN: torch.ones(2, 32), UP: torch.ones(16, 2)}
ONE = torch.ones(2, 2)
WHOLE = "model.diffusion_model.input_blocks.0.0.weight"

BROKEN: dict[str, tuple[Tensors, str]] = {
    "one half": ({DOWN: HALVES[DOWN]}, "has only down, which is no whole lora"),
    "part of a LoHa": ({f"{LINEAR}.hada_w1_a": ONE}, "no whole loha"),
    "part of a LoKr": ({f"{LINEAR}.lokr_w1": ONE}, "no whole lokr"),
    "alpha alone": ({**HALVES, "lora_unet_x.alpha": torch.tensor(1.0)}, "has only alpha"),
    "NaN": ({**HALVES, UP: HALVES[UP] * torch.nan}, "not finite"),
    "ranks": ({**HALVES, UP: torch.ones(16, 3)}, "ranks disagree"),
    "integers": ({**HALVES, UP: HALVES[UP].int()}, "no floating point"),
    "many alphas": ({**HALVES, f"{LINEAR}.alpha": torch.ones(3)}, "not one number"),
    "twice": (
        {**HALVES, DOWN.replace("lora_unet_", "lycoris_"): torch.ones(2, 32)},
        "names the layer of .* twice",
    ),
    "numbers": (
        {f"{LINEAR}.lokr_w1": torch.tensor(1.0), f"{LINEAR}.lokr_w2": ONE},
        r"has lokr_w1 of shape \(\), no matrix",
    ),
    "OFT": ({f"{LINEAR}.oft_blocks": torch.ones(2, 4, 4)}, "OFT or BOFT, which is not read"),
    "LoRA with OFT": ({**HALVES, "lora_unet_x.oft_blocks": ONE}, "1 of 3 tensors are OFT or BOFT"),
    "GLoRA": ({f"{LINEAR}.a1.weight": ONE, f"{LINEAR}.b1.weight": ONE}, "GLoRA, which"),
    "IA3": ({f"{LINEAR}.on_input": ONE, f"{LINEAR}.weight": ONE}, r"\(IA\)\^3, which"),
    "scalar": ({**HALVES, f"{LINEAR}.scalar": torch.tensor(1.0)}, "extra scalar"),
    "biases": ({**HALVES, f"{LINEAR}.lora_up.bias": torch.ones(16)}, "biases beside"),
    "words": (
        {**HALVES, "bundle_emb.mi.clip_l": torch.ones(2, 32)},
        r"1 of 3 tensors are trained words \(a textual inversion\), which is not read",
    ),
    "strangers": ({**HALVES, "something.else": ONE}, "no LoRA that is known.*something.else"),
    "a checkpoint": ({WHOLE: torch.ones(2, 4, 3, 3)}, "is a whole checkpoint.*--as-base"),
    "a UNet": ({"down_blocks.0.resnets.0.conv1.weight": ONE}, "one part of a base"),
    "a VAE": ({"decoder.conv_in.weight": ONE}, "is a VAE, no LoRA"),
    "a ControlNet": ({"control_model.x.weight": ONE}, "is a ControlNet"),
    "an IP-Adapter": ({"ip_adapter.1.to_k_ip.weight": ONE}, "is an IP-Adapter"),
    "a textual inversion": ({"emb_params": ONE}, "is a textual inversion"),
    "anything": ({"x": ONE}, r"no LoRA that is known \(1 tensor, first: 'x'\)"),
    "nothing": ({}, "is empty"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    tensors, words = BROKEN[kind]
    write(tmp_path / "mi.safetensors", tensors, {})
    with pytest.raises(LoraFileError, match=words) as raised:
        read_foreign(tmp_path / "mi.safetensors")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("mi.safetensors")


@pytest.mark.parametrize("cut", [0, 4, 40, -20])
def test_a_truncated_file_is_one_line(base: BaseModel, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "mi.safetensors"
    write_file(path, random_lora(base, "attention"))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(LoraFileError, match="no whole safetensors file") as raised:
        read_foreign(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", ["pt", "ckpt", "bin", "pth"])
def test_a_pickle_is_never_opened(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mi.{ending}"
    path.write_bytes(b"cos\nsystem\n(S'touch gone'\ntR.")
    with pytest.raises(LoraFileError, match="is a pickle, which can run code"):
        read_foreign(path)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    for name, words in {
        "absent.safetensors": "no LoRA file",
        "notes.txt": "from .safetensors only",
        "model": "a whole model in diffusers' layout: judge it with --as-base",
        ".": "a folder without adapter_model.safetensors",
    }.items():
        with pytest.raises(LoraFileError, match=words):
            read_foreign(tmp_path / name)


def test_another_size_of_the_same_family_is_refused(base: BaseModel, tmp_path: Path) -> None:
    tensors = {DOWN: torch.ones(2, 48), UP: torch.ones(16, 2)}
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, {}))
    words = r"changes \(16, 48\), the base has \(16, 32\); it takes text embeddings of width 48"
    with pytest.raises(LoraFileError, match=words), apply_foreign(base, read):
        pass
    read = read_foreign(write(tmp_path / "mi.safetensors", {f"{LINEAR}.diff": ONE}, {}))
    with pytest.raises(LoraFileError, match="the base has"), apply_foreign(base, read):
        pass


def test_layers_that_the_base_does_not_have_are_counted(base: BaseModel, tmp_path: Path) -> None:
    _, tensors, metadata = written(base, "kohya")
    stranger = {
        key.replace("down_blocks_0", "down_blocks_7"): value
        for key, value in tensors.items()
        if "down_blocks_0_resnets_0_conv1" in key
    }
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors | stranger, metadata))
    words = r"1 of \d+ modules are not in base .*first: lora_unet_down_blocks_7_resnets_0_conv1"
    with pytest.raises(LoraFileError, match=words), apply_foreign(base, read):
        pass


def test_a_lora_of_a_norm_is_refused(base: BaseModel, tmp_path: Path) -> None:
    name = "lora_unet_down_blocks_0_resnets_0_norm1"
    tensors = {f"{name}.lora_down.weight": ONE, f"{name}.lora_up.weight": ONE}
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, {}))
    with pytest.raises(LoraFileError, match="a LoRA of a GroupNorm"), apply_foreign(base, read):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_settings_of_peft_that_are_none(tmp_path: Path, text: str) -> None:
    tensors = {"unet.mid.lora_A.weight": ONE, "unet.mid.lora_B.weight": ONE}
    path = write(tmp_path / "mi.safetensors", tensors, {"lora_adapter_metadata": text})
    with pytest.raises(LoraFileError, match="is no JSON of settings"):
        read_foreign(path)
    tensors = {"base_model.model.mid.lora_A.weight": ONE, "base_model.model.mid.lora_B.weight": ONE}
    (tmp_path / "mi").mkdir()
    write(tmp_path / "mi" / "adapter_model.safetensors", tensors, {})
    (tmp_path / "mi" / "adapter_config.json").write_text(text)
    with pytest.raises(LoraFileError, match="is no"):
        read_foreign(tmp_path / "mi")


def test_other_methods_of_peft_are_named(tmp_path: Path) -> None:
    tensors = {"base_model.model.mid.lora_A.weight": ONE, "base_model.model.mid.lora_B.weight": ONE}
    write(tmp_path / "adapter_model.safetensors", tensors, {})
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "OFT"}))
    with pytest.raises(LoraFileError, match="is a OFT of peft; read are LORA, LOHA, LOKR"):
        read_foreign(tmp_path)


def test_a_dora_with_scales_for_another_program_is_refused(base: BaseModel, tmp_path: Path) -> None:
    _, tensors, _ = written(base, "kohya")
    metadata = {"tuner.dora_for": "comfyui, base mannequin"}
    with pytest.raises(LoraFileError, match="without --dora-for"):
        read_foreign(write(tmp_path / "mi.safetensors", tensors, metadata))


def test_a_lora_as_base_and_trained_weights_as_either(base: BaseModel, tmp_path: Path) -> None:
    path = write(tmp_path / "mi.safetensors", HALVES, {})
    with pytest.raises(ConfigError, match=r"is a LoRA, no base: .*without --as-base"):
        load_base(str(path))
    weights = write(
        tmp_path / "w.safetensors", {"unet.x.weight": ONE}, {"tuner.contents": "weights"}
    )
    for opens in (lambda: load_base(str(weights)), lambda: read_foreign(weights)):
        with pytest.raises(TunerError, match="`tuner export` writes a model"):
            opens()


def test_a_folder_lists_files_and_adapters(base: BaseModel, tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors", "deep/c.safetensors", ".hidden/d.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, HALVES, {})
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "peft" / "unet").mkdir(parents=True)
    write(tmp_path / "peft" / "unet" / "adapter_model.safetensors", HALVES, {})
    found = [path.relative_to(tmp_path).as_posix() for path in lora_paths(tmp_path)]
    assert found == ["a.safetensors", "b.safetensors", "deep/c.safetensors", "peft"]
