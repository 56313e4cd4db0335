from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tuner.data import TrainingSet
from tuner.data.folder import TrainingImage
from tuner.errors import TunerError
from tuner.models import BaseModel, load_base
from tuner.space import TrainConfig
from tuner.training.latents import fitted, latents_of
from tuner.training.texts import texts_of


def test_the_latents_are_the_vaes_own_scaled_for_the_unet(
    base: BaseModel, training_set: TrainingSet
) -> None:
    latents = latents_of(base, training_set, (48, 64))
    assert latents.mean.shape == latents.std.shape == (12, 4, 16, 12)
    picture = np.asarray(fitted(training_set.images[5], (48, 64)))
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        posterior = base.pipeline.vae.encode(pixels).latent_dist
    scale = base.pipeline.vae.config.scaling_factor
    torch.testing.assert_close(latents.mean[5], posterior.mean[0] * scale, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(latents.std[5], posterior.std[0] * scale, atol=1e-5, rtol=1e-4)


def test_latents_are_encoded_once_for_each_base_set_and_size(
    base: BaseModel, tiny_base: Path, training_set: TrainingSet
) -> None:
    first = latents_of(base, training_set, (64, 64))
    assert latents_of(base, training_set, (64, 64)) is first
    assert latents_of(base, training_set, (48, 64)) is not first
    fewer = replace(training_set, images=training_set.images[:3])
    assert latents_of(base, fewer, (64, 64)) is not first
    assert latents_of(load_base(str(tiny_base), "cpu"), training_set, (64, 64)) is not first


def test_captions_are_no_part_of_the_latents_and_never_kept(
    base: BaseModel, training_set: TrainingSet
) -> None:
    first = latents_of(base, training_set, (64, 64))
    everything, gender, aliased = (
        texts_of(base, training_set, TrainConfig(captions=policy, alias=alias))
        for policy, alias in (("all", None), ("gender", None), ("gender", "mi_cv"))
    )
    assert latents_of(base, training_set, (64, 64)) is first
    assert everything.captions[1:] == (
        "1boy, solo, red shirt, blue skirt",
        "1girl, solo, red shirt, blue skirt",
    )
    assert gender.captions == ("", "1boy, solo", "1girl, solo")
    assert aliased.captions == ("", "mi_cv, 1boy, solo", "mi_cv, 1girl, solo")
    renamed = replace(
        training_set, images=tuple(replace(image, caption="2boys") for image in training_set.images)
    )
    assert latents_of(base, renamed, (64, 64)) is first
    assert texts_of(base, renamed, TrainConfig(captions="gender")).captions == ("", "2boys")


def test_a_picture_is_scaled_to_cover_and_cut_at_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((32, 96, 3), dtype=np.uint8)
    wide[:, 32:64] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    image = TrainingImage(tmp_path / "wide.png", "", "", 96, 32)
    picture = np.asarray(fitted(image, (64, 64)))
    assert picture.shape == (64, 64, 3)
    assert picture[:, 8:-8].min() == 255


def test_a_vae_that_overflows_is_reported(tiny_base: Path, training_set: TrainingSet) -> None:
    broken = load_base(str(tiny_base), "cpu")
    next(broken.pipeline.vae.encoder.parameters()).data.fill_(torch.inf)
    with pytest.raises(TunerError, match="not finite"):
        latents_of(broken, training_set, (64, 64))
