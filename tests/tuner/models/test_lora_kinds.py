"""Every kind of LoRA: what is exported does what the adapter in memory did."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tuner.models.test_adapter import fill, modules, outputs, same
from tuner.export.lora import _for_diffusers, write_lora
from tuner.export.verify import quiet
from tuner.models import BaseModel, adapter, read_file
from tuner.models.lora_file import LoraFile, LoraFileError, LoraModule, merge, write_file
from tuner.space import TrainConfig

SMALL = {"rank": 4, "alpha": 8.0, "text_encoder_ratio": 0.5}
KINDS = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "feed_forward": {"target_modules": "attention+feed_forward"},
    "convolutions": {"target_modules": "attention+feed_forward+convolutions"},
    "everything": {
        "use_dora": True,
        "use_rslora": True,
        "target_modules": "attention+feed_forward+convolutions",
    },
}


def kind(name: str) -> TrainConfig:
    return TrainConfig.model_validate(SMALL | KINDS[name])


def strong(base: BaseModel, config: TrainConfig) -> None:
    """Attach an adapter that changes everything it can."""
    adapter.attach(base, config, "one")
    before = {id(one) for one in adapter.parameters(base, "one") if one.ndim == 1}
    fill(base, "one", seed=2)
    if config.use_dora:
        for weight in adapter.parameters(base, "one"):
            if weight.ndim == 1 or id(weight) in before or weight.shape[0] == 1:
                weight.data = weight.data.abs() + 0.5  # lengths are positive


@contextlib.contextmanager
def merged(base: BaseModel, path: Path) -> Iterator[None]:
    models = adapter.models(base)
    kept = {
        name: {key: value.clone() for key, value in model.state_dict().items()}
        for name, model in models.items()
    }
    merge(read_file(path), models)
    try:
        yield
    finally:
        for name, model in models.items():
            model.load_state_dict(kept[name])


@pytest.mark.parametrize(
    "name",
    [
        name if name == "everything" else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(KINDS)
    ],
)
def test_memory_own_file_both_names_diffusers_and_merged_weights_agree(
    base: BaseModel, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "own.safetensors"
    before, plain = modules(base), outputs(base)
    try:
        strong(base, kind(name))
        expected = outputs(base)
        adapter.save(base, "one", path, {})
    finally:
        adapter.detach(base, "one")
    assert modules(base) == before
    assert same(outputs(base), plain)
    assert not same(expected, plain)
    with adapter.loaded(base, path):
        torch.testing.assert_close(outputs(base), expected, atol=1e-3, rtol=1e-3)
    lora = read_file(path)
    for names in ("kohya", "diffusers"):
        exported = tmp_path / f"{names}.safetensors"
        write_lora(exported, lora, base, names)  # type: ignore[arg-type]  # it is one of the two
        with quiet(), _for_diffusers(exported, read_file(exported), base) as readable:
            base.pipeline.load_lora_weights(str(readable), use_safetensors=True)
        torch.testing.assert_close(outputs(base), expected, atol=1e-3, rtol=1e-3)
        base.pipeline.unload_lora_weights()
        with merged(base, exported):
            torch.testing.assert_close(outputs(base), expected, atol=2e-3, rtol=2e-3)


def test_a_fresh_dora_changes_nothing(base: BaseModel) -> None:
    before = outputs(base)
    for name in ("dora", "everything"):
        adapter.attach(base, kind(name), "one")
        torch.testing.assert_close(outputs(base), before, atol=1e-5, rtol=1e-5)
        adapter.detach(base, "one")


def test_target_modules_say_which_layers_are_changed(base: BaseModel, tmp_path: Path) -> None:
    counts = []
    for words in ("attention", "attention+feed_forward", "attention+feed_forward+convolutions"):
        config = TrainConfig.model_validate(SMALL | {"target_modules": words})
        adapter.attach(base, config, "one")
        adapter.save(base, "one", tmp_path / "lora.safetensors", {})
        adapter.detach(base, "one")
        names = list(read_file(tmp_path / "lora.safetensors").modules)
        counts.append(len(names))
    # 4 attention blocks with 2 layers of a feed-forward each; 2 text layers with 2.
    assert counts[:2] == [40, 40 + 4 * 2 + 2 * 2]
    convolutions = [
        name
        for name, layer in base.pipeline.unet.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and name not in ("conv_in", "conv_out")
    ]
    assert counts[2] == counts[1] + len(convolutions)


def test_the_alpha_of_a_file_carries_the_scale_of_rslora(base: BaseModel, tmp_path: Path) -> None:
    config = kind("rslora")
    adapter.attach(base, config, "one")
    adapter.save(base, "one", tmp_path / "lora.safetensors", {})
    adapter.detach(base, "one")
    alphas = {one.alpha for one in read_file(tmp_path / "lora.safetensors").modules.values()}
    assert alphas == {config.file_alpha}
    assert config.file_alpha / 4 == pytest.approx(8 / math.sqrt(4))


def test_dora_gives_each_row_its_length() -> None:
    """Liu et al. 2024, equation 5, by hand: rows of W + up @ down are (3, 4) and (0, 2)."""
    weight = torch.tensor([[2.0, 4.0], [0.0, 2.0]])
    module = LoraModule(
        torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0], [0.0]]), 1.0, torch.tensor([10.0, 1.0])
    )
    assert torch.allclose(module.updated(weight), torch.tensor([[6.0, 8.0], [0.0, 1.0]]))


def test_a_file_with_half_a_dora_is_refused(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_"
    halves = torch.randn(2, 64), torch.randn(64, 2)
    plain, with_length = LoraModule(*halves, 2.0), LoraModule(*halves, 2.0, torch.ones(64))
    write_file(path, LoraFile({f"{stem}q": plain, f"{stem}k": with_length}))
    with pytest.raises(LoraFileError, match="all or none"), adapter.loaded(base, path):
        pass
    write_file(path, LoraFile({f"{stem}q": LoraModule(*halves, 2.0, torch.ones(3))}))
    with pytest.raises(LoraFileError, match="64 values, one for each output"):
        read_file(path)
