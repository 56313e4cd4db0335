"""The latents of a training set at one resolution, computed once per base.

Kept in memory for as long as the base is loaded, and found again by everything that changes
them: the base (by identity), the pictures (by content and order) and the size. Not kept on the
disk: the 400 pictures of the mannequin take 7 s at its three sizes, once in a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image, ImageOps

from tuner.base_model import BaseModel
from tuner.data.folder import TrainingImage, TrainingSet, load_pixels
from tuner.errors import TunerError

_PIXELS_PER_BATCH = 4 * 512 * 512
"""Four pictures of 512 x 512 at a time: below what a training step needs."""

_LARGEST_BATCH = 32

_Key = tuple[tuple[str, ...], tuple[int, int]]
_kept: WeakKeyDictionary[BaseModel, dict[_Key, Latents]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Latents:
    """What the VAE says of each picture: a normal distribution, scaled as the UNet expects it.

    `mean` and `std` are float32 (pictures, channels, height, width) on the base's device. A step
    draws from it afresh, as the base saw its own training pictures.
    """

    mean: torch.Tensor
    std: torch.Tensor


def latents_of(base: BaseModel, training_set: TrainingSet, size: tuple[int, int]) -> Latents:
    """The latents of the training set's pictures, in their order, at `size` (width, height).

    Pictures are scaled to cover `size` and cut at the centre. Raises TunerError when the VAE
    gives values that are not finite.
    """
    of_base = _kept.setdefault(base, {})
    key = (tuple(image.sha256 for image in training_set.images), size)
    if key not in of_base:
        of_base[key] = _encode(base, training_set.images, size)
    return of_base[key]


def fitted(image: TrainingImage, size: tuple[int, int]) -> Image.Image:
    """The RGB picture scaled to cover `size` (width, height) and cut at the centre."""
    return ImageOps.fit(load_pixels(image), size, Image.Resampling.LANCZOS)


@torch.no_grad()
def _encode(base: BaseModel, images: Sequence[TrainingImage], size: tuple[int, int]) -> Latents:
    vae = base.pipeline.vae
    batch = max(1, min(_LARGEST_BATCH, _PIXELS_PER_BATCH // (size[0] * size[1])))
    means, stds = [], []
    for start in range(0, len(images), batch):
        pictures = [fitted(image, size) for image in images[start : start + batch]]
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        pixels = pixels.permute(0, 3, 1, 2).to(base.device, vae.dtype) / 127.5 - 1
        posterior = vae.encode(pixels).latent_dist
        means.append(posterior.mean.float() * vae.config.scaling_factor)
        stds.append(posterior.std.float() * vae.config.scaling_factor)
    latents = Latents(torch.cat(means), torch.cat(stds))
    if not (latents.mean.isfinite().all() and latents.std.isfinite().all()):
        raise TunerError(
            f"the VAE of base {base.name} gives values that are not finite in {vae.dtype}"
        )
    return latents
