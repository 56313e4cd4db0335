"""Training target of a denoiser, and its loss."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from tuner.errors import ConfigError


def target(
    schedule: DDPMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """Return the value that the UNet is trained to predict, of the shape of `latents`.

    It is the noise itself (Ho et al. 2020, eq. 14) or the velocity (Salimans & Ho 2022, section 4),
    as configured in the base's scheduler. Raises ConfigError for any other prediction type.
    """
    kind = schedule.config.prediction_type
    if kind == "epsilon":
        return noise
    if _is_velocity(schedule):
        velocity: torch.Tensor = schedule.get_velocity(latents, noise, timesteps)
        return velocity
    raise ConfigError(f"the base predicts {kind!r}; allowed are 'epsilon' and 'v_prediction'")


def mean_squared_error(
    prediction: torch.Tensor, goal: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean over pictures, channels and places, in float32; `weights`: one a picture."""
    if weights is None:
        return torch.nn.functional.mse_loss(prediction.float(), goal.float())
    each = (prediction.float() - goal.float()).square().flatten(1).mean(dim=1)
    return (weights * each).mean()


def min_snr_weights(schedule: DDPMScheduler, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return the weight of the loss at each timestep: Min-SNR (Hang et al. 2023, section 3.4).

    Steps with little noise, whose signal-to-noise ratio is above `gamma`, count less.
    """
    ratio = compute_snr(schedule, timesteps)
    capped = ratio.clamp(max=gamma)
    weights: torch.Tensor = capped / (ratio + 1 if _is_velocity(schedule) else ratio)
    return weights


def _is_velocity(schedule: DDPMScheduler) -> bool:
    return bool(schedule.config.prediction_type == "v_prediction")
