"""The small autoencoder: 64 px pictures to latents of 4 x 16 x 16 and back.

A LoRA cannot teach what the autoencoder cannot redraw: its reconstructions limit everything else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from tuner.mannequin.building.fit import Fit
from tuner.models.base import multiplies_bfloat16

BATCH = 16
PEAK_RATE = 1.5e-3


def new_vae(channels: tuple[int, ...] = (32, 64, 64)) -> AutoencoderKL:
    """Return an untrained AutoencoderKL of factor 4 with 4 latent channels."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=64,
    )


def train_vae(images: npt.NDArray[np.uint8], steps: int, seed: int, state: Path) -> AutoencoderKL:
    """Train on pictures (N, H, W, 3) uint8; set `scaling_factor` for latents of std 1."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vae = new_vae().to(device)
    fit = Fit(vae, steps, PEAK_RATE, state, average=0.995)
    half = multiplies_bfloat16(device)
    for _ in fit.steps(seed):
        pixels = to_pixels(images[torch.randint(len(images), (BATCH,)).numpy()]).to(device)
        if torch.rand(()) < 0.5:
            pixels = pixels.flip(-1)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            latents = vae.encode(pixels).latent_dist
            redrawn = vae.decode(latents.sample()).sample
        fit.descend(_redraw_loss(redrawn.float(), pixels) + 1e-6 * latents.kl().mean())
    fit.finish()
    with torch.no_grad():
        probe = vae.encode(to_pixels(images[:256]).to(device)).latent_dist.mean
    vae.register_to_config(scaling_factor=round(1 / float(probe.std()), 5))
    return vae.cpu()


def to_pixels(images: npt.NDArray[np.uint8]) -> Tensor:
    """Convert pictures (N, H, W, 3) uint8 to a tensor (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _redraw_loss(redrawn: Tensor, pixels: Tensor) -> Tensor:
    """Return L1 of pictures and of their gradients at three scales: judges depend on edges."""
    loss = functional.l1_loss(redrawn, pixels)
    for _ in range(3):
        for axis in (-1, -2):
            loss = loss + functional.l1_loss(redrawn.diff(dim=axis), pixels.diff(dim=axis))
        redrawn, pixels = functional.avg_pool2d(redrawn, 2), functional.avg_pool2d(pixels, 2)
    return loss
