"""The latents of a training set at one resolution, computed once per base.

Kept in memory for as long as the base is loaded, and on the disk where the base has a shelf; found
again by everything that changes them: the base, the pictures (by content and order) and the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps

from tuner.data import TrainingSet
from tuner.data.folder import TrainingImage, load_pixels
from tuner.errors import TunerError
from tuner.models import BaseModel
from tuner.training.buckets import bucket_sizes, nearest

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
        of_base[key] = _kept_or_encoded(base, training_set.images, size)
    return of_base[key]


def _kept_or_encoded(
    base: BaseModel, images: Sequence[TrainingImage], size: tuple[int, int]
) -> Latents:
    if base.shelf is None:
        return _encode(base, images, size)
    scaled = (size, "covered, cut at the centre, Lanczos", PIL.__version__, base.device.type)
    pictures = [image.sha256 for image in images]
    found = base.shelf.tensors(
        "vae", [*scaled, *pictures], lambda: vars(_encode(base, images, size))
    )
    return Latents(found["mean"].to(base.device), found["std"].to(base.device))


@dataclass(frozen=True)
class Bucketed:
    """The latents of a training set, those of each size together: one size without buckets.

    `bucket` says of each picture in which of `parts` it is, and `row` at which place there.
    """

    parts: tuple[Latents, ...]
    bucket: tuple[int, ...]
    row: torch.Tensor

    def of(self, batch: torch.Tensor) -> Latents:
        """The latents of the pictures `batch` (indices on the CPU), which are of one bucket."""
        part = self.parts[self.bucket[int(batch[0])]]
        rows = self.row[batch].to(part.mean.device)
        return Latents(part.mean[rows], part.std[rows])


def bucketed(
    base: BaseModel, training_set: TrainingSet, size: tuple[int, int], buckets: bool
) -> Bucketed:
    """The latents of the training set's pictures at `size` (width, height), or with `buckets` each
    at the size of about that area whose shape is nearest to its own.

    They are kept by the size of the bucket, as `latents_of` keeps them. Raises what it raises.
    """
    images, sizes = training_set.images, [size] * len(training_set.images)
    if buckets:
        known = bucket_sizes(size, bucket_step(base))
        sizes = [nearest(known, image.width, image.height) for image in images]
    used = sorted(set(sizes))
    members = [[n for n, one in enumerate(sizes) if one == each] for each in used]
    sets = [replace(training_set, images=tuple(images[n] for n in of)) for of in members]
    row = torch.empty(len(images), dtype=torch.long)
    for of in members:
        row[of] = torch.arange(len(of))
    return Bucketed(
        tuple(latents_of(base, one, each) for one, each in zip(sets, used, strict=True)),
        tuple(used.index(one) for one in sizes),
        row,
    )


def bucket_step(base: BaseModel) -> int:
    """The pixels by which buckets differ: so that latents are halved evenly to the lowest level.

    64 for Stable Diffusion 1.5, as in kohya's trainer, 16 for the mannequin.
    """
    halvings = len(base.pipeline.unet.config.block_out_channels) - 1
    return int(base.pipeline.vae_scale_factor) << halvings


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
