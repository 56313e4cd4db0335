from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tuner.models import BaseModel, adapter, read_file
from tuner.models.composed import composed, stacked
from tuner.models.lora_file import LoraFile, LoraFileError, LoraModule, merge, write_file
from tuner.space import TrainConfig

BOTH = TrainConfig(rank=4, alpha=8.0, text_encoder_ratio=0.5, learning_rate=1e-3)


@pytest.fixture(autouse=True)
def _bare_afterwards(base: BaseModel) -> Iterator[None]:
    before = modules(base)
    yield
    for name in ("one", "two"):
        adapter.detach(base, name)
    assert modules(base) == before


def modules(base: BaseModel) -> list[str]:
    return [name for model in adapter.models(base).values() for name, _ in model.named_modules()]


@torch.no_grad()
def outputs(base: BaseModel) -> tuple[torch.Tensor, torch.Tensor]:
    """The text encoder's states for a few tokens, and the UNet's prediction from them."""
    text = base.pipeline.text_encoder(torch.arange(77)[None])[0]
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)).to(text.dtype)
    return text, base.pipeline.unet(latents, 500, text.expand(2, -1, -1)).sample


def fill(base: BaseModel, name: str, seed: int = 1) -> None:
    """Give both halves of the adapter values that float16 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    for weight in adapter.parameters(base, name):
        weight.data = torch.randn(weight.shape, generator=generator).mul(0.2).half().float()


def same(first: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_fresh_adapter_changes_nothing_and_comes_off_whole(base: BaseModel) -> None:
    before = outputs(base)
    adapter.attach(base, BOTH, "one")
    assert same(outputs(base), before)
    fill(base, "one")
    assert not same(outputs(base), before)
    adapter.detach(base, "one")
    assert same(outputs(base), before)


def test_a_file_is_computed_in_the_precision_of_the_base(base: BaseModel, tmp_path: Path) -> None:
    """On a GPU the base has half precision; a trained LoRA stays float32 there."""
    adapter.attach(base, BOTH, "one")
    fill(base, "one")
    adapter.save(base, "one", tmp_path / "lora.safetensors", {})
    adapter.detach(base, "one")
    half = replace(base, pipeline=copy.deepcopy(base.pipeline).to(torch.bfloat16))
    with adapter.loaded(base, tmp_path / "lora.safetensors"):
        expected = outputs(base)
    with adapter.loaded(half, tmp_path / "lora.safetensors"):
        loras = adapter.parameters(half, "file0")
        seen = outputs(half)
    assert {weight.dtype for weight in loras} == {torch.bfloat16}
    for own, exact in zip(seen, expected, strict=True):
        assert (own.float() - exact).norm() < 0.02 * exact.norm()
    adapter.attach(half, BOTH, "two")
    assert {weight.dtype for weight in adapter.parameters(half, "two")} == {torch.float32}


def test_the_groups_hold_all_lora_weights_at_their_rates(base: BaseModel) -> None:
    unet, text = adapter.attach(base, BOTH, "one")
    assert (unet["lr"], text["lr"]) == (1e-3, 5e-4)
    # 4 attention blocks of 2 attentions of 4 layers; 2 text layers of 4; two halves each.
    assert (len(unet["params"]), len(text["params"])) == (4 * 2 * 4 * 2, 2 * 4 * 2)
    weights = [*unet["params"], *text["params"]]
    assert all(weight.requires_grad and weight.dtype == torch.float32 for weight in weights)
    trainable = {
        weight
        for model in adapter.models(base).values()
        for weight in model.parameters()
        if weight.requires_grad
    }
    assert trainable == set(weights)


def test_without_a_ratio_the_text_encoder_is_left_alone(base: BaseModel) -> None:
    groups = adapter.attach(base, TrainConfig(rank=2), "one")
    assert len(groups) == 1
    assert not any(weight.requires_grad for weight in base.pipeline.text_encoder.parameters())


def test_the_start_depends_on_the_seed_alone(base: BaseModel) -> None:
    adapter.attach(base, TrainConfig(rank=2, seed=3), "one")
    torch.rand(5)
    adapter.attach(base, TrainConfig(rank=2, seed=3), "two")
    assert same(tuple(adapter.parameters(base, "one")), tuple(adapter.parameters(base, "two")))
    adapter.detach(base, "two")
    adapter.attach(base, TrainConfig(rank=2, seed=4), "two")
    assert not same(tuple(adapter.parameters(base, "one")), tuple(adapter.parameters(base, "two")))


def test_attaching_leaves_the_global_random_numbers_alone(base: BaseModel) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    adapter.attach(base, BOTH, "one")
    assert torch.equal(torch.rand(3), expected)


def test_a_name_is_attached_once(base: BaseModel) -> None:
    adapter.attach(base, BOTH, "one")
    with pytest.raises(ValueError, match="one"):
        adapter.attach(base, BOTH, "one")


def test_a_saved_adapter_draws_the_same_from_its_file(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    adapter.attach(base, BOTH, "one")
    fill(base, "one")
    expected = outputs(base)
    adapter.save(base, "one", path, {"ss_v2": "False"})
    adapter.detach(base, "one")
    with adapter.loaded(base, path):
        assert same(outputs(base), expected)


def test_loaded_gives_back_what_was_active(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    bare = outputs(base)
    adapter.attach(base, BOTH, "one")
    fill(base, "one", seed=1)
    adapter.save(base, "one", path, {})
    fill(base, "one", seed=2)
    adapter.attach(base, TrainConfig(rank=2), "two")
    adapter.activate(base, ["one"])
    before = outputs(base)
    grads = [weight.requires_grad for weight in adapter.parameters(base, "one")]
    with contextlib.suppress(RuntimeError), adapter.loaded(base, path):
        assert not same(outputs(base), before)
        raise RuntimeError("in between")
    assert adapter.active(base) == ("one",)
    assert same(outputs(base), before)
    assert [weight.requires_grad for weight in adapter.parameters(base, "one")] == grads
    with adapter.loaded(base, None):
        assert same(outputs(base), bare)
    assert same(outputs(base), before)


def test_the_file_has_kohya_names_with_the_alpha(base: BaseModel, tmp_path: Path) -> None:
    adapter.attach(base, BOTH, "one")
    adapter.save(base, "one", tmp_path / "lora.safetensors", {"ss_v2": "False"})
    lora = read_file(tmp_path / "lora.safetensors")
    assert len(lora.modules) == 40
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0" in lora.modules
    assert "lora_te_text_model_encoder_layers_1_self_attn_q_proj" in lora.modules
    assert {(module.rank, module.alpha) for module in lora.modules.values()} == {(4, 8.0)}
    assert lora.metadata == {"ss_v2": "False"}
    halves = [half for m in lora.modules.values() for half in (m.down, m.up)]
    assert {half.dtype for half in halves} == {torch.float16}


def test_ranks_and_alphas_may_differ_by_module(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "mixed.safetensors"
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_"
    feed = "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_2"
    convolution = "lora_unet_mid_block_resnets_0_conv1"
    modules_ = {
        f"{stem}q": LoraModule(torch.randn(2, 32), torch.randn(32, 2), 1.0),
        f"{stem}k": LoraModule(torch.randn(6, 32), torch.randn(32, 6), 9.0),
        feed: LoraModule(torch.randn(3, 128), torch.randn(32, 3), 3.0),
        convolution: LoraModule(torch.randn(3, 32, 3, 3), torch.randn(32, 3, 1, 1), 2.0),
    }
    write_file(path, LoraFile(modules_))
    with adapter.loaded(base, path):
        by_peft = outputs(base)
    unet = base.pipeline.unet
    kept = {name: weight.clone() for name, weight in unet.state_dict().items()}
    merge(read_file(path), adapter.models(base))
    by_hand = outputs(base)
    unet.load_state_dict(kept)
    torch.testing.assert_close(by_peft, by_hand, atol=1e-4, rtol=1e-4)


def test_a_lora_of_another_base_is_refused_and_leaves_no_trace(
    base: BaseModel, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    before = outputs(base)
    write_file(path, LoraFile({name: LoraModule(torch.ones(2, 320), torch.ones(320, 2), 2.0)}))
    with pytest.raises(LoraFileError, match="another base"), adapter.loaded(base, path):
        pass
    write_file(path, LoraFile({f"{name}x": LoraModule(torch.ones(2, 4), torch.ones(4, 2), 2.0)}))
    with pytest.raises(LoraFileError, match="0 of the LoRA's 1"), adapter.loaded(base, path):
        pass
    assert same(outputs(base), before)


def gradients(base: BaseModel) -> torch.Tensor:
    """The prediction and its gradients in the LoRA, all in one row."""
    unet, weights = base.pipeline.unet, adapter.parameters(base, "one")
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    hidden = torch.ones(2, 77, unet.config.cross_attention_dim)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prediction = unet(latents, 500, hidden).sample
    grads = torch.autograd.grad(prediction.square().mean(), weights, allow_unused=True)
    return torch.cat([part.flatten() for part in (prediction, *grads) if part is not None])


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 32),
        ({"use_rslora": True, "target_modules": "attention+feed_forward+convolutions"}, 40),
        ({"use_dora": True}, 0),
        ({"lora_dropout": 0.5}, 0),
    ],
    ids=["plain", "rslora and all layers", "dora", "dropout"],
)
def test_a_composed_lora_computes_the_same(
    base: BaseModel, settings: dict[str, object], count: int
) -> None:
    values = BOTH.model_dump() | {"text_encoder_ratio": 0.0} | settings
    adapter.attach(base, TrainConfig.model_validate(values), "one")
    fill(base, "one")
    apart = gradients(base)
    with composed(base.pipeline.unet):
        changed = [each for each in base.pipeline.unet.modules() if "forward" in vars(each)]
        together = gradients(base)
    assert len(changed) == count
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)
    assert not any("forward" in vars(each) for each in base.pipeline.unet.modules())
    assert torch.equal(gradients(base), apart)


@pytest.mark.parametrize("within", [composed, contextlib.nullcontext], ids=["composed", "plain"])
def test_weights_that_are_trained_together_stay_those_of_their_layers(
    base: BaseModel, within: Callable[[torch.nn.Module], contextlib.AbstractContextManager[None]]
) -> None:
    """With and without `composed`; after a while in which another LoRA was active."""
    unet, text = adapter.attach(base, BOTH, "one")
    fill(base, "one")
    _, before = outputs(base)
    single = list(unet["params"])
    values = [weight.detach().clone() for weight in adapter.parameters(base, "one")]
    groups = stacked(base.pipeline.unet, [unet, text])
    together = groups[0]["params"]
    assert 0 < len(together) < len(single) / 4
    assert sum(one.numel() for one in together) == sum(one.numel() for one in single)
    assert groups[0]["lr"] == unet["lr"]
    assert groups[1] == text
    assert same(tuple(adapter.parameters(base, "one")), tuple(values))
    with adapter.loaded(base, None):
        pass
    with within(base.pipeline.unet):
        torch.testing.assert_close(outputs(base)[1], before, atol=1e-5, rtol=1e-4)
        hidden = torch.ones(1, 77, base.pipeline.unet.config.cross_attention_dim)
        for _ in range(2):  # the second time with changed weights
            for one in together:
                one.grad = None
            prediction = base.pipeline.unet(torch.ones(1, 4, 16, 16), 500, hidden).sample
            prediction.square().mean().backward()
            assert all(one.grad is not None and one.grad.any() for one in together)
            with torch.no_grad():
                for one in together:
                    one.add_(1.0)
    changed = adapter.parameters(base, "one")
    moved = {id(one) for one in text["params"]}
    for weight, value in zip(changed, values, strict=True):
        torch.testing.assert_close(weight, value + (0 if id(weight) in moved else 2))
