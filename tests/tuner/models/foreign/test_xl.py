"""LoRAs of every trainer on a Stable Diffusion XL: two text encoders, blocks of both layouts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.tuner.models.foreign.test_layouts import bits
from tests.tuner.models.foreign.writers import EVERYTHING, Tensors, random_lora, write
from tests.tuner.models.foreign.xl_writers import LAYOUTS, written
from tuner.models import BaseModel, adapter, load_base
from tuner.models.foreign.apply import apply_foreign, changes
from tuner.models.foreign.file import lora_paths, read_foreign
from tuner.models.lora_file import LoraFileError, layers

FEW = {
    "kohya": (
        "lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_k",
        "lora_unet_input_blocks_1_0_in_layers_2",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_te2_text_model_encoder_layers_1_self_attn_q_proj",
        "lora_te2_text_projection",
        "lora_unet_label_emb_0_0",
    ),
    "diffusers' blocks": (
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k",
        "lora_unet_down_blocks_0_resnets_0_conv1",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_te2_text_model_encoder_layers_1_self_attn_q_proj",
        "lora_te2_text_projection",
        "lora_unet_add_embedding_linear_1",
    ),
}
"""A few layers by kohya name; OneTrainer also trains the projection of the second text encoder."""


@pytest.fixture(scope="module")
def xl(tiny_xl: Path) -> BaseModel:
    return load_base(str(tiny_xl), "cpu")


def predicted(base: BaseModel) -> torch.Tensor:
    """What UNet and both text encoders make of one prompt and one noise, float32."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]])
    with torch.no_grad():
        states = base.text_states(base.tokens(["1girl, red shirt"]), 1)
        steps = torch.tensor([500])
        return base.family.predict(base.pipeline.unet, noise, steps, states, sizes)


def weight_of(base: BaseModel, name: str) -> torch.Tensor:
    for component, model in adapter.models(base).items():
        if (dotted := layers(component, model).get(name)) is not None:
            weight = model.get_submodule(dotted).weight
            assert isinstance(weight, torch.Tensor)
            return weight
    raise KeyError(name)


@pytest.mark.parametrize("naming", LAYOUTS)
def test_every_naming_is_the_same_lora_and_leaves_no_trace(
    xl: BaseModel, tmp_path: Path, naming: str
) -> None:
    lora, tensors, metadata = written(xl, naming)
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, metadata))
    alpha = next(iter(lora.modules.values())).alpha
    assert (read.layout, read.unread) == (LAYOUTS[naming], 0)
    assert (read.ranks, read.alphas, read.family) == ((4,), (alpha,), "sdxl")
    places = {id(weight_of(xl, name)): each for name, each in lora.modules.items()}
    there = changes(xl, read)
    assert len(there) == len(lora.modules)
    for name, change in there.items():
        expected = places.pop(id(weight_of(xl, name))).update()
        torch.testing.assert_close(change, expected, atol=1e-7, rtol=1e-6)
    before, without = bits(xl), predicted(xl)
    with adapter.applied(xl, lora):
        expected = predicted(xl)
    with apply_foreign(xl, read):
        assert torch.equal(predicted(xl), expected)
    assert bits(xl) == before
    assert torch.equal(predicted(xl), without)
    assert (expected - without).abs().max() > 1e-3


@pytest.mark.parametrize("naming", ["kohya", "kohya, diffusers' blocks", "diffusers"])
def test_diffusers_predicts_the_same(
    xl: BaseModel, tiny_xl: Path, tmp_path: Path, naming: str
) -> None:
    _, tensors, metadata = written(xl, naming)
    if naming == "kohya":  # diffusers reads the original blocks of attention alone
        tensors = {key: each for key, each in tensors.items() if re.search("_attn|_te|_ff", key)}
    path = write(tmp_path / "mi.safetensors", tensors, metadata)
    other = load_base(str(tiny_xl), "cpu")
    other.pipeline.load_lora_weights(str(path))
    with apply_foreign(xl, read_foreign(path)):
        torch.testing.assert_close(predicted(xl), predicted(other), atol=1e-5, rtol=1e-4)


def test_a_peft_folder_of_all_three_parts(xl: BaseModel, tiny_xl: Path, tmp_path: Path) -> None:
    other = load_base(str(tiny_xl), "cpu")
    for part, target in (("unet", "to_v"), ("text_encoder", "fc1"), ("text_encoder_2", "fc2")):
        config = LoraConfig(r=2, lora_alpha=8, target_modules=[target], init_lora_weights=False)
        model = get_peft_model(getattr(other.pipeline, part), config)
        model.save_pretrained(str(tmp_path / "mi" / part))
    assert lora_paths(tmp_path) == [tmp_path / "mi"]
    read = read_foreign(tmp_path / "mi")
    assert {name[:9] for name in read.modules} == {"lora_unet", "lora_te_t", "lora_te2_"}
    assert (read.alphas, read.layout) == ((8.0,), "peft")
    with apply_foreign(xl, read):
        torch.testing.assert_close(predicted(xl), predicted(other), atol=1e-5, rtol=1e-4)


def shapes_of(method: str, shape: torch.Size) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's tensors in a file, by the end of their names."""
    out, inner = shape[0], shape[1:]
    match method:
        case "lora":
            ones = [1] * (len(inner) - 1)
            return {"lora_down.weight": (2, *inner), "lora_up.weight": (out, 2, *ones)}
        case "loha":
            ups = {f"hada_w{number}_a": (out, 2) for number in (1, 2)}
            return ups | {f"hada_w{number}_b": (2, inner.numel()) for number in (1, 2)}
    return {"lokr_w1": (2, 2), "lokr_w2": (out // 2, inner[0] // 2, *inner[1:])}


def change_of(method: str, parts: Tensors) -> torch.Tensor:
    """The change of a layer's weight as a matrix, by the formulas of the papers."""
    flat = {part: each.flatten(1) for part, each in parts.items()}
    match method:
        case "lora":
            return flat["lora_up.weight"] @ flat["lora_down.weight"]
        case "loha":
            one, two = (flat[f"hada_w{n}_a"] @ flat[f"hada_w{n}_b"] for n in (1, 2))
            return one * two
    product = torch.einsum("ab,cd...->acbd...", parts["lokr_w1"], parts["lokr_w2"])
    return product.reshape(2 * len(parts["lokr_w2"]), -1)


@pytest.mark.parametrize("blocks", FEW)
@pytest.mark.parametrize("method", ["lora", "loha", "lokr"])
def test_each_method_changes_each_kind_of_layer(
    xl: BaseModel, tmp_path: Path, method: str, blocks: str
) -> None:
    random = torch.Generator().manual_seed(4)
    tensors: Tensors = {}
    expected: dict[str, torch.Tensor] = {}
    for name in FEW[blocks]:
        shapes = shapes_of(method, weight_of(xl, name).shape)
        parts = {part: torch.randn(shape, generator=random) for part, shape in shapes.items()}
        tensors |= {f"{name}.{part}": each for part, each in parts.items()}
        expected[name] = change_of(method, parts)
    there = changes(xl, read_foreign(write(tmp_path / "mi.safetensors", tensors, {})))
    assert len(there) == len(expected)
    own = {id(weight_of(xl, name)): change for name, change in there.items()}
    for name, change in expected.items():
        torch.testing.assert_close(own[id(weight_of(xl, name))], change, atol=1e-5, rtol=1e-4)


def test_a_layer_in_both_layouts_is_refused(xl: BaseModel, tmp_path: Path) -> None:
    tensors = written(xl, "kohya")[1] | written(xl, "kohya, diffusers' blocks")[1]
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, {}))
    with pytest.raises(LoraFileError, match="twice"), apply_foreign(xl, read):
        pass


def test_a_lora_of_the_other_family_is_refused(
    xl: BaseModel, base: BaseModel, tmp_path: Path
) -> None:
    from tests.tuner.models.foreign.writers import written as written_for_1x

    _, tensors, _ = written_for_1x(base, "kohya")
    one = read_foreign(write(tmp_path / "one.safetensors", tensors, {}))
    _, tensors, _ = written(xl, "kohya")
    two = read_foreign(write(tmp_path / "two.safetensors", tensors, {}))
    header = {"ss_base_model_version": "sd_v1"}
    said = read_foreign(
        write(tmp_path / "said.safetensors", written_for_1x(base, "kohya")[1], header)
    )
    with pytest.raises(LoraFileError, match="not in base") as raised, apply_foreign(xl, one):
        pass
    assert "\n" not in str(raised.value)
    for read, other, words in (
        (two, base, "is for Stable Diffusion XL, and base .* is none"),
        (said, xl, "is for Stable Diffusion 1.x, and base .* is a Stable Diffusion XL"),
    ):
        with pytest.raises(LoraFileError, match=words), apply_foreign(other, read):
            pass


def test_a_lora_of_the_refiner_is_named(xl: BaseModel, tmp_path: Path) -> None:
    """Its blocks have four transformers, and take text of the second encoder alone."""
    start = "lora_unet_input_blocks_4_1_transformer_blocks_{}_attn2_to_k"
    tensors = {
        f"{start.format(number)}.lora_{half}.weight": torch.ones(shape)
        for number in range(4)
        for half, shape in (("down", (1, 1280)), ("up", (768, 1)))
    }
    read = read_foreign(write(tmp_path / "mi.safetensors", tensors, {}))
    words = "is for the refiner of Stable Diffusion XL, and base .* is a Stable Diffusion XL"
    with pytest.raises(LoraFileError, match=words), apply_foreign(xl, read):
        pass


def test_the_own_dora_of_both_text_encoders_reads_back(xl: BaseModel, tmp_path: Path) -> None:
    from tuner.space import TrainConfig

    config = TrainConfig(rank=4, use_dora=True, text_encoder_ratio=0.5, target_modules=EVERYTHING)
    adapter.attach(xl, config, "dora")
    torch.manual_seed(0)
    for weight in adapter.parameters(xl, "dora"):
        small = torch.randn(weight.shape) * 0.1
        weight.data = weight.data * (1 + small) if weight.numel() == max(weight.shape) else small
    adapter.save(xl, "dora", tmp_path / "mi.safetensors", {})
    adapter.detach(xl, "dora")
    with adapter.loaded(xl, tmp_path / "mi.safetensors"):
        expected = predicted(xl)
    read = read_foreign(tmp_path / "mi.safetensors")
    assert (read.kind, read.family) == ("dora", "sdxl")
    assert len(read.modules) == len(random_lora(xl, EVERYTHING).modules)
    with apply_foreign(xl, read):
        torch.testing.assert_close(predicted(xl), expected, atol=1e-5, rtol=1e-4)
