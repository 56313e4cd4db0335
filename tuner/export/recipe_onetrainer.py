"""A trial's settings for OneTrainer: the JSON of a training with its concepts.

Keys and their meaning are those of Nerogar/OneTrainer at 23df383 (2026-08):
`modules/util/config/TrainConfig.py` and `ConceptConfig.py`, `modules/util/create.py`,
`modules/trainer/GenericTrainer.py`; of batches those of Nerogar/mgds at 3a6994a (2026-07).
"""

from __future__ import annotations

import math
from pathlib import Path

from tuner.export.recipe_run import WEIGHT_DECAY, PictureFolder, TrainedRun, cut_captions, used
from tuner.text import counted

_VERSION, _CONCEPT_VERSION = 11, 2
"""Versions of the formats: a file without them is read as one of the first version."""

_OPTIMIZERS = {"adamw": "ADAMW", "adamw8bit": "ADAMW_8BIT", "prodigy": "PRODIGY", "lion": "LION"}
_LAYERS = {
    "attention": "attn",
    "attention+feed_forward": "attn,ff.net",
    "attention+feed_forward+convolutions": "attn,ff.net,proj_in,proj_out,conv1,conv2,"
    "conv_shortcut,samplers.",
}
"""Parts of the names of the UNet's layers with a LoRA."""


def settings(run: TrainedRun, concept_file: Path, output: Path) -> dict[str, object]:
    """Return the training; `concept_file` holds its concepts once more, `output` is the result.

    `scripts/train.py` reads the concepts in the training, the window those in `concept_file`.
    """
    train, epochs = run.train, epochs_of(run)[0]
    return {
        "__version": _VERSION,
        "training_method": "FINE_TUNE" if run.is_whole else "LORA",
        "model_type": _model_type(run),
        "base_model_name": run.base,
        "workspace_dir": str(output.parent / "workspace"),
        "cache_dir": str(output.parent / "cache"),
        "output_model_destination": str(output),
        "output_model_format": "ORIGINAL_SINGLE_FILE" if run.is_whole else "KOHYA_LORA",
        "output_dtype": "FLOAT_16",
        "train_dtype": "BFLOAT_16",
        "concept_file_name": str(concept_file),
        "concepts": concepts(run),
        "samples": [],
        "resolution": _resolution(run),
        # Without buckets only squares can be trained, with a fixed size one size only.
        "aspect_ratio_bucketing": train.buckets or not run.is_square,
        # Cached captions would be shuffled once and for all.
        "latent_caching": not train.captions_vary or run.trains_text,
        "learning_rate": train.learning_rate,
        "learning_rate_scheduler": train.schedule.upper(),
        "learning_rate_warmup_steps": _warmup(run),
        "learning_rate_min_factor": 0.0,
        "epochs": epochs,
        "batch_size": train.batch_size,
        "gradient_accumulation_steps": run.accumulation,
        "clip_grad_norm": 1.0,
        "optimizer": _optimizer(run),
        "loss_weight_fn": "CONSTANT" if train.min_snr_gamma is None else "MIN_SNR_GAMMA",
        "loss_weight_strength": train.min_snr_gamma or 5.0,
        "offset_noise_weight": train.noise_offset,
        "force_v_prediction": run.velocity and not run.second,
        "rescale_noise_scheduler_to_zero_terminal_snr": run.zero_snr,
        **_layers(run),
        "unet": _part(run, train.learning_rate),
        **_text_encoders(run),
        "vae": {"weight_dtype": "FLOAT_32"},
    }


def concepts(run: TrainedRun) -> list[dict[str, object]]:
    """Return the concepts: one for each folder of pictures."""
    repeated, samples = _epoch(run)
    own = [
        _concept(run, folder) | {"balancing": float(folder.repeats * repeated)}
        for folder in run.pictures
    ]
    prior = [
        _concept(run, folder)
        | {
            # The other type needs a LoRA, which it takes off.
            "type": "STANDARD" if run.is_whole else "PRIOR_PREDICTION",
            "balancing": float(count),
            "balancing_strategy": "SAMPLES",
            "loss_weight": run.train.prior_weight,
        }
        for folder, count in zip(run.prior, samples, strict=True)
    ]
    return own + prior


def epochs_of(run: TrainedRun) -> tuple[int, int, int]:
    """Return the epochs that make at least the run's steps, their batches, and their steps."""
    repeated, samples = _epoch(run)
    pictures = used(run.pictures) * repeated + sum(samples)
    batches = pictures // run.train.batch_size
    epochs = math.ceil(run.steps * run.accumulation / batches)
    return epochs, batches, epochs * batches // run.accumulation


def notes(run: TrainedRun) -> list[str]:
    """Return a line for each setting that OneTrainer has not, or understands differently."""
    train = run.train
    epochs, batches, steps = epochs_of(run)
    fewer = "; fewer where a bucket does not fill a batch, which is left out" * train.buckets
    prior = (
        "PRIOR_PREDICTION trains towards the base's own prediction, the trial towards the pictures "
        "(type STANDARD does that); "
    ) * (not run.is_whole)
    area = "" if run.is_square else f"; {run.area_side} px are the area of {train.resolution}"
    cases = (
        (
            True,
            f"steps: it counts epochs; {counted(epochs, 'epoch')} of {batches} "
            f"batch{'es' * (batches != 1)}, {counted(steps, 'optimizer step')} in all "
            f"(trial: {run.steps}){fewer}",
        ),
        (True, f"seed: {train.seed} orders the pictures only; nothing else has a seed there"),
        (
            train.empty_prompt > 0,
            f"empty_prompt: text_encoder.dropout_probability {train.empty_prompt:g} replaces the "
            "text encoder's output by zeros"
            f"{', each of the two by itself' * run.is_xl}; the trial encodes the empty prompt",
        ),
        cut_captions(run),
        (
            not run.is_whole and run.trains_text and train.target_modules == "attention",
            "target_modules: all layers of the text encoder are trained there, not its attention "
            "alone",
        ),
        (
            train.lora_dropout > 0 and not (train.use_dora or run.is_whole),
            "lora_dropout: dropout_probability leaves out shares of the LoRA's rank, the trial "
            "shares of its inputs",
        ),
        (
            train.buckets,
            "buckets: other sizes there, with sides of multiples of "
            f"{64 if run.is_xl else 8} px{area}",
        ),
        (
            train.gradient_checkpointing is None,
            "gradient_checkpointing: the trial decided by memory; true is written",
        ),
        (
            bool(run.prior),
            f"prior_weight: {prior}batches hold both kinds of pictures, so "
            "gradient_accumulation_steps is doubled; the loss is their mean, not their sum",
        ),
    )
    return [line for applies, line in cases if applies]


def _epoch(run: TrainedRun) -> tuple[int, list[int]]:
    """Return how often an epoch repeats the pictures, and its pictures of each prior folder."""
    count = used(run.pictures)
    # A batch that is not full is left out, so an epoch has at least one.
    repeated = math.ceil(run.train.batch_size / count)
    wanted, all_prior = count * repeated, used(run.prior)
    shares = [folder.count * folder.repeats / all_prior for folder in run.prior]
    return repeated, [max(1, round(wanted * share)) for share in shares]


def _concept(run: TrainedRun, folder: PictureFolder) -> dict[str, object]:
    train = run.train
    return {
        "__version": _CONCEPT_VERSION,
        "name": folder.path.name,
        "path": str(folder.path),
        "seed": train.seed % 2**30,
        "enabled": True,
        "type": "STANDARD",
        "include_subdirectories": False,
        "balancing": 1.0,
        "balancing_strategy": "REPEATS",
        "loss_weight": 1.0,
        "image": {"enable_crop_jitter": False},
        "text": {
            "prompt_source": "sample",
            "tag_delimiter": ",",
            "keep_tags_count": run.fixed_tags,
            "enable_tag_shuffling": train.shuffle_tags,
            "tag_dropout_enable": train.tag_dropout > 0,
            "tag_dropout_mode": "RANDOM",
            "tag_dropout_probability": train.tag_dropout,
        },
    }


def _model_type(run: TrainedRun) -> str:
    if run.is_xl:
        return "STABLE_DIFFUSION_XL_10_BASE"
    if not run.second:
        return "STABLE_DIFFUSION_15"
    return "STABLE_DIFFUSION_21" if run.velocity else "STABLE_DIFFUSION_21_BASE"


def _resolution(run: TrainedRun) -> str:
    width, height = run.train.size
    return str(run.area_side) if run.is_square or run.train.buckets else f"{width}x{height}"


def _warmup(run: TrainedRun) -> float:
    """Return the warm-up in batches; a number up to 1 would be a share of the training there."""
    batches = run.train.warmup_steps * run.accumulation
    return 1.5 if batches == 1 else float(batches)


def _layers(run: TrainedRun) -> dict[str, object]:
    """Return the layers that are trained, and their LoRAs; an empty filter is all layers."""
    train = run.train
    if run.is_whole:
        return {"layer_filter": "", "layer_filter_preset": "full", "layer_filter_regex": False}
    return {
        "dropout_probability": train.lora_dropout,
        "peft_type": "LORA",
        "lora_rank": train.rank,
        "lora_alpha": train.file_alpha,
        "lora_decompose": train.use_dora,
        # PEFT's DoRA has one length for each output.
        "lora_decompose_output_axis": train.use_dora,
        "layer_filter": _LAYERS[train.target_modules],
        "layer_filter_preset": "attn-only" if train.target_modules == "attention" else "custom",
        "layer_filter_regex": False,
    }


def _part(run: TrainedRun, rate: float) -> dict[str, object]:
    return {
        "train": rate > 0,
        "learning_rate": rate,
        # Weights that are trained themselves lose small steps in bf16.
        "weight_dtype": "FLOAT_32" if run.is_whole and rate > 0 else "BFLOAT_16",
        "gradient_checkpointing": run.train.gradient_checkpointing is not False,
    }


def _text_encoders(run: TrainedRun) -> dict[str, object]:
    """Return the settings of one text encoder, or of both of Stable Diffusion XL."""
    keys: dict[str, object] = {}
    for name, rate in zip(("text_encoder", "text_encoder_2"), run.text_rates, strict=False):
        # By default it stops being trained after 30 epochs.
        keys[name] = _part(run, rate) | {
            "dropout_probability": run.train.empty_prompt,
            "stop_training_after": 0,
            "stop_training_after_unit": "NEVER",
        }
        keys[f"{name}_layer_skip"] = run.skipped_layers
    return keys


def _optimizer(run: TrainedRun) -> dict[str, object]:
    keys: dict[str, object] = {
        "optimizer": _OPTIMIZERS[run.train.optimizer],
        "weight_decay": WEIGHT_DECAY,
        "stochastic_rounding": False,
    }
    if run.train.optimizer == "prodigy":
        keys |= {
            "decouple": True,
            "use_bias_correction": True,
            "safeguard_warmup": run.train.warmup_steps > 0,
        }
    return keys
