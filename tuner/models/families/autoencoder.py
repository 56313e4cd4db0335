"""Latents of the VAE that all families of Stable Diffusion have, scaled as their UNet expects."""

from __future__ import annotations

from typing import Any

import torch


def encode(vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of the latents of `pixels`, which are -1 to 1; both float32."""
    posterior = vae.encode(pixels.to(vae.dtype)).latent_dist
    scale = vae.config.scaling_factor
    return posterior.mean.float() * scale, posterior.std.float() * scale


def decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return the pixels (pictures, 3, height, width) of `latents`, 0 to 1.

    In the VAE's own precision: bfloat16 has only 256 values between 0.5 and 1.
    """
    pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
    shares: torch.Tensor = (pixels.float() / 2 + 0.5).clamp(0, 1)
    return shares
