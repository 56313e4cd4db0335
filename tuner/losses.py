"""What a denoiser should predict, and how far it is from it."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler

from tuner.errors import ConfigError


def target(
    schedule: DDPMScheduler,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
) -> torch.Tensor:
    """The value that the UNet is trained to predict, of the shape of `latents`.

    The noise itself (Ho et al. 2020, eq. 14) or the velocity (Salimans & Ho 2022, section 4),
    as the base's scheduler says. Raises ConfigError for any other prediction type.
    """
    kind = schedule.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        velocity: torch.Tensor = schedule.get_velocity(latents, noise, timesteps)
        return velocity
    raise ConfigError(f"the base predicts {kind!r}; known are 'epsilon' and 'v_prediction'")


def mean_squared_error(prediction: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Mean over pictures, channels and places, in float32."""
    return torch.nn.functional.mse_loss(prediction.float(), goal.float())
