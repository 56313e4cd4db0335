"""Other ways to compute on a CPU give the same result, and leave the base as it was."""

from __future__ import annotations

import pytest
import torch
from diffusers import Transformer2DModel, UNet2DConditionModel
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D

from tests.tuner.models.test_adapter import BOTH, fill, gradients
from tuner.models import BaseModel, adapter
from tuner.models.on_cpu import attention, quick_on_cpu


def _prediction(unet: UNet2DConditionModel) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 16, 16, generator=random)
    hidden = torch.randn(2, 77, unet.config.cross_attention_dim, generator=random)
    with torch.no_grad():
        predicted: torch.Tensor = unet(latents, torch.tensor(500), hidden, return_dict=False)[0]
    return predicted


@pytest.mark.parametrize("places", [64, 10**6])
def test_the_prediction_is_the_same_but_for_rounding(base: BaseModel, places: int) -> None:
    unet = base.pipeline.unet
    plain = _prediction(unet)
    with quick_on_cpu(unet, places, half=False):
        quick = _prediction(unet)
        transformers = [part for part in unet.modules() if isinstance(part, Transformer2DModel)]
        assert transformers
        assert all(isinstance(part.proj_in, torch.nn.Linear) for part in transformers)
        changed = {type(part) for part in unet.modules() if "forward" in vars(part)}
    always = {GEGLU, ResnetBlock2D, torch.nn.Conv2d}
    assert changed == (always | {Attention} if places == 64 else always)
    torch.testing.assert_close(plain, quick, atol=1e-5, rtol=1e-5)


def test_half_precision_is_that_of_autocast(base: BaseModel) -> None:
    unet = base.pipeline.unet
    with torch.autocast("cpu", torch.bfloat16):
        plain = _prediction(unet)
        with quick_on_cpu(unet, 64, half=True):
            quick = _prediction(unet)
    assert float((plain - quick).norm() / plain.norm()) < 0.02


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target_modules": "attention+feed_forward+convolutions"},
        {"use_dora": True},
        {"use_dora": True, "target_modules": "attention+feed_forward"},
        {"lora_dropout": 0.5},
        {"lora_dropout": 0.5, "target_modules": "attention+feed_forward"},
    ],
    ids=["plain", "all layers", "dora", "dora of more layers", "dropout", "dropout of more layers"],
)
@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-4), (True, 0.05)])
def test_gradients_of_a_lora_are_the_same_but_for_rounding(
    base: BaseModel, half: bool, tolerance: float, settings: dict[str, object]
) -> None:
    unet = base.pipeline.unet
    adapter.attach(base, BOTH.model_copy(update=settings), "one")
    try:
        fill(base, "one")
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            plain = gradients(base).detach()
            with quick_on_cpu(unet, 64, half=half):
                quick = gradients(base).detach()
    finally:
        adapter.detach(base, "one")
    assert not any(hasattr(part, "composed") for part in unet.modules())
    assert not torch.equal(plain, quick)  # the two ways did differ
    predicted = 2 * 4 * 16 * 16
    for part in (slice(predicted), slice(predicted, None)):  # the prediction, and its gradients
        assert float((plain[part] - quick[part]).norm() / plain[part].norm()) < tolerance


def test_gradients_of_all_weights_are_the_same_but_for_rounding(base: BaseModel) -> None:
    """As DreamBooth trains them."""
    unet = base.pipeline.unet
    latents, hidden = torch.ones(1, 4, 16, 16), torch.ones(1, 77, unet.config.cross_attention_dim)

    def found() -> list[torch.Tensor]:
        predicted = unet(latents, 500, hidden).sample
        return list(torch.autograd.grad(predicted.square().mean(), list(unet.parameters())))

    unet.requires_grad_(True)
    try:
        plain = found()
        with quick_on_cpu(unet, 64, half=False):
            quick = found()
    finally:
        unet.requires_grad_(False)
    for one, other in zip(plain, quick, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_with_a_mask_attention_is_computed_by_its_layer(base: BaseModel) -> None:
    layer = next(part for part in base.pipeline.unet.modules() if isinstance(part, Attention))
    places = torch.randn(2, 5, layer.to_q.in_features)
    mask = torch.tensor([0.0, 0.0, 0.0, -1e4, -1e4]).expand(2, 1, 5)
    with torch.no_grad():
        masked = attention(layer, places, attention_mask=mask)
        torch.testing.assert_close(masked[:, :3], attention(layer, places[:, :3]))


def test_the_base_is_as_it_was_after_an_error(base: BaseModel) -> None:
    unet = base.pipeline.unet
    before, names = _prediction(unet), list(unet.state_dict())
    with pytest.raises(RuntimeError), quick_on_cpu(unet, 64, half=True):
        raise RuntimeError
    assert torch.equal(_prediction(unet), before)
    assert list(unet.state_dict()) == names
    assert not [part for part in unet.modules() if "forward" in vars(part)]
