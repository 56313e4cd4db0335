"""A trial's settings with the keys, units and values of other trainers.

trainer_keys.yaml has the keys that each trainer's own parser knows.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tuner.export import recipe_ai_toolkit, recipe_kohya, recipe_onetrainer
from tuner.export.recipe_run import PictureFolder, TrainedRun, common_notes
from tuner.models import BaseModel, adapter
from tuner.space import TrainConfig

KEYS: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("trainer_keys.yaml").read_text("utf-8")
)
OUT = Path("out") / "pose.safetensors"
OWN = (PictureFolder(Path("data/1_own"), 20, 1), PictureFolder(Path("data/3_own"), 4, 3))
PRIOR = (PictureFolder(Path("data/1_prior"), 100, 1),)
EVERYTHING: dict[str, Any] = {
    "alias": "mi_cv",
    "rank": 16,
    "alpha": 8.0,
    "use_rslora": True,
    "target_modules": "attention+feed_forward+convolutions",
    "lora_dropout": 0.1,
    "optimizer": "prodigy",
    "learning_rate": 2e-4,
    "text_encoder_ratio": 0.25,
    "schedule": "cosine",
    "warmup_steps": 10,
    "resolution": "512x768",
    "buckets": True,
    "empty_prompt": 0.2,
    "batch_size": 4,
    "gradient_accumulation": 3,
    "min_snr_gamma": 5.0,
    "noise_offset": 0.05,
    "clip_skip": 2,
    "prior_weight": 0.7,
    "shuffle_tags": True,
    "keep_first": 2,
    "tag_dropout": 0.15,
    "first_captions": "gender",
    "seed": 7,
}


def run_of(**train: Any) -> TrainedRun:
    """A run of 24 pictures, 32 in an epoch, over 300 steps, whose last file was scored."""
    config = TrainConfig.model_validate({"resolution": 512, "batch_size": 4, **train})
    prior = PRIOR if config.prior_weight else ()
    return TrainedRun(config, "owner/base", False, False, 300, 300, OWN, prior)


def kohya(run: TrainedRun) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = recipe_kohya.settings(run, Path("pose_dataset.toml"), OUT)
    return (
        tomllib.loads(recipe_kohya.toml(keys)),
        tomllib.loads(recipe_kohya.toml(recipe_kohya.dataset_settings(run)))["datasets"][0],
    )


def process(run: TrainedRun) -> dict[str, Any]:
    job: Any = yaml.safe_load(yaml.safe_dump(recipe_ai_toolkit.settings(run, OUT)))
    return job["config"]["process"][0]  # type: ignore[no-any-return]


def one(run: TrainedRun) -> dict[str, Any]:
    return dict(recipe_onetrainer.settings(run, Path("pose_concepts.json"), OUT))


def known(section: str) -> set[str]:
    return set(KEYS[section])


@pytest.mark.parametrize("train", [{}, EVERYTHING, {"use_dora": True}, {"optimizer": "lion"}])
def test_every_key_is_known_to_the_trainer(train: dict[str, Any]) -> None:
    run = run_of(**train)
    keys, dataset = kohya(run)
    assert keys.keys() <= known("kohya")
    assert dataset.keys() <= known("kohya_dataset")
    assert all(subset.keys() <= known("kohya_subset") for subset in dataset["subsets"])
    parts = process(run)
    for name in ("network", "save", "train", "model"):
        assert parts[name].keys() <= known(f"ai_toolkit_{name}")
    assert all(each.keys() <= known("ai_toolkit_datasets") for each in parts["datasets"])
    training = one(run)
    assert training.keys() <= known("onetrainer")
    assert training["optimizer"].keys() <= known("onetrainer_optimizer")
    for name in ("unet", "text_encoder", "vae"):
        assert training[name].keys() <= known("onetrainer_part")
    for concept in training["concepts"]:
        assert concept.keys() <= known("onetrainer_concept") | {"__version"}
        assert concept["image"].keys() <= known("onetrainer_image")
        assert concept["text"].keys() <= known("onetrainer_text")


def test_strength_rates_and_dropout_of_a_run_with_everything() -> None:
    run = run_of(**EVERYTHING)
    keys, dataset = kohya(run)
    # rsLoRA acts with 8 / sqrt(16) = 2: any trainer's alpha / rank with alpha 32.
    assert (keys["network_dim"], keys["network_alpha"]) == (16, 32.0)
    assert keys["network_args"] == ["conv_dim=16", "conv_alpha=32.0"]
    assert (keys["unet_lr"], keys["text_encoder_lr"]) == (2e-4, 5e-5)
    assert "network_train_unet_only" not in keys
    assert keys["network_dropout"] == 0.1
    assert (keys["clip_skip"], keys["min_snr_gamma"], keys["noise_offset"]) == (2, 5.0, 0.05)
    assert dataset["subsets"][0]["caption_dropout_rate"] == 0.2
    assert dataset["subsets"][0]["caption_tag_dropout_rate"] == 0.15
    assert dataset["subsets"][0]["keep_tokens"] == 3, "the alias and two tags"
    parts = process(run)
    assert parts["network"]["linear_alpha"] == parts["network"]["conv_alpha"] == 32.0
    assert (parts["train"]["lr"], parts["train"]["text_encoder_lr"]) == (2e-4, 5e-5)
    assert parts["datasets"][0]["token_dropout_rate"] == 0.15
    training = one(run)
    assert (training["lora_rank"], training["lora_alpha"]) == (16, 32.0)
    assert training["text_encoder"]["learning_rate"] == 5e-5
    assert training["text_encoder"]["dropout_probability"] == 0.2
    assert training["dropout_probability"] == 0.1
    assert training["text_encoder_layer_skip"] == 1, "layers that are left out, not a layer"
    assert (training["loss_weight_fn"], training["loss_weight_strength"]) == ("MIN_SNR_GAMMA", 5.0)
    assert training["concepts"][0]["text"]["tag_dropout_mode"] == "RANDOM", "FULL drops all at once"


def test_captions_that_only_kohyas_trainer_reads_whole() -> None:
    short = run_of()
    assert "max_token_length" not in kohya(short)[0]
    run = replace(short, chunks=2, zero_snr=True)
    keys = kohya(run)[0]
    assert (keys["max_token_length"], keys["zero_terminal_snr"]) == (150, True)
    assert keys.keys() <= known("kohya")
    for module in (recipe_ai_toolkit, recipe_onetrainer):
        assert any("reads up to 150" in line for line in module.notes(run))
        assert not any("75 tokens" in line for line in module.notes(short))


def test_steps_are_optimizer_steps_in_each_trainers_unit() -> None:
    run = run_of(gradient_accumulation=3, warmup_steps=10)
    keys, _ = kohya(run)
    assert (keys["max_train_steps"], keys["gradient_accumulation_steps"]) == (300, 3)
    assert (keys["lr_scheduler"], keys["lr_warmup_steps"]) == ("constant_with_warmup", 10)
    parts = process(run)
    assert (parts["train"]["steps"], parts["train"]["gradient_accumulation"]) == (300, 3)
    assert "gradient_accumulation_steps" not in parts["train"], "both together are refused"
    assert parts["train"]["lr_scheduler_params"] == {"num_warmup_steps": 10}
    training = one(run)
    # 32 pictures are 8 batches of 4; 300 steps of 3 batches are 112.5 epochs.
    assert (training["epochs"], training["learning_rate_warmup_steps"]) == (113, 30.0)
    assert recipe_onetrainer.epochs_of(run) == (113, 8, 301)
    assert any("113 epochs of 8 batches, 301" in line for line in recipe_onetrainer.notes(run))


def test_regularisation_pictures_take_half_of_the_batches() -> None:
    run = run_of(**EVERYTHING)
    keys, dataset = kohya(run)
    assert (keys["prior_loss_weight"], keys["gradient_accumulation_steps"]) == (0.7, 6)
    # 32 pictures four times, so that the 100 regularisation pictures are all used.
    assert [each["num_repeats"] for each in dataset["subsets"]] == [4, 12, 1]
    assert [each.get("is_reg", False) for each in dataset["subsets"]] == [False, False, True]
    parts = process(run)
    assert (parts["train"]["steps"], parts["train"]["reg_weight"]) == (600, 0.7)
    assert [each.get("is_reg", False) for each in parts["datasets"]] == [False, False, True]
    prior = one(run)["concepts"][-1]
    assert (prior["type"], prior["loss_weight"]) == ("PRIOR_PREDICTION", 0.7)
    assert (prior["balancing"], prior["balancing_strategy"]) == (32.0, "SAMPLES")
    # 64 pictures are 16 batches; 300 steps of 6 batches.
    assert recipe_onetrainer.epochs_of(run) == (113, 16, 301)


def test_fewer_pictures_than_a_batch_still_fill_it() -> None:
    run = run_of(batch_size=48)
    assert [each["num_repeats"] for each in kohya(run)[1]["subsets"]] == [3, 9]  # 96: two batches
    assert [each["balancing"] for each in one(run)["concepts"]] == [2.0, 6.0]
    assert recipe_onetrainer.epochs_of(run) == (300, 1, 300)


def test_defaults_of_the_trainers_that_differ_are_written() -> None:
    training = one(run_of(text_encoder_ratio=1.0))
    assert training["learning_rate_warmup_steps"] == 0.0, "its default is 200"
    assert training["text_encoder"]["stop_training_after_unit"] == "NEVER", "30 epochs"
    assert training["concepts"][0]["image"] == {"enable_crop_jitter": False}
    assert (training["__version"], training["concepts"][0]["__version"]) == (11, 2)
    assert one(run_of(warmup_steps=1))["learning_rate_warmup_steps"] == 1.5, "1.0 means all steps"
    assert one(run_of(shuffle_tags=True))["latent_caching"] is False
    assert one(run_of(shuffle_tags=True, text_encoder_ratio=1.0))["latent_caching"] is True
    assert process(run_of(gradient_checkpointing=False))["train"]["gradient_checkpointing"] is False
    assert kohya(run_of())[0]["network_train_unet_only"] is True


def test_sizes() -> None:
    assert kohya(run_of())[1]["resolution"] == [512, 512]
    assert process(run_of())["datasets"][0]["square_crop"] is True
    assert one(run_of())["aspect_ratio_bucketing"] is False
    wide = run_of(resolution="768x512")
    assert kohya(wide)[1]["resolution"] == [768, 512]
    # Without bucketing OneTrainer fails on such a size.
    assert (one(wide)["resolution"], one(wide)["aspect_ratio_bucketing"]) == ("768x512", True)
    assert process(wide)["datasets"][0]["resolution"] == [627]
    bucketed = kohya(run_of(buckets=True))[1]
    assert (bucketed["min_bucket_reso"], bucketed["max_bucket_reso"]) == (256, 1024)


@pytest.mark.parametrize("layers", recipe_onetrainer._LAYERS)
def test_other_trainers_filters_choose_the_layers_of_the_trial(
    base: BaseModel, layers: str
) -> None:
    """kohya's own network has no filter; what it trains besides is listed."""
    run = run_of(target_modules=layers)
    rules = process(run)["network"]["network_kwargs"]
    for component, model in adapter.models(base).items():
        wanted = set(adapter.targets(model, component, layers))
        # ai-toolkit looks into these classes only, and at 3 x 3 convolutions if `conv` is set.
        inside = ("attentions.", "resnets.", "downsamplers.", "upsamplers.", "self_attn.", "mlp.")
        named = {
            name: layer
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
        }
        assert wanted == {
            name
            for name in named
            if any(part in name for part in inside)
            and any(part in name for part in rules.get("only_if_contains", [""]))
            and not any(part in name for part in rules.get("ignore_if_contains", []))
        }
        if component == "unet":
            parts = str(one(run)["layer_filter"]).split(",")
            assert wanted == {name for name in named if any(part in name for part in parts)}


def test_a_dora_uses_each_trainers_own() -> None:
    run = run_of(use_dora=True, target_modules="attention+feed_forward")
    keys, _ = kohya(run)
    assert keys["network_module"] == "lycoris.kohya"
    assert keys["network_args"] == ["algo=lora", "preset=attn-mlp", "dora_wd=True"]
    assert process(run)["network"]["type"] == "dora"
    assert one(run)["lora_decompose"] is one(run)["lora_decompose_output_axis"] is True
    # ai-toolkit's DoRA stops at a convolution.
    whole = run_of(use_dora=True, target_modules="attention+feed_forward+convolutions")
    assert "conv" not in process(whole)["network"]
    assert "only_if_contains" in process(whole)["network"]["network_kwargs"]


def test_what_does_not_translate_is_listed_by_key() -> None:
    run = run_of(**EVERYTHING)

    def listed(lines: list[str]) -> set[str]:
        return {line.partition(":")[0] for line in lines}

    assert listed(common_notes(run)) == {"first_captions", "optimizer"}
    assert listed(recipe_kohya.notes(run)) >= {"target_modules", "lora_dropout", "prior_weight"}
    assert listed(recipe_ai_toolkit.notes(run)) >= {
        *("text_encoder_ratio", "warmup_steps", "keep_first and alias", "clip_skip"),
        *("resolution", "buckets", "gradient_accumulation", "prior_weight"),
    }
    assert listed(recipe_onetrainer.notes(run)) >= {"steps", "seed", "empty_prompt", "prior_weight"}
    plain = run_of(empty_prompt=0.0, gradient_checkpointing=True)
    assert listed(recipe_onetrainer.notes(plain)) == {"steps", "seed"}
    assert listed(recipe_ai_toolkit.notes(plain)) == {"optimizer"}


def test_seeds_that_numpy_refuses() -> None:
    assert kohya(run_of(seed=2**32 + 5))[0]["seed"] == 5
    assert any(line.startswith("seed") for line in recipe_kohya.notes(run_of(seed=2**32)))


@pytest.mark.parametrize("text", ['a "b" \\ c', "C:\\new\\x", "Zürich 東京", "\t\x7f\n", "😀"])
def test_any_text_is_toml(text: str) -> None:
    assert tomllib.loads(recipe_kohya.toml({"key": text, "list": [text]}))["key"] == text
