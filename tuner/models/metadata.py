"""Metadata of a LoRA file, in the keys that other programs read.

`ss_*` are kohya's keys, which A1111, Forge and SD.Next show; `modelspec.*` is Stability AI's
ModelSpec 1.0.1; `tuner.*` are ours. Values are strings. Folders, pictures and all tags of the
training set but the alias are left out: they reveal who is in the pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from tuner import __version__
from tuner.models.base import BaseModel
from tuner.models.clip_tokenizer import CHUNK
from tuner.space import TrainConfig

_OPTIMIZERS = {
    "adamw": "torch.optim.AdamW",
    "adamw8bit": "bitsandbytes.optim.AdamW8bit",
    "prodigy": "prodigyopt.Prodigy",
    "lion": "tuner.training.optimizers.Lion",
}


def training_metadata(base: BaseModel, config: TrainConfig, step: int) -> dict[str, str]:
    """Return the metadata of a file of `config` after `step` optimizer steps on `base`."""
    width, height = config.size
    rates = [config.learning_rate * config.shares[name] for name in base.encoders]
    family = dict(base.family.metadata(base.pipeline))
    if config.method == "lora":
        family["modelspec.architecture"] += "/lora"
    return (_network(config) if config.method == "lora" else {}) | {
        **family,
        "ss_sd_model_name": base_name(base),
        "ss_learning_rate": str(config.learning_rate),
        "ss_unet_lr": str(config.learning_rate),
        "ss_text_encoder_lr": str(rates[0] if len(set(rates)) == 1 else rates),
        "ss_optimizer": _OPTIMIZERS[config.optimizer],
        "ss_lr_scheduler": _scheduler(config),
        "ss_lr_warmup_steps": str(config.warmup_steps),
        "ss_gradient_accumulation_steps": str(config.gradient_accumulation),
        "ss_gradient_checkpointing": str(config.gradient_checkpointing is True),
        "ss_min_snr_gamma": str(config.min_snr_gamma),
        "ss_zero_terminal_snr": str(_has_zero_snr(base)),
        "ss_noise_offset": str(config.noise_offset or None),
        "ss_clip_skip": str(config.clip_skip if config.clip_skip > 1 else None),
        "ss_prior_loss_weight": str(config.prior_weight),
        "ss_steps": str(step),
        "ss_max_train_steps": str(step),
        "ss_total_batch_size": str(config.batch_size),
        "ss_enable_bucket": str(config.buckets),
        "ss_resolution": f"({width}, {height})",
        "ss_seed": str(config.seed),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.implementation": "diffusers",
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": _prediction_type(base),
        "modelspec.encoder_layer": str(config.clip_skip),
        "tuner.version": __version__,
        "tuner.captions": config.captions.partition(":")[0],  # not the tags that it lists
        "tuner.empty_prompt": str(config.empty_prompt),
        "tuner.method": config.method,
    }


DORA_FOR = "tuner.dora_for"
"""Key of a DoRA file whose scales are made for another program and one base."""

RUN_KEYS = (
    "ss_num_train_images",
    "ss_num_reg_images",
    "ss_epoch",
    "ss_mixed_precision",
    "ss_max_token_length",
)
"""Keys that only the training run knows; an export copies them from the trained file."""


def run_metadata(
    config: TrainConfig,
    step: int,
    pictures: int,
    prior_pictures: int,
    precision: str,
    chunks: int = 1,
) -> dict[str, str]:
    """Return the metadata of RUN_KEYS after `step` optimizer steps.

    `pictures` counts a picture as often as it is repeated, as kohya's trainer counts;
    `prior_pictures` are the regularisation pictures. `precision` is no, fp16 or bf16. `chunks` of
    75 tokens hold the longest caption; kohya's trainer writes None for one of them.
    """
    trained_on = step * config.batch_size * config.gradient_accumulation
    epochs = math.ceil(trained_on / max(pictures, 1))
    longest = chunks * CHUNK if chunks > 1 else None
    values = (pictures, prior_pictures, epochs, precision, longest)
    return {key: str(value) for key, value in zip(RUN_KEYS, values, strict=True)}


def chunks_in(metadata: Mapping[str, str]) -> int:
    """Return the number of chunks of 75 tokens that a file was trained with; 1 without the key."""
    text = metadata.get("ss_max_token_length", "")
    return int(text) // CHUNK if text in ("150", "225") else 1


def network_arguments(
    convolutions: tuple[int, float] | None, *, dora: bool = False
) -> dict[str, str]:
    """Return the metadata `ss_network_module` and `ss_network_args`, as kohya's trainer has them.

    `convolutions` are rank and alpha of the convolutions, None if the LoRA changes none. A DoRA
    has the module of LyCORIS, since kohya's own knows none; its lengths are those of the outputs.
    """
    arguments: dict[str, str] = {}
    if dora:
        arguments |= {"algo": "lora", "dora_wd": "True", "wd_on_output": "True"}
    if convolutions is not None:
        rank, alpha = convolutions
        arguments |= {"conv_dim": str(rank), "conv_alpha": str(alpha)}
    return {
        "ss_network_module": "lycoris.kohya" if dora else "networks.lora",
        "ss_network_args": json.dumps(arguments),
    }


def clip_skip_in(metadata: Mapping[str, str]) -> int:
    """Return the layer of the text encoder, from the last (1), that a file was trained with.

    kohya's key has it, or None for the last layer; a file without the key means the last too.
    """
    text = metadata.get("ss_clip_skip", "")
    return int(text) if text.isdecimal() and len(text) <= 2 and int(text) > 0 else 1


def adapter_settings(text: str) -> Mapping[str, object] | None:
    """Return PEFT's settings, which diffusers writes into a header as JSON; None if unreadable."""
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def base_name(base: BaseModel) -> str:
    """Return the last part of the base's name: a path of this machine is private."""
    return base.name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _network(config: TrainConfig) -> dict[str, str]:
    convolutional = "convolutions" in config.target_modules
    convolutions = (config.rank, config.file_alpha) if convolutional else None
    return network_arguments(convolutions, dora=config.use_dora) | {
        "ss_network_dim": str(config.rank),
        "ss_network_alpha": str(config.file_alpha),
        "ss_network_dropout": str(config.lora_dropout or None),
        "tuner.target_modules": config.target_modules,
        "tuner.use_dora": str(config.use_dora),
        "tuner.use_rslora": str(config.use_rslora),
    }


def _scheduler(config: TrainConfig) -> str:
    warmed = config.schedule == "constant" and config.warmup_steps > 0
    return "constant_with_warmup" if warmed else config.schedule


def _has_zero_snr(base: BaseModel) -> bool:
    return bool(base.pipeline.scheduler.config.get("rescale_betas_zero_snr", False))


def _prediction_type(base: BaseModel) -> str:
    kind = base.pipeline.scheduler.config.get("prediction_type", "epsilon")
    return "v" if kind == "v_prediction" else str(kind)
