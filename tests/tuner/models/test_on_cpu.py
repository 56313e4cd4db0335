"""Other ways to compute on a CPU give the same result, and leave the base as it was."""

from __future__ import annotations

import pytest
import torch
from diffusers import Transformer2DModel, UNet2DConditionModel

from tuner.models import BaseModel
from tuner.models.on_cpu import PlainAttention, quick_on_cpu


def _prediction(unet: UNet2DConditionModel) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=random)
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
        processors = {type(each) for each in unet.attn_processors.values()}
        assert (processors == {PlainAttention}) == (places == 64)
    torch.testing.assert_close(plain, quick, atol=1e-5, rtol=1e-5)


def test_half_precision_is_that_of_autocast(base: BaseModel) -> None:
    unet = base.pipeline.unet
    with torch.autocast("cpu", torch.bfloat16):
        plain = _prediction(unet)
        with quick_on_cpu(unet, 64, half=True):
            quick = _prediction(unet)
    assert float((plain - quick).norm() / plain.norm()) < 0.02


def test_the_base_is_as_it_was_after_an_error(base: BaseModel) -> None:
    unet = base.pipeline.unet
    before, names = _prediction(unet), list(unet.state_dict())
    processors = unet.attn_processors
    with pytest.raises(RuntimeError), quick_on_cpu(unet, 64, half=True):
        raise RuntimeError
    assert torch.equal(_prediction(unet), before)
    assert list(unet.state_dict()) == names
    assert unet.attn_processors == processors
