"""Settings of a trial of DreamBooth, which trains whole weights, for other trainers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tuner.export.test_recipe_settings import EVERYTHING, known, kohya, one, process, run_of
from tuner.export import recipe_ai_toolkit, recipe_kohya, recipe_onetrainer

WHOLE: dict[str, Any] = {"method": "dreambooth"}


@pytest.mark.parametrize("train", [WHOLE, EVERYTHING | WHOLE | {"use_dora": True}])
def test_whole_weights_have_no_network(train: dict[str, Any]) -> None:
    run = run_of(**train)
    keys, dataset = kohya(run)
    assert keys.keys() <= known("kohya_db")
    assert not [key for key in keys if key.startswith("network") or key == "unet_lr"]
    assert dataset == kohya(run_of(**train | {"method": "lora"}))[1]
    parts = process(run)
    assert "network" not in parts, "its presence makes a LoRA"
    assert parts["train"]["dtype"] == "fp32", "a step of 1e-6 is lost in bf16"
    training = one(run)
    assert training.keys() <= known("onetrainer")
    assert not [key for key in training if key.startswith(("lora_", "peft"))]
    assert (training["training_method"], training["layer_filter"]) == ("FINE_TUNE", "")
    assert training["output_model_format"] == "ORIGINAL_SINGLE_FILE"
    assert training["unet"]["weight_dtype"] == "FLOAT_32"
    # PRIOR_PREDICTION takes the LoRA off, and stops without one.
    assert {concept["type"] for concept in training["concepts"]} == {"STANDARD"}
    for module in (recipe_kohya, recipe_ai_toolkit, recipe_onetrainer):
        lines = module.notes(run)
        assert not [line for line in lines if line.startswith(("lora", "target", "use_dora"))]
        assert not [line for line in lines if "PRIOR_PREDICTION" in line]


def test_rates_of_whole_weights() -> None:
    """kohya's trainer trains the text encoder too, unless it is stopped before the first step."""
    keys = kohya(run_of(**WHOLE, learning_rate=1e-6))[0]
    assert (keys["learning_rate"], keys["stop_text_encoder_training"]) == (1e-6, -1)
    run = run_of(**WHOLE, learning_rate=2e-6, text_encoder_ratio=0.5, gradient_accumulation=2)
    keys = kohya(run)[0]
    assert (keys["learning_rate_te"], "stop_text_encoder_training" in keys) == (1e-6, False)
    assert one(run)["text_encoder"]["learning_rate"] == 1e-6
    assert one(run)["text_encoder"]["weight_dtype"] == "FLOAT_32"
    assert process(run)["train"]["lr"] == 2e-6
    assert any(line.startswith("text_encoder_ratio") for line in recipe_ai_toolkit.notes(run))
    assert any(line.startswith("gradient_acc") for line in recipe_kohya.notes(run))
