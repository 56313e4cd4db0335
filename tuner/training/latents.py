"""The latents of a training set at one resolution, computed once per base.

They are kept in memory while the base is loaded, and on the disk if the base has a cache. Their key
is everything that changes them: the base, the pictures (by content and order) and the size.
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
from tuner.training.memory import sent

_PIXELS_PER_BATCH = 4 * 512 * 512
"""Four pictures of 512 x 512 at a time: less memory than a training step needs."""

_LARGEST_BATCH = 32

_Key = tuple[tuple[str, ...], tuple[int, int]]
_kept: WeakKeyDictionary[BaseModel, dict[_Key, Latents]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Latents:
    """The VAE's normal distribution of each picture's latents, scaled as the UNet expects them.

    `mean` and `std` are float32 (pictures, channels, height, width) on the base's device. Every
    step draws new latents from it, as in the training of the base. `frames` (pictures, 6) are the
    sizes and cuts of the pictures, of which some families tell their UNet: `Family.predict`.
    """

    mean: torch.Tensor
    std: torch.Tensor
    frames: torch.Tensor

    def rows(self, rows: torch.Tensor) -> Latents:
        """Return the latents of some pictures, by index."""
        return Latents(self.mean[rows], self.std[rows], self.frames[rows])


def latents_of(base: BaseModel, training_set: TrainingSet, size: tuple[int, int]) -> Latents:
    """Encode the training set's pictures, in their order, at `size` (width, height).

    Pictures are scaled to cover `size` and cut at the centre. Latents of an earlier call are
    reused. Raises TunerError if the VAE's output is not finite.
    """
    of_base = _kept.setdefault(base, {})
    key = (tuple(image.sha256 for image in training_set.images), size)
    if key not in of_base:
        of_base[key] = _kept_or_encoded(base, training_set.images, size)
    return of_base[key]


def _kept_or_encoded(
    base: BaseModel, images: Sequence[TrainingImage], size: tuple[int, int]
) -> Latents:
    frames = torch.tensor([_frame(image, size) for image in images]).to(base.device)
    if base.tensor_cache is None:
        return Latents(*_encode(base, images, size), frames)
    scaled = (size, "covered, cut at the centre, Lanczos", PIL.__version__, base.device.type)
    pictures = [image.sha256 for image in images]

    def made() -> dict[str, torch.Tensor]:
        return dict(zip(("mean", "std"), _encode(base, images, size), strict=True))

    kept = base.tensor_cache.tensors("vae", [*scaled, *pictures], made)
    return Latents(kept["mean"].to(base.device), kept["std"].to(base.device), frames)


def _frame(image: TrainingImage, size: tuple[int, int]) -> tuple[float, ...]:
    """Return height and width of a picture, top and left of its cut, height and width of `size`.

    The cut is counted in pixels of the scaled picture, as diffusers' training script for SDXL does.
    """
    width, height = size
    wide = max(width, height * image.width // image.height)
    high = max(height, width * image.height // image.width)
    top, left = round((high - height) / 2), round((wide - width) / 2)
    return tuple(map(float, (image.height, image.width, top, left, height, width)))


@dataclass(frozen=True)
class Bucketed:
    """Latents of a training set, grouped by size; without buckets there is one group.

    Picture n is row `row[n]` of `parts[bucket[n]]`.
    """

    parts: tuple[Latents, ...]
    bucket: tuple[int, ...]
    row: torch.Tensor

    def of(self, batch: torch.Tensor) -> Latents:
        """Return the latents of the pictures `batch` (indices on the CPU), all of one bucket."""
        part: Latents = self.parts[self.bucket[batch.tolist()[0]]]
        return part.rows(sent(self.row[batch], part.mean.device))


def bucketed(
    base: BaseModel, training_set: TrainingSet, size: tuple[int, int], buckets: bool
) -> Bucketed:
    """Encode the training set's pictures at `size` (width, height), or with `buckets` each at the
    size of about that area whose shape is nearest to its own.

    Reuses latents and raises like `latents_of`.
    """
    images, sizes = training_set.images, [size] * len(training_set.images)
    if buckets:
        known = bucket_sizes(size, base.family.bucket_step(base.pipeline))
        sizes = [nearest(known, image.width, image.height) for image in images]
    used = sorted(set(sizes))
    members = [[n for n, each in enumerate(sizes) if each == bucket] for bucket in used]
    sets = [replace(training_set, images=tuple(images[n] for n in group)) for group in members]
    row = torch.empty(len(images), dtype=torch.long)
    for group in members:
        row[group] = torch.arange(len(group))
    return Bucketed(
        tuple(latents_of(base, part, bucket) for part, bucket in zip(sets, used, strict=True)),
        tuple(used.index(each) for each in sizes),
        row,
    )


def fitted(image: TrainingImage, size: tuple[int, int]) -> Image.Image:
    """Return the RGB picture scaled to cover `size` (width, height) and cut at the centre."""
    return ImageOps.fit(load_pixels(image), size, Image.Resampling.LANCZOS)


@torch.no_grad()
def _encode(
    base: BaseModel, images: Sequence[TrainingImage], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of the pictures' latents."""
    vae = base.pipeline.vae
    batch = max(1, min(_LARGEST_BATCH, _PIXELS_PER_BATCH // (size[0] * size[1])))
    means, stds = [], []
    for start in range(0, len(images), batch):
        pictures = [fitted(image, size) for image in images[start : start + batch]]
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        pixels = pixels.permute(0, 3, 1, 2).to(base.device, vae.dtype) / 127.5 - 1
        mean, std = base.family.encode(vae, pixels)
        means.append(mean)
        stds.append(std)
    mean, std = torch.cat(means), torch.cat(stds)
    if not (mean.isfinite().all() and std.isfinite().all()):
        raise TunerError(
            f"the VAE of base {base.name} gives values that are not finite in {vae.dtype}"
        )
    return mean, std
