"""What a LoRA file says about itself, in the words that other programs look for.

`ss_*` are kohya's keys, which A1111, Forge and SD.Next show; `modelspec.*` is Stability AI's
ModelSpec 1.0.1; `tuner.*` are ours. Values are strings. Tags, folders and pictures of the
training set are left out: they tell who is on it.
"""

from __future__ import annotations

from tuner import __version__
from tuner.base_model import BaseModel
from tuner.config import TrainConfig


def training_metadata(base: BaseModel, config: TrainConfig, step: int) -> dict[str, str]:
    """The metadata of a LoRA of `config` after `step` optimizer steps on `base`."""
    width, height = config.size
    text_encoder_rate = config.learning_rate * config.text_encoder_ratio
    second = base.pipeline.unet.config.cross_attention_dim == 1024
    return {
        "ss_v2": str(second),
        "ss_base_model_version": "sd_v2" if second else "sd_v1",
        "ss_sd_model_name": base_name(base),
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.rank),
        "ss_network_alpha": str(config.lora_alpha),
        "ss_network_args": "{}",
        "ss_learning_rate": str(config.learning_rate),
        "ss_unet_lr": str(config.learning_rate),
        "ss_text_encoder_lr": str(text_encoder_rate),
        "ss_optimizer": "torch.optim.AdamW",
        "ss_lr_scheduler": "constant",
        "ss_steps": str(step),
        "ss_max_train_steps": str(step),
        "ss_total_batch_size": str(config.batch_size),
        "ss_resolution": f"({width}, {height})",
        "ss_seed": str(config.seed),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"stable-diffusion-{'v2-512' if second else 'v1'}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": _prediction_type(base),
        "tuner.version": __version__,
        "tuner.captions": config.captions.partition(":")[0],  # not the tags that it lists
        "tuner.empty_prompt": str(config.empty_prompt),
    }


def base_name(base: BaseModel) -> str:
    """The last part of the base's name: a path of this machine is nobody's business."""
    return base.name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _prediction_type(base: BaseModel) -> str:
    kind = base.pipeline.scheduler.config.get("prediction_type", "epsilon")
    return "v" if kind == "v_prediction" else str(kind)
