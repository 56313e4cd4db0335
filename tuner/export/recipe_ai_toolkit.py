"""A trial's settings for ai-toolkit: the YAML of a job.

Keys and their meaning are those of ostris/ai-toolkit at 27a03a9 (2026-08):
`toolkit/config_modules.py`, `toolkit/lora_special.py`, `toolkit/optimizer.py`,
`toolkit/scheduler.py`, `jobs/process/BaseSDTrainProcess.py`.
"""

from __future__ import annotations

from pathlib import Path

from tuner.export.recipe_run import WEIGHT_DECAY, PictureFolder, TrainedRun, cut_captions

_LAYERS = {
    "attention": {"only_if_contains": ["attn"]},
    "attention+feed_forward": {"only_if_contains": ["attn", "ff.net", "mlp"]},
    "attention+feed_forward+convolutions": {"ignore_if_contains": ["time_emb_proj"]},
}
"""Parts of the names of the layers with a LoRA, in UNet and text encoder."""

_CONVOLUTIONS = "attention+feed_forward+convolutions"


def settings(run: TrainedRun, output: Path) -> dict[str, object]:
    """Return the job; `output` is the file that it writes, in a folder of the same name.

    Without `network` the job trains the whole weights."""
    process: dict[str, object] = {
        "type": "sd_trainer",
        "training_folder": str(output.parent),
        "device": "cuda:0",
        "training_seed": run.train.seed,
        **({} if run.is_whole else {"network": _network(run)}),
        "save": {"dtype": "float16", "save_every": run.kept_step * _rounds(run)},
        "datasets": [
            *(_dataset(run, folder) for folder in run.pictures),
            *(_dataset(run, folder) | {"is_reg": True} for folder in run.prior),
        ],
        "train": _training(run),
        "model": {
            "name_or_path": run.base,
            "arch": "sdxl" if run.is_xl else "sd2" if run.second else "sd1",
            "is_v_pred": run.velocity,
            **({"vae_dtype": "fp32"} if run.is_xl else {}),
        },
    }
    return {"job": "extension", "config": {"name": output.stem, "process": [process]}}


def notes(run: TrainedRun) -> list[str]:
    """Return a line for each setting that ai-toolkit has not, or understands differently."""
    train = run.train
    kept = "keep_first" if train.alias is None else "keep_first and alias"
    cases = (
        *_optimizer_cases(run),
        cut_captions(run),
        (run.zero_snr, "base: zero terminal SNR cannot be set there; its noise levels are others"),
        *(_whole_cases() if run.is_whole else _network_cases(run)),
        (
            train.shuffle_tags and run.fixed_tags > 0,
            f"{kept}: shuffle_tokens shuffles all tags of a caption, the first ones too; "
            "keep_tokens only holds for token_dropout_rate",
        ),
        (
            not run.is_square,
            f"resolution: one side there, {run.area_side} px for the area of {train.resolution}; "
            "pictures are cut to sides near their own shape",
        ),
        (train.buckets, "buckets: other sizes there; small pictures are not scaled up"),
        (
            run.skipped_layers > 0,
            f"clip_skip: {train.clip_skip} cannot be set; the last layer{' but one' * run.is_xl} "
            "counts",
        ),
        (
            run.is_xl,
            "base: the UNet is told that each picture has its training size and was not cut, in "
            "the trial the file's own size and where it was cut",
        ),
        (
            train.min_snr_gamma is not None and run.velocity,
            "min_snr_gamma: the weights there are those of a base that predicts noise",
        ),
        (
            train.gradient_checkpointing is None,
            "gradient_checkpointing: the trial decided by memory; true is written",
        ),
        (
            bool(run.prior),
            "prior_weight: every second step there is of regularisation pictures alone, so steps "
            "are doubled, and with them the warm-up",
        ),
    )
    return [line for applies, line in cases if applies]


def _optimizer_cases(run: TrainedRun) -> tuple[tuple[bool, str], ...]:
    train = run.train
    return (
        (
            not run.rate_is_shared,
            f"text_encoder_ratio: text_encoder_lr {max(run.text_rates):g} is written, but UNet and "
            f"{'both text encoders are' if run.is_xl else 'text encoder are both'} trained at "
            f"train.lr there{_frozen(run)}",
        ),
        (
            train.schedule == "cosine" and train.warmup_steps > 0,
            f"warmup_steps: {train.warmup_steps} are left out; cosine has no warm-up there",
        ),
        (train.optimizer != "lion", "optimizer: epsilon is 1e-6 there, 1e-8 in the trial"),
        (
            train.gradient_accumulation > 1,
            "gradient_accumulation: gradients are summed there, averaged in the trial",
        ),
    )


def _frozen(run: TrainedRun) -> str:
    """Return the words about a text encoder that the trial leaves as it is beside a trained one."""
    return "; the trial trains one of them" if run.is_xl and 0.0 in run.text_shares else ""


def _network_cases(run: TrainedRun) -> tuple[tuple[bool, str], ...]:
    train = run.train
    return (
        (
            train.use_dora and train.target_modules == _CONVOLUTIONS,
            "target_modules: a DoRA has no convolutions there; they are not trained",
        ),
        (train.use_dora and train.lora_dropout > 0, "lora_dropout: not used for a DoRA there"),
        (
            not train.use_dora and train.lora_dropout > 0,
            "lora_dropout: network.dropout leaves out shares of the LoRA's rank, the trial shares "
            "of its inputs",
        ),
    )


def _whole_cases() -> tuple[tuple[bool, str], ...]:
    return (
        (True, "method: the UNet's embedding of the timestep is not trained there"),
        (
            True,
            "precision: fp32, because bf16 would hold the weights themselves there and lose small "
            "steps; the trial keeps float32 weights and computes in bf16",
        ),
    )


def _rounds(run: TrainedRun) -> int:
    """Return the steps of ai-toolkit for each step of the trial."""
    return 2 if run.prior else 1


def _network(run: TrainedRun) -> dict[str, object]:
    train = run.train
    layers = train.target_modules
    if train.use_dora and layers == _CONVOLUTIONS:
        layers = "attention+feed_forward"
    keys: dict[str, object] = {
        "type": "dora" if train.use_dora else "lora",
        "linear": train.rank,
        "linear_alpha": train.file_alpha,
    }
    if layers == _CONVOLUTIONS:
        keys |= {"conv": train.rank, "conv_alpha": train.file_alpha}
    if train.lora_dropout > 0:
        keys["dropout"] = train.lora_dropout
    return keys | {"network_kwargs": _LAYERS[layers]}


def _dataset(run: TrainedRun, folder: PictureFolder) -> dict[str, object]:
    train = run.train
    return {
        "folder_path": str(folder.path),
        "caption_ext": "txt",
        "num_repeats": folder.repeats,
        "resolution": [run.area_side],
        "buckets": True,
        # Without buckets the trial cuts squares at the centre.
        "square_crop": run.is_square and not train.buckets,
        "bucket_tolerance": run.bucket_step,
        "caption_dropout_rate": train.empty_prompt,
        "shuffle_tokens": train.shuffle_tags,
        "token_dropout_rate": train.tag_dropout,
        "keep_tokens": run.fixed_tags,
        "cache_latents": True,
    }


def _training(run: TrainedRun) -> dict[str, object]:
    train = run.train
    optimizer: dict[str, object] = {"weight_decay": WEIGHT_DECAY}
    if train.optimizer == "prodigy":
        optimizer |= {"use_bias_correction": True, "safeguard_warmup": train.warmup_steps > 0}
    keys: dict[str, object] = {
        "steps": run.steps * _rounds(run),
        "batch_size": train.batch_size,
        # Not gradient_accumulation_steps, which counts each batch as a step.
        "gradient_accumulation": train.gradient_accumulation,
        "gradient_checkpointing": train.gradient_checkpointing is not False,
        "train_unet": True,
        "train_text_encoder": run.trains_text,
        "lr": train.learning_rate,
        "unet_lr": train.learning_rate,
        "optimizer": train.optimizer,
        "optimizer_params": optimizer,
        "lr_scheduler": train.schedule,
        "max_grad_norm": 1.0,
        "noise_scheduler": "ddpm",
        "noise_offset": train.noise_offset,
        # The weights are held in it: bf16 keeps 8 bits, more than a step of 1e-6 changes.
        "dtype": "fp32" if run.is_whole else "bf16",
        "disable_sampling": True,
    }
    if train.schedule == "constant" and train.warmup_steps > 0:
        keys["lr_scheduler"] = "constant_with_warmup"
        keys["lr_scheduler_params"] = {"num_warmup_steps": train.warmup_steps * _rounds(run)}
    if run.trains_text:
        keys["text_encoder_lr"] = max(run.text_rates)
    if train.min_snr_gamma is not None:
        keys["min_snr_gamma"] = train.min_snr_gamma
    if run.prior:
        keys["reg_weight"] = train.prior_weight
    return keys
