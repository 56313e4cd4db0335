"""Tell bases that were distilled to draw in few steps (LCM, turbo, lightning) from their settings.

A LoRA that is trained on such a base with the usual loss undoes the distillation. Weights alone do
not show it: a single file with a plain UNet is taken for what it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.errors import ConfigError

_FEW_STEPS = ("LCMScheduler", "TCDScheduler")
_TURBO = ("EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler")

GUIDANCE = "time_embed.cond_proj."
"""The layer of a single file's UNet that takes the guidance, which LCM has distilled into it."""


def sign_of_distillation(unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str | None:
    """Return what in the configurations of UNet and scheduler shows it; None for nothing.

    SDXL-Turbo and SD-Turbo predict noise and begin at the last timestep (`trailing`) with one of
    Euler's samplers; other bases do that only if they predict velocity.
    """
    kind, spacing = scheduler.get("_class_name"), scheduler.get("timestep_spacing")
    if unet.get("time_cond_proj_dim") is not None:
        return "unet/config.json has a time_cond_proj_dim, as LCM has"
    if kind in _FEW_STEPS:
        return f"scheduler_config.json names the {kind}"
    noise = scheduler.get("prediction_type", "epsilon") == "epsilon"
    if kind in _TURBO and spacing == "trailing" and noise:
        return f"scheduler_config.json has the {kind} with timestep_spacing trailing, as turbo has"
    return None


def require_undistilled(base: str, unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
    """Raise ConfigError for a base that was distilled."""
    if sign := sign_of_distillation(unet, scheduler):
        other = "; if it was not, set timestep_spacing to leading there" if "turbo" in sign else ""
        raise ConfigError(
            f"base {base} was distilled to draw in few steps, which training would undo: its "
            f"{sign}; give the base that it was made from{other}"
        )
