"""The prediction type of a base: noise (epsilon) or velocity (v), and the evidence for it.

A UNet of either kind has the same weights' names and shapes, and one that is taken for the other
draws noise. Training, sampling and exports all use the type that is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tuner.errors import ConfigError
from tuner.models.stored.weight_files import Header, deviation

_VELOCITY = ("v", "v_prediction", "v-prediction", "v_pred", "vpred", "velocity")
_NOISE = ("eps", "epsilon", "noise")
_ZERO_SNR = ("ztsnr", "zero_terminal_snr", "rescale_betas_zero_snr")
_SECOND_NORM = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_SECOND_DEVIATION = 0.09
"""Above it a Stable Diffusion 2.x predicts velocity; the rule of ComfyUI (supported_models.py)."""

_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
"""The schedules of betas that every sampler of the suite knows."""

_MOST_YAML = 1_000_000
_WAY_OUT = "set base_prediction: epsilon, v or v_ztsnr in the search space"


@dataclass(frozen=True)
class Prediction:
    """The value that a UNet predicts, and where that was read.

    `zero_snr` is True if it was trained with zero terminal SNR (Lin et al. 2023), which only a
    UNet that predicts velocity can learn.
    """

    velocity: bool
    source: str
    zero_snr: bool = False

    def __str__(self) -> str:
        """Return the type in words with its source."""
        zero = " with zero terminal SNR" if self.zero_snr else ""
        kind = f"velocity (v-prediction){zero}" if self.velocity else "noise (epsilon)"
        return f"predicts {kind}, according to {self.source}"

    @property
    def as_scheduler(self) -> dict[str, Any]:
        """The settings of a scheduler of diffusers that say the same."""
        kind = "v_prediction" if self.velocity else "epsilon"
        return {"prediction_type": kind, "rescale_betas_zero_snr": self.zero_snr}


def chosen_prediction(word: str | None) -> Prediction | None:
    """Return the prediction that `base_prediction` names; None: it is read from the base."""
    if word is None:
        return None
    return Prediction(word != "epsilon", "base_prediction", word == "v_ztsnr")


def require_alike(other: str, its: Prediction | None, study: Prediction | None) -> None:
    """Raise ConfigError if LoRAs of the study's base cannot be used on the base `other`.

    None stands for a base whose files are not here yet.
    """
    if its and study and its.velocity != study.velocity:
        raise ConfigError(
            f"also_sample_on {other}: it {its}, while the study's base {study}, so no LoRA of the "
            "one fits the other; leave it out"
        )


def scheduler_prediction(base: str, config: Mapping[str, Any]) -> Prediction:
    """Return the prediction that a scheduler's configuration names.

    Raises ConfigError for another type than epsilon and v_prediction.
    """
    kind = config.get("prediction_type", "epsilon")
    source = "its scheduler_config.json"
    if "prediction_type" not in config:
        source = "the default, as its scheduler_config.json names none"
    velocity = _is_velocity(base, kind, "scheduler_config.json")
    return Prediction(velocity, source, velocity and bool(config.get("rescale_betas_zero_snr")))


def require_noise_levels(base: str, config: Mapping[str, Any]) -> None:
    """Raise ConfigError if a scheduler's configuration has noise levels that no sampler can use.

    Training draws timesteps up to `num_train_timesteps`, which the noise levels have to reach.
    """
    kind = str(config.get("_class_name"))
    steps, betas = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    ends = [config.get("beta_start", 0.0001), config.get("beta_end", 0.02)]
    schedule = config.get("beta_schedule", "linear")
    numbers = betas if isinstance(betas, list) else ends
    if "FlowMatch" in kind:
        reason = f"the {kind}, for models that predict a flow, allowed: noise and velocity"
    elif kind.startswith("EDM"):
        reason = f"the {kind}, for models with EDM's noise levels, allowed: those of betas"
    elif not isinstance(steps, int) or steps < 1:
        reason = f"num_train_timesteps {steps!r}, allowed: a whole number from 1"
    elif not all(isinstance(number, int | float) and 0 <= number <= 1 for number in numbers):
        reason = "noise levels (betas) that are not numbers between 0 and 1"
    elif isinstance(betas, list) and len(betas) != steps:
        reason = f"{len(betas)} trained_betas for {steps} timesteps"
    elif betas is None and schedule not in _SCHEDULES:
        reason = f"beta_schedule {schedule!r}, allowed: {', '.join(_SCHEDULES)}"
    else:
        return
    raise ConfigError(
        f"base {base}: its scheduler_config.json has {reason}; fetch it again, or give another base"
    )


def file_prediction(
    base: str, path: Path, header: Header, own: Mapping[str, Any] | None, kind: str, second: bool
) -> Prediction:
    """Return the prediction of a checkpoint file of the `kind` of base, which people know.

    In this order: the `.yaml` beside the file, its keys `v_pred` and `ztsnr` and its own scheduler
    configuration `own`, which have to agree; its metadata; the weights of a Stable Diffusion 2.x
    (`second`); epsilon. Raises ConfigError if they contradict each other or cannot be read.
    """
    clear = [_of_keys(header)]
    text = _of_yaml(base, path)
    if text is not None and text.source:
        clear.append(text)
    if own is not None and "prediction_type" in own:
        clear.append(scheduler_prediction(base, own))
    certain = [each for each in clear if each is not None]
    if len({each.velocity for each in certain}) > 1:
        said = "; ".join(f"it {each}" for each in certain)
        raise ConfigError(f"base {base}: its files contradict each other: {said}; {_WAY_OUT}")
    if certain:
        sources = " and ".join(each.source for each in certain)
        return Prediction(certain[0].velocity, sources, any(each.zero_snr for each in certain))
    told = _of_metadata(base, header)
    if told is not None:
        return told
    if text is not None:  # latent-diffusion's own default
        return Prediction(False, f"{path.with_suffix('.yaml').name}, which names no other")
    return _by_weights(base, header) if second else Prediction(False, f"the default of {kind}")


def _by_weights(base: str, header: Header) -> Prediction:
    """Return what a Stable Diffusion 2.x predicts, which the size of its weights shows."""
    norm = header.tensors.get(_SECOND_NORM)
    width = None if norm is None else deviation(norm)
    if width is None:
        raise ConfigError(
            f"base {base}: nothing says whether this Stable Diffusion 2.x predicts noise or "
            f"velocity; {_WAY_OUT}"
        )
    return Prediction(width > _SECOND_DEVIATION, "its weights, by ComfyUI's rule for 2.x")


def _of_keys(header: Header) -> Prediction | None:
    there = [key for key in ("v_pred", "ztsnr") if key in header.tensors]
    if not there:
        return None
    return Prediction(
        True, f"its key{'s' * (len(there) - 1)} {' and '.join(there)}", "ztsnr" in there
    )


def _of_metadata(base: str, header: Header) -> Prediction | None:
    for key in ("modelspec.prediction_type", "modelspec.predict_key"):
        if text := header.metadata.get(key):
            zero = header.metadata.get("ss_zero_terminal_snr") == "True"
            velocity = _is_velocity(base, text, f"its metadata, {key}")
            return Prediction(velocity, f"its metadata ({key})", velocity and zero)
    return None


def _of_yaml(base: str, path: Path) -> Prediction | None:
    """Return what latent-diffusion's configuration beside the file says; None if there is none.

    A configuration without a parameterization gives an empty source.
    """
    for file in (path.with_suffix(".yaml"), path.with_suffix(".yml")):
        if not file.is_file():
            continue
        params = _params(base, file)
        if params is None:
            continue
        kind = params.get("parameterization")
        if kind is None:
            return Prediction(False, "")
        velocity = _is_velocity(base, kind, file.name)
        zero = velocity and any(params.get(key) is True for key in _ZERO_SNR)
        return Prediction(velocity, f"{file.name} beside it", zero)
    return None


def _params(base: str, file: Path) -> dict[str, Any] | None:
    """Return `model.params` of a configuration; None for another YAML, such as a search space."""
    try:
        if file.stat().st_size > _MOST_YAML:
            return None
        whole = yaml.safe_load(file.read_text("utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"base {base}: {file.name} beside it cannot be read ({reason}); mend or move it, or "
            f"{_WAY_OUT}"
        ) from error
    model = whole.get("model") if isinstance(whole, dict) else None
    params = model.get("params") if isinstance(model, dict) else None
    return params if isinstance(params, dict) else None


def _is_velocity(base: str, kind: object, source: str) -> bool:
    word = str(kind).strip().lower()
    if word not in (*_VELOCITY, *_NOISE):
        raise ConfigError(
            f"base {base}: {source} says that it predicts {kind!r}, allowed: epsilon and "
            f"v_prediction; if that is wrong, {_WAY_OUT}"
        )
    return word in _VELOCITY
