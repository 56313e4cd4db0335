"""A trial's settings for kohya's trainer: the TOML of `--config_file`, and its dataset TOML.

Keys and their meaning are those of kohya-ss/sd-scripts at 48d368f (2026-02): `train_network.py`,
`train_db.py` for whole weights, `sdxl_train_network.py`, `sdxl_train.py` and
`library/sdxl_train_util.py` for Stable Diffusion XL, `library/train_util.py`,
`library/config_util.py`,
`networks/lora.py`; for DoRA those of KohakuBlueleaf/LyCORIS at f49d30d (2025-10),
`lycoris/kohya.py` and `lycoris/config.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from tuner.export.recipe_run import (
    LARGEST_SEED,
    WEIGHT_DECAY,
    PictureFolder,
    TrainedRun,
    used,
)
from tuner.models.clip_tokenizer import CHUNK

_OPTIMIZERS = {"adamw": "AdamW", "adamw8bit": "AdamW8bit", "prodigy": "Prodigy", "lion": "Lion"}
_PRESETS = {
    "attention": "attn-only",
    "attention+feed_forward": "attn-mlp",
    "attention+feed_forward+convolutions": "full",
}
"""LyCORIS's presets of layers."""

_CONVOLUTIONS = "attention+feed_forward+convolutions"


def settings(run: TrainedRun, dataset: Path, output: Path) -> dict[str, object]:
    """Return the keys of `--config_file`; `dataset` is the dataset TOML, `output` the result."""
    train = run.train
    warmed = train.schedule == "constant" and train.warmup_steps > 0
    keys: dict[str, object] = {
        "pretrained_model_name_or_path": run.base,
        "dataset_config": str(dataset),
        "output_dir": str(output.parent),
        "output_name": output.stem,
        "save_model_as": "safetensors",
        "save_precision": "fp16",
        "mixed_precision": "bf16",
        "sdpa": True,
        "cache_latents": True,
    }
    keys |= {"v2": True} if run.second else {}
    keys |= {"no_half_vae": True} if run.is_xl else {}
    keys |= {"v_parameterization": True} if run.velocity else {}
    keys |= {"zero_terminal_snr": True} if run.zero_snr else {}
    keys |= {"max_token_length": run.chunks * CHUNK} if run.chunks > 1 else {}
    keys |= {} if run.is_whole else _network(run)
    keys |= _rates(run)
    keys |= {
        "optimizer_type": _OPTIMIZERS[train.optimizer],
        "optimizer_args": _optimizer_args(run),
        # kohya's trainer refuses `constant` with a warm-up.
        "lr_scheduler": "constant_with_warmup" if warmed else train.schedule,
        "lr_warmup_steps": train.warmup_steps,
        "max_grad_norm": 1.0,
        "max_train_steps": run.steps,
        "train_batch_size": train.batch_size,
        "gradient_accumulation_steps": run.accumulation,
        "seed": train.seed % (LARGEST_SEED + 1),
    }
    if run.steps != run.kept_step:
        keys["save_every_n_steps"] = run.kept_step
    if train.gradient_checkpointing is not False:
        keys["gradient_checkpointing"] = True
    if train.min_snr_gamma is not None:
        keys["min_snr_gamma"] = train.min_snr_gamma
    if train.noise_offset > 0:
        keys["noise_offset"] = train.noise_offset
    if train.clip_skip > 1 and not run.is_xl:
        keys["clip_skip"] = train.clip_skip
    if run.prior and not _ignores_prior(run):
        keys["prior_loss_weight"] = train.prior_weight
    return keys


def script(run: TrainedRun) -> str:
    """Return the name of the script that reads the settings."""
    if run.is_xl:
        return "sdxl_train.py" if run.is_whole else "sdxl_train_network.py"
    return "train_db.py" if run.is_whole else "train_network.py"


def _ignores_prior(run: TrainedRun) -> bool:
    """Return True for the script that weighs all pictures alike."""
    return run.is_xl and run.is_whole


def dataset_settings(run: TrainedRun) -> dict[str, object]:
    """Return the tables of the dataset TOML."""
    train = run.train
    width, height = train.size
    dataset: dict[str, object] = {
        "resolution": [width, height],
        "batch_size": train.batch_size,
        "enable_bucket": train.buckets,
    }
    if train.buckets:
        side, step = math.sqrt(width * height), run.bucket_step
        dataset |= {
            "min_bucket_reso": math.ceil(side / 2 / step) * step,
            "max_bucket_reso": int(2 * side / step) * step,
            "bucket_reso_steps": step,
            "bucket_no_upscale": False,
        }
    repeated = _repeated(used(run.pictures), used(run.prior), train.batch_size)
    own = [_subset(run, folder, folder.repeats * repeated) for folder in run.pictures]
    prior = [_subset(run, folder, folder.repeats) | {"is_reg": True} for folder in run.prior]
    return {"datasets": [dataset | {"subsets": own + prior}]}


def notes(run: TrainedRun) -> list[str]:
    """Return a line for each setting that kohya's trainer has not, or understands differently."""
    train = run.train
    cases = (
        *(() if run.is_whole else _network_cases(run)),
        *(_xl_cases(run) if run.is_xl else ()),
        (
            run.is_whole and run.accumulation > 1 and run.trains_text and not run.is_xl,
            "gradient_accumulation: train_db.py warns that it may be wrong where UNet and text "
            "encoder are both trained",
        ),
        (
            train.seed > LARGEST_SEED,
            f"seed: {train.seed} is above {LARGEST_SEED}; its remainder is written",
        ),
        (
            train.gradient_checkpointing is None,
            "gradient_checkpointing: the trial decided by memory; true is written",
        ),
        (
            bool(run.prior),
            "prior_weight: batches hold training and regularisation pictures together, so "
            "gradient_accumulation_steps is doubled; the loss is the mean of both, not their sum",
        ),
    )
    return [line for applies, line in cases if applies]


def _xl_cases(run: TrainedRun) -> tuple[tuple[bool, str], ...]:
    train = run.train
    first, second = run.text_rates
    return (
        (
            not run.is_whole and first != second,
            f"text_encoder_2_ratio: both text encoders are trained at text_encoder_lr there, "
            f"{first or second:g}; in the trial at {first:g} and {second:g}",
        ),
        (
            train.clip_skip > 2,
            f"clip_skip: {train.clip_skip} has no effect there; the last layer but one counts",
        ),
        (
            run.velocity,
            "base: the trainer warns that v_parameterization is unexpected here, and uses it",
        ),
        (
            bool(run.prior) and _ignores_prior(run),
            "prior_weight: sdxl_train.py weighs regularisation pictures like the others",
        ),
    )


def toml(tables: Mapping[str, object]) -> str:
    """Return settings as TOML: plain values, lists of them, and lists of tables."""
    return "".join(_toml_lines(tables, ""))


def _network(run: TrainedRun) -> dict[str, object]:
    train, arguments = run.train, []
    if train.use_dora:
        arguments = ["algo=lora", f"preset={_PRESETS[train.target_modules]}", "dora_wd=True"]
    if train.target_modules == _CONVOLUTIONS:
        arguments += [f"conv_dim={train.rank}", f"conv_alpha={train.file_alpha}"]
    keys: dict[str, object] = {
        "network_module": "lycoris.kohya" if train.use_dora else "networks.lora",
        "network_dim": train.rank,
        "network_alpha": train.file_alpha,
    }
    if arguments:
        keys["network_args"] = arguments
    if train.lora_dropout > 0:
        keys["network_dropout"] = train.lora_dropout
    return keys


def _rates(run: TrainedRun) -> dict[str, object]:
    rate, text_encoder_rate = run.train.learning_rate, max(run.text_rates)
    if run.is_whole and run.is_xl:
        first, second = run.text_rates
        if not run.trains_text:
            return {"learning_rate": rate}
        text = {"learning_rate_te1": first, "learning_rate_te2": second}
        return {"learning_rate": rate, "train_text_encoder": True, **text}
    if run.is_whole:
        # Without these keys train_db.py trains the text encoder too, at the UNet's rate.
        part = "learning_rate_te" if text_encoder_rate > 0 else "stop_text_encoder_training"
        return {"learning_rate": rate, part: text_encoder_rate or -1}
    keys: dict[str, object] = {"learning_rate": rate, "unet_lr": rate}
    if run.trains_text:
        return keys | {"text_encoder_lr": run.text_rates[0] or text_encoder_rate}
    return keys | {"network_train_unet_only": True}


def _network_cases(run: TrainedRun) -> tuple[tuple[bool, str], ...]:
    train = run.train
    extra = {
        "attention": "the feed-forward layers and the projections of the transformers; with the "
        'package lycoris-lora, network_module = "lycoris.kohya" and network_args = ["algo=lora", '
        '"preset=attn-only"] train the attention alone',
        "attention+feed_forward": "the projections into and out of the transformers",
        _CONVOLUTIONS: "the residual blocks' projections of the timestep",
    }[train.target_modules]
    return (
        (not train.use_dora, f"target_modules: networks.lora also trains {extra}"),
        (train.use_dora, "use_dora: needs the package lycoris-lora beside kohya's trainer"),
        (
            train.use_dora and train.target_modules == _CONVOLUTIONS,
            "target_modules: LyCORIS's preset full also trains conv_in, conv_out and the "
            "embeddings of the timestep",
        ),
        (
            train.use_dora and train.lora_dropout > 0,
            "lora_dropout: LyCORIS does not use it for a DoRA",
        ),
        (
            not train.use_dora and train.lora_dropout > 0,
            "lora_dropout: network_dropout leaves out shares of the LoRA's rank, the trial shares "
            "of its inputs",
        ),
    )


def _optimizer_args(run: TrainedRun) -> list[str]:
    arguments = [f"weight_decay={WEIGHT_DECAY}"]
    if run.train.optimizer == "prodigy":
        safeguard = run.train.warmup_steps > 0
        arguments += ["use_bias_correction=True", f"safeguard_warmup={safeguard}"]
    return arguments


def _subset(run: TrainedRun, folder: PictureFolder, repeats: int) -> dict[str, object]:
    train = run.train
    return {
        "image_dir": str(folder.path),
        "caption_extension": ".txt",
        "num_repeats": repeats,
        "shuffle_caption": train.shuffle_tags,
        "keep_tokens": run.fixed_tags,
        "caption_dropout_rate": train.empty_prompt,
        "caption_tag_dropout_rate": train.tag_dropout,
    }


def _repeated(count: int, prior: int, batch: int) -> int:
    """Return how often an epoch repeats its `count` pictures.

    Fewer pictures than a batch fill whole batches, as in the trial, where the trainer would make
    the batch smaller. And the trainer uses as many regularisation as training pictures in an epoch.
    """
    whole = 1 if count >= batch else math.lcm(count, batch) // count
    return max(whole, math.ceil(prior / count))


def _toml_lines(table: Mapping[str, object], name: str) -> list[str]:
    lines, below = [], []
    for key, value in table.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = f"{name}{key}"
            for each in value:
                below += [f"\n[[{inner}]]\n", *_toml_lines(each, f"{inner}.")]
        else:
            lines.append(f"{key} = {_toml_value(value)}\n")
    return lines + below


def _toml_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(each) for each in value)}]"
    # JSON writes these values as TOML does, but for one character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
