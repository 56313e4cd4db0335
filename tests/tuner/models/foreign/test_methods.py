"""LoCon with a middle, LoHa, LoKr and DoRA, as LyCORIS and OneTrainer write them.

Against LyCORIS itself where it is installed: `pip install --target FOLDER --no-deps lycoris-lora
einops toml`, and the folder on PYTHONPATH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.tuner.models.foreign.test_layouts import bits, predicted
from tuner.models import BaseModel, adapter
from tuner.models.foreign.apply import apply_foreign, changes
from tuner.models.foreign.file import read_foreign
from tuner.models.foreign.weights import Module
from tuner.models.lora_file import LoraFileError, layers, merge, read_file, write_file

LINEAR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
CONVOLUTION = "lora_unet_down_blocks_0_resnets_0_conv2"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "locon": ("LoConModule", {}),
    "locon, middle": ("LoConModule", {"use_tucker": True}),
    "dora": ("LoConModule", {"weight_decompose": True}),
    "dora, inputs": ("LoConModule", {"weight_decompose": True, "wd_on_out": False}),
    "loha": ("LohaModule", {}),
    "loha, cores": ("LohaModule", {"use_tucker": True}),
    "loha, dora": ("LohaModule", {"weight_decompose": True}),
    "lokr": ("LokrModule", {}),
    "lokr, both": ("LokrModule", {"decompose_both": True, "lora_dim": 1}),
    "lokr, core": ("LokrModule", {"use_tucker": True}),
    "lokr, whole": ("LokrModule", {"full_matrix": True}),
    "lokr, factor": ("LokrModule", {"factor": 4}),
    "lokr, dora": ("LokrModule", {"weight_decompose": True}),
}


def layer_of(base: BaseModel, name: str) -> torch.nn.Module:
    for component, model in adapter.models(base).items():
        if (dotted := layers(component, model).get(name)) is not None:
            return model.get_submodule(dotted)
    raise KeyError(name)


def of_lycoris(base: BaseModel, method: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Modules of LyCORIS with random weights by kohya name, and its tensors of a file."""
    modules = pytest.importorskip("lycoris.modules", exc_type=ImportError)
    kind, arguments = METHODS[method]
    own: dict[str, Any] = {}
    tensors: dict[str, torch.Tensor] = {}
    torch.manual_seed(0)
    for name in (LINEAR, CONVOLUTION, TEXT):
        settings = {"lora_dim": 2, "alpha": 3.0} | arguments
        module = getattr(modules, kind)(name, layer_of(base, name), **settings)
        for each in module.parameters():
            each.data += torch.randn(each.shape) * 0.1
        own[name] = module
        state = module.custom_state_dict()
        tensors |= {f"{name}.{key}": value.detach().clone() for key, value in state.items()}
    return own, tensors


@pytest.mark.parametrize("method", METHODS)
def test_layers_compute_what_they_do_in_lycoris(
    base: BaseModel, tmp_path: Path, method: str
) -> None:
    """As it trains: LyCORIS 4.1.3 merges LoHa and LoKr with alpha / rank twice."""
    own, tensors = of_lycoris(base, method)
    save_file(tensors, tmp_path / "mi.safetensors")
    read = read_foreign(tmp_path / "mi.safetensors")
    assert read.kind == ("dora" if "dora" in method else method.split(",")[0])
    assert changes(base, read).keys() == own.keys()
    random = torch.Generator().manual_seed(3)
    inputs: dict[str, torch.Tensor] = {}
    theirs: dict[str, torch.Tensor] = {}
    for name, module in own.items():
        weight = layer_of(base, name).weight
        assert isinstance(weight, torch.Tensor)
        shape = (5, weight.shape[1]) if weight.ndim == 2 else (1, weight.shape[1], 6, 6)
        inputs[name] = torch.randn(shape, generator=random)
        theirs[name] = module.eval()(inputs[name]).detach()
    with apply_foreign(base, read), torch.no_grad():
        for name, given in inputs.items():
            ours = layer_of(base, name)(given)
            torch.testing.assert_close(ours, theirs[name], atol=1e-5, rtol=1e-4)


def files(random: torch.Generator) -> dict[str, dict[str, torch.Tensor]]:
    """Files of each method with random tensors in LyCORIS's and OneTrainer's shapes."""

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random) * 0.3

    alpha = {f"{name}.alpha": torch.tensor(3.0) for name in (LINEAR, CONVOLUTION)}
    loha = {
        f"{LINEAR}.hada_w1_a": some(16, 2),
        f"{LINEAR}.hada_w1_b": some(2, 32),
        f"{LINEAR}.hada_w2_a": some(16, 2),
        f"{LINEAR}.hada_w2_b": some(2, 32),
        f"{CONVOLUTION}.hada_t1": some(2, 2, 3, 3),
        f"{CONVOLUTION}.hada_w1_a": some(2, 16),
        f"{CONVOLUTION}.hada_w1_b": some(2, 16),
        f"{CONVOLUTION}.hada_t2": some(2, 2, 3, 3),
        f"{CONVOLUTION}.hada_w2_a": some(2, 16),
        f"{CONVOLUTION}.hada_w2_b": some(2, 16),
    }
    lokr = {
        f"{LINEAR}.lokr_w1": some(4, 4),
        f"{LINEAR}.lokr_w2_a": some(4, 2),
        f"{LINEAR}.lokr_w2_b": some(2, 8),
        f"{CONVOLUTION}.lokr_w1_a": some(4, 2),
        f"{CONVOLUTION}.lokr_w1_b": some(2, 4),
        f"{CONVOLUTION}.lokr_w2_a": some(4, 2),
        f"{CONVOLUTION}.lokr_w2_b": some(2, 4, 3, 3),
    }
    plain = {
        f"{LINEAR}.lora_down.weight": some(2, 32),
        f"{LINEAR}.lora_up.weight": some(16, 2),
        f"{CONVOLUTION}.lora_down.weight": some(2, 16, 3, 3),
        f"{CONVOLUTION}.lora_up.weight": some(16, 2, 1, 1),
    }
    inputs = {
        f"{LINEAR}.dora_scale": some(1, 32).abs() + 0.5,
        f"{CONVOLUTION}.dora_scale": some(1, 16, 1, 1).abs() + 0.5,
    }
    whole = {
        f"{CONVOLUTION}.diff": some(16, 16, 3, 3),
        f"{CONVOLUTION}.diff_b": some(16),
        "lora_unet_down_blocks_0_resnets_0_norm1.w_norm": some(16),
        "lora_unet_down_blocks_0_resnets_0_norm1.b_norm": some(16),
    }
    return {
        "loha": loha | alpha,
        "lokr": lokr | alpha,
        "dora": plain | alpha | inputs,
        "full": whole,
    }


def expected(method: str, parts: dict[str, torch.Tensor], before: torch.Tensor) -> torch.Tensor:
    """The new weight, by the formulas of the papers, index by index."""
    match method:
        case "loha" if "hada_t1" in parts:
            halves = [
                torch.einsum("ijkl,ip,jr->prkl", parts[f"hada_t{n}"], *pair)
                for n in (1, 2)
                for pair in [(parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"])]
            ]
            return before + 1.5 * halves[0] * halves[1]
        case "loha":
            one, two = (parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"] for n in (1, 2))
            return before + 1.5 * one * two
        case "lokr":
            first = parts.get("lokr_w1")
            if first is None:
                first = parts["lokr_w1_a"] @ parts["lokr_w1_b"]
            second = torch.einsum("or,r...->o...", parts["lokr_w2_a"], parts["lokr_w2_b"])
            product = torch.einsum("ab,cd...->acbd...", first, second)
            return before + 1.5 * product.reshape(before.shape)
        case "dora":
            change = parts["lora_up.weight"].flatten(1) @ parts["lora_down.weight"].flatten(1)
            whole = before + 1.5 * change.reshape(before.shape)
            columns = whole.transpose(0, 1).flatten(1).norm(dim=1)
            scale = parts["dora_scale"].flatten() / columns
            return whole * scale.reshape(1, -1, *[1] * (whole.ndim - 2))
    raise ValueError(method)


@pytest.mark.parametrize("strength", [1.0, 0.7])
@pytest.mark.parametrize("method", ["loha", "lokr", "dora"])
def test_each_method_is_computed_as_its_paper_says(
    base: BaseModel, tmp_path: Path, method: str, strength: float
) -> None:
    tensors = files(torch.Generator().manual_seed(2))[method]
    save_file(tensors, tmp_path / "mi.safetensors")
    read = read_foreign(tmp_path / "mi.safetensors")
    assert (read.kind, read.ranks, read.alphas) == (method, (2,), (3.0,))
    before = bits(base)
    for name in (LINEAR, CONVOLUTION):
        weight = layer_of(base, name).weight
        assert isinstance(weight, torch.Tensor)
        old = weight.detach().clone()
        parts = {
            key.removeprefix(f"{name}."): value
            for key, value in tensors.items()
            if key.startswith(f"{name}.")
        }
        new = expected(method, parts, old)
        with apply_foreign(base, read, strength):
            torch.testing.assert_close(weight, old + strength * (new - old), atol=1e-6, rtol=1e-5)
    assert bits(base) == before


def test_differences_of_weights_biases_and_norms_are_added(base: BaseModel, tmp_path: Path) -> None:
    tensors = files(torch.Generator().manual_seed(2))["full"]
    save_file(tensors, tmp_path / "mi.safetensors")
    read = read_foreign(tmp_path / "mi.safetensors")
    assert (read.kind, read.ranks) == ("full", ())
    convolution = layer_of(base, CONVOLUTION)
    norm = layer_of(base, "lora_unet_down_blocks_0_resnets_0_norm1")
    before = bits(base)
    old = [each.detach().clone() for each in (convolution.bias, norm.weight, norm.bias)]
    with apply_foreign(base, read, 0.5):
        new = [convolution.bias, norm.weight, norm.bias]
        differences = (
            f"{CONVOLUTION}.diff_b",
            "lora_unet_down_blocks_0_resnets_0_norm1.w_norm",
            "lora_unet_down_blocks_0_resnets_0_norm1.b_norm",
        )
        for was, now, key in zip(old, new, differences, strict=True):
            torch.testing.assert_close(now, was + 0.5 * tensors[key])
    assert bits(base) == before


def test_a_middle_convolution_is_multiplied_in() -> None:
    random = torch.Generator().manual_seed(0)
    down = torch.randn(2, 5, 1, 1, generator=random)
    mid = torch.randn(2, 2, 3, 3, generator=random)
    up = torch.randn(7, 2, 1, 1, generator=random)
    module = Module("lora", {"down": down, "mid": mid, "up": up}, 3.0)
    picture = torch.randn(1, 5, 8, 8, generator=random)
    conv = torch.nn.functional.conv2d
    three = conv(conv(conv(picture, down), mid, padding=1), up) * 1.5
    whole = module.change().reshape(7, 5, 3, 3)
    torch.testing.assert_close(conv(picture, whole, padding=1), three, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("text_encoder_ratio", [0.0, 0.5])
def test_the_projects_own_dora_predicts_the_same(
    base: BaseModel, tmp_path: Path, text_encoder_ratio: float
) -> None:
    from tuner.space import TrainConfig

    config = TrainConfig(
        rank=4,
        alpha=8.0,
        use_dora=True,
        text_encoder_ratio=text_encoder_ratio,
        target_modules="attention+feed_forward+convolutions",
    )
    adapter.attach(base, config, "dora")
    torch.manual_seed(0)
    for weight in adapter.parameters(base, "dora"):
        small = torch.randn(weight.shape) * 0.1
        weight.data = weight.data * (1 + small) if weight.numel() == max(weight.shape) else small
    adapter.save(base, "dora", tmp_path / "mi.safetensors", {})
    adapter.detach(base, "dora")
    with adapter.loaded(base, tmp_path / "mi.safetensors"):
        before = predicted(base)
    read = read_foreign(tmp_path / "mi.safetensors")
    assert read.kind == "dora"
    assert "lengths of the outputs" in read.notes[0]
    with apply_foreign(base, read):
        torch.testing.assert_close(predicted(base), before, atol=1e-5, rtol=1e-4)
    wrong = Module("lora", read.modules[LINEAR].parts, 8.0, torch.ones(3, 1))
    with pytest.raises(LoraFileError, match="neither"):
        wrong.updates(layer_of(base, LINEAR), 1.0)


def test_a_lora_in_kohyas_names_is_what_merging_by_hand_gives(
    base: BaseModel, tmp_path: Path
) -> None:
    from tests.tuner.models.foreign.writers import random_lora

    write_file(tmp_path / "mi.safetensors", random_lora(base, "attention"))
    before = {name: value.clone() for name, value in base.pipeline.unet.state_dict().items()}
    text = {n: v.clone() for n, v in base.pipeline.text_encoder.state_dict().items()}
    with apply_foreign(base, read_foreign(tmp_path / "mi.safetensors")):
        applied = predicted(base)
    merge(read_file(tmp_path / "mi.safetensors"), adapter.models(base))
    torch.testing.assert_close(predicted(base), applied, atol=1e-5, rtol=1e-4)
    base.pipeline.unet.load_state_dict(before)
    base.pipeline.text_encoder.load_state_dict(text)
