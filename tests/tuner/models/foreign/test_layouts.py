"""Every trainer's names: all tensors are used, and the same LoRA comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer

from tests.tuner.models.foreign.writers import (
    AB,
    ALPHA,
    DIFFUSERS,
    TRAINERS,
    diffusers_header,
    random_lora,
    tensors_of,
    write,
    written,
)
from tuner.models import BaseModel, adapter, load_base
from tuner.models.foreign.apply import apply_foreign, changes
from tuner.models.foreign.file import lora_paths, read_foreign
from tuner.models.lora_file import LoraFile, LoraModule, write_diffusers_file, write_file

LAYOUTS = {
    "kohya": "kohya",
    "OneTrainer": "kohya",
    "ai-toolkit": "kohya",
    "kohya, te1": "kohya",
    "kohya, original blocks": "kohya",
    "lycoris": "lycoris",
    "diffusers": "diffusers",
    "diffusers, alpha beside": "diffusers",
    "diffusers, down and up": "old diffusers",
    "old diffusers": "old diffusers",
    "old diffusers, bare": "old diffusers",
    "ComfyUI": "comfyui",
    "OneTrainer for ComfyUI": "comfyui",
    "OneTrainer, original": "comfyui",
    "ComfyUI, diffusers' blocks": "comfyui",
}
WROTE = {
    "kohya": "kohya's trainer",
    "OneTrainer": "OneTrainer",
    "OneTrainer for ComfyUI": "OneTrainer",
    "OneTrainer, original": "OneTrainer",
    "ai-toolkit": "ai-toolkit",
}


def predicted(base: BaseModel) -> torch.Tensor:
    """What UNet and text encoder make of one prompt and one noise, float32."""
    random = torch.Generator().manual_seed(0)
    pipeline = base.pipeline
    side = pipeline.unet.config.sample_size
    noise = torch.randn(1, 4, side, side, generator=random)
    tokens = pipeline.tokenizer("1girl, red shirt", padding="max_length", return_tensors="pt")
    with torch.no_grad():
        text = pipeline.text_encoder(tokens.input_ids)[0]
        output: torch.Tensor = pipeline.unet(noise, 500, text).sample
    return output


def bits(base: BaseModel) -> dict[str, bytes]:
    """All weights of the parts that a LoRA changes."""
    return {
        f"{component}.{name}": value.numpy().tobytes()
        for component, model in adapter.models(base).items()
        for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize("trainer", TRAINERS)
def test_all_tensors_of_every_trainer_are_used(
    base: BaseModel, tmp_path: Path, trainer: str
) -> None:
    lora, tensors, metadata = written(base, trainer)
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, metadata))
    assert (read.layout, read.trainer) == (LAYOUTS[trainer], WROTE.get(trainer))
    assert read.unread == 0
    assert read.kind == ("lora" if trainer.startswith("old") else "locon")
    assert (read.ranks, read.alphas) == ((4,), (4.0 if trainer.startswith("old") else ALPHA,))
    there = changes(base, read)
    assert there.keys() == lora.modules.keys()
    for name, module in lora.modules.items():
        torch.testing.assert_close(there[name], module.update(), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainers_file_predicts_what_its_lora_does_and_leaves_no_trace(
    base: BaseModel, tmp_path: Path, trainer: str
) -> None:
    lora, tensors, metadata = written(base, trainer)
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, metadata))
    before, without = bits(base), predicted(base)
    with adapter.applied(base, lora):
        expected = predicted(base)
    with apply_foreign(base, read):
        assert torch.equal(predicted(base), expected)
    assert bits(base) == before
    assert torch.equal(predicted(base), without)
    assert (expected - without).abs().max() > 1e-3


DIFFUSERS_READS = ("kohya", "kohya, te1", "diffusers", "old diffusers")
"""diffusers fails on the others, or leaves out the UNet or the alphas with a warning at most."""


@pytest.mark.parametrize("trainer", DIFFUSERS_READS)
def test_diffusers_predicts_the_same(
    base: BaseModel, tiny_base: Path, tmp_path: Path, trainer: str
) -> None:
    _, tensors, metadata = written(base, trainer)
    path = write(tmp_path / "mi.safetensors", tensors, metadata)
    other = load_base(str(tiny_base), "cpu")
    other.pipeline.load_lora_weights(str(path))
    with apply_foreign(base, read_foreign(path)):
        torch.testing.assert_close(predicted(base), predicted(other), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.5])
def test_a_strength_multiplies_the_change(base: BaseModel, tmp_path: Path, strength: float) -> None:
    lora, tensors, metadata = written(base, "kohya")
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, metadata))
    weaker = LoraFile(
        {
            name: LoraModule(each.down, each.up, each.alpha * strength)
            for name, each in lora.modules.items()
        }
    )
    with adapter.applied(base, weaker):
        expected = predicted(base)
    with apply_foreign(base, read, strength):
        torch.testing.assert_close(predicted(base), expected)
    if strength == 0:
        assert torch.equal(expected, predicted(base))


def test_the_base_is_itself_again_after_an_error(base: BaseModel, tmp_path: Path) -> None:
    _, tensors, metadata = written(base, "kohya")
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, metadata))
    before = bits(base)
    with pytest.raises(KeyboardInterrupt), apply_foreign(base, read):
        raise KeyboardInterrupt
    assert bits(base) == before
    assert adapter.active(base) == ()


def test_other_adapters_rest_meanwhile(base: BaseModel, tmp_path: Path) -> None:
    lora, tensors, metadata = written(base, "kohya")
    whole = {f"{name}.diff": each.update() for name, each in list(lora.modules.items())[:3]}
    shapes = {name: layer_shape(base, name) for name in lora.modules}
    whole = {key: each.reshape(shapes[key.removesuffix(".diff")]) for key, each in whole.items()}
    for number, made in enumerate((tensors, whole)):
        read = read_foreign(write(tmp_path / f"{number}.safetensors", made, metadata))
        with apply_foreign(base, read):
            expected = predicted(base)
        with adapter.applied(base, lora):
            under = predicted(base)
            with apply_foreign(base, read):
                torch.testing.assert_close(predicted(base), expected)
            assert torch.equal(predicted(base), under)


def layer_shape(base: BaseModel, name: str) -> torch.Size:
    for component, model in adapter.models(base).items():
        if (dotted := adapter.layers(component, model).get(name)) is not None:
            weight = model.get_submodule(dotted).weight
            assert isinstance(weight, torch.Tensor)
            return weight.shape
    raise KeyError(name)


@pytest.mark.parametrize("names", ["kohya", "diffusers"])
def test_the_projects_own_exports_read_back(base: BaseModel, tmp_path: Path, names: str) -> None:
    lora = random_lora(base, "attention+feed_forward+convolutions")
    path = tmp_path / "own.safetensors"
    if names == "kohya":
        write_file(path, lora)
    else:
        starts = {"unet": "unet.", "text_encoder": "text_encoder.text_model."}
        dotted = {
            name: starts[component] + layer.removeprefix("text_model.")
            for component, model in adapter.models(base).items()
            for name, layer in adapter.layers(component, model).items()
        }
        write_diffusers_file(path, lora, dotted)
    with adapter.loaded(base, path):
        expected = predicted(base)
    with apply_foreign(base, read_foreign(path)):
        assert torch.equal(predicted(base), expected)


PEFT = {
    "lora": LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["to_q", "conv1"]),
    "patterns": LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["to_q", "to_k", "conv1"],
        rank_pattern={"to_k": 2},
        alpha_pattern={"to_k": 3},
    ),
    "dora": LoraConfig(r=4, lora_alpha=6, use_dora=True, target_modules=["to_q", "conv1"]),
    "loha": LoHaConfig(r=4, alpha=6, target_modules=["to_q", "conv1"]),
    "loha, cores": LoHaConfig(
        r=4, alpha=6, target_modules=["to_q", "conv1"], use_effective_conv2d=True
    ),
    "lokr": LoKrConfig(r=2, alpha=6, target_modules=["to_q", "conv1"]),
    "lokr, whole": LoKrConfig(r=64, alpha=6, target_modules=["to_q", "conv1"]),
    "lokr, both": LoKrConfig(r=1, alpha=6, target_modules=["to_q", "conv1"], decompose_both=True),
    "lokr, core": LoKrConfig(
        r=2, alpha=6, target_modules=["to_q", "conv1"], use_effective_conv2d=True
    ),
}


@pytest.mark.parametrize("kind", PEFT)
def test_what_peft_saves_predicts_what_peft_does(
    base: BaseModel, tiny_base: Path, tmp_path: Path, kind: str
) -> None:
    """Each part is saved into its folder by peft itself, as in its examples."""
    other = load_base(str(tiny_base), "cpu")
    torch.manual_seed(0)
    model = get_peft_model(other.pipeline.unet, PEFT[kind])
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            for weight in layer.parameters():
                if weight.requires_grad:
                    weight.data += torch.randn(weight.shape) * 0.05
    model.save_pretrained(str(tmp_path / "mi" / "unet"))
    assert lora_paths(tmp_path) == [tmp_path / "mi"]
    read = read_foreign(tmp_path / "mi")
    assert read.layout == "peft"
    before, without = bits(base), predicted(base)
    with apply_foreign(base, read):
        got = predicted(base)
    torch.testing.assert_close(got, predicted(other), atol=2e-5, rtol=1e-4)
    assert (got - without).abs().max() > 1e-3
    assert bits(base) == before
    alone = read_foreign(tmp_path / "mi" / "unet" / "adapter_model.safetensors")
    torch.testing.assert_close(changes(base, alone), changes(base, read))


def test_a_peft_folder_of_unet_and_text_encoder(base: BaseModel, tmp_path: Path) -> None:
    other = load_base(base.name, "cpu")
    for part, target in (("unet", "to_v"), ("text_encoder", "fc1")):
        config = LoraConfig(r=2, lora_alpha=8, target_modules=[target], init_lora_weights=False)
        get_peft_model(getattr(other.pipeline, part), config).save_pretrained(str(tmp_path / part))
    read = read_foreign(tmp_path)
    assert {name[:8] for name in read.modules} == {"lora_une", "lora_te_"}
    assert read.alphas == (8.0,)
    with apply_foreign(base, read):
        torch.testing.assert_close(predicted(base), predicted(other), atol=1e-5, rtol=1e-4)


def test_ranks_and_alphas_of_single_layers(base: BaseModel, tmp_path: Path) -> None:
    small = random_lora(base, "attention", 2, 1.0).modules
    large = random_lora(base, "attention", 8, 8.0).modules
    mixed = {name: (small if number % 2 else large)[name] for number, name in enumerate(small)}
    write_file(tmp_path / "mi.safetensors", LoraFile(mixed))
    read = read_foreign(tmp_path / "mi.safetensors")
    assert (read.ranks, read.alphas) == ((2, 8), (1.0, 8.0))


def test_alpha_patterns_in_diffusers_header(base: BaseModel, tmp_path: Path) -> None:
    lora = random_lora(base, "attention", alpha=4.0)
    header = diffusers_header(base, lora, 4.0)
    header["lora_adapter_metadata"] = header["lora_adapter_metadata"].replace(
        '"unet.alpha_pattern": {}',
        '"unet.alpha_pattern": {"mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 12}',
    )
    tensors = tensors_of(base, lora, DIFFUSERS, AB, alpha=False)
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, header))
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    assert read.modules[name].alpha == 12
    assert read.alphas == (4.0, 12.0)
