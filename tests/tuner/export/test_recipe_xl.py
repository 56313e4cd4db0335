"""Settings of a trial on Stable Diffusion XL for other trainers."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.export.test_recipe import CHOICE, out_of, study
from tests.tuner.export.test_recipe_settings import EVERYTHING, known, kohya, one, process, run_of
from tuner.export import recipe_ai_toolkit, recipe_kohya, recipe_onetrainer
from tuner.export.recipe import _is_xl, write_recipe
from tuner.export.recipe_run import TrainedRun, common_notes

BOTH: dict[str, Any] = {"text_encoder_ratio": 0.25, "text_encoder_2_ratio": 0.0, "resolution": 1024}
WHOLE: dict[str, Any] = {"method": "dreambooth", "learning_rate": 2e-6, **BOTH}


def xl(**train: Any) -> TrainedRun:
    return replace(run_of(**train), is_xl=True)


def listed(lines: list[str]) -> set[str]:
    return {line.partition(":")[0] for line in lines}


@pytest.mark.parametrize("train", [{}, EVERYTHING, BOTH, WHOLE, EVERYTHING | WHOLE])
def test_every_key_is_known_to_the_trainer(train: dict[str, Any]) -> None:
    run = xl(**train)
    keys, dataset = kohya(run)
    network = known("kohya") | known("kohya_xl")
    whole = (known("kohya_db") - known("kohya_not_xl_db")) | known("kohya_xl_db")
    assert keys.keys() <= (whole if run.is_whole else network)
    assert dataset.keys() <= known("kohya_dataset")
    parts = process(run)
    assert parts["train"].keys() <= known("ai_toolkit_train")
    assert parts["model"].keys() <= known("ai_toolkit_model")
    training = one(run)
    assert training.keys() <= known("onetrainer")
    for name in ("unet", "text_encoder", "text_encoder_2", "vae"):
        assert training[name].keys() <= known("onetrainer_part")


def test_the_model_is_named_and_its_vae_is_float32() -> None:
    run = replace(xl(), velocity=True, zero_snr=True)
    keys = kohya(run)[0]
    assert keys["no_half_vae"] is keys["v_parameterization"] is keys["zero_terminal_snr"] is True
    assert "v2" not in keys
    assert recipe_kohya.script(run) == "sdxl_train_network.py"
    assert recipe_kohya.script(xl(**WHOLE)) == "sdxl_train.py"
    model = process(run)["model"]
    assert (model["arch"], model["is_v_pred"], model["vae_dtype"]) == ("sdxl", True, "fp32")
    training = one(run)
    assert training["model_type"] == "STABLE_DIFFUSION_XL_10_BASE"
    assert training["force_v_prediction"] is True
    assert training["vae"] == {"weight_dtype": "FLOAT_32"}
    assert "no_half_vae" not in kohya(run_of())[0]
    assert "vae_dtype" not in process(run_of())["model"]


def test_both_text_encoders_have_their_rates() -> None:
    run = xl(**BOTH, learning_rate=2e-4)
    training = one(run)
    assert (training["text_encoder"]["train"], training["text_encoder_2"]["train"]) == (True, False)
    assert training["text_encoder"]["learning_rate"] == 5e-5
    # kohya's LoRA has one rate for both.
    assert kohya(run)[0]["text_encoder_lr"] == 5e-5
    assert "text_encoder_2_ratio" in listed(recipe_kohya.notes(run))
    assert any("at 5e-05 and 0" in line for line in recipe_kohya.notes(run))
    (line,) = [line for line in recipe_ai_toolkit.notes(run) if line.startswith("text_encoder_r")]
    assert line.endswith("encoders are trained at train.lr there; the trial trains one of them")
    alike = xl(text_encoder_ratio=0.25, learning_rate=2e-4)
    assert one(alike)["text_encoder_2"]["learning_rate"] == 5e-5
    assert "text_encoder_2_ratio" not in listed(recipe_kohya.notes(alike))
    second = xl(text_encoder_2_ratio=0.5, learning_rate=2e-4)
    assert kohya(second)[0]["text_encoder_lr"] == 1e-4
    frozen = xl()
    assert kohya(frozen)[0]["network_train_unet_only"] is True
    assert process(frozen)["train"]["train_text_encoder"] is False
    assert one(frozen)["text_encoder_2"]["train"] is False
    assert "text_encoder_2" not in one(run_of())


def test_rates_of_whole_weights() -> None:
    keys = kohya(xl(**WHOLE))[0]
    assert keys["train_text_encoder"] is True
    assert (keys["learning_rate"], keys["learning_rate_te1"], keys["learning_rate_te2"]) == (
        2e-6,
        5e-7,
        0.0,
    )
    frozen = kohya(xl(**WHOLE | {"text_encoder_ratio": 0.0}))[0]
    assert not [key for key in frozen if "text_encoder" in key or "_te" in key]
    prior = xl(**WHOLE, prior_weight=0.5)
    assert "prior_loss_weight" not in kohya(prior)[0]
    assert any(line.endswith("like the others") for line in recipe_kohya.notes(prior))


@pytest.mark.parametrize(("clip_skip", "skipped"), [(1, 0), (2, 0), (3, 1)])
def test_the_layer_is_counted_from_the_bases_own(clip_skip: int, skipped: int) -> None:
    run = xl(clip_skip=clip_skip)
    training = one(run)
    assert training["text_encoder_layer_skip"] == training["text_encoder_2_layer_skip"] == skipped
    assert "clip_skip" not in kohya(run)[0], "the trainer does not use it"
    for module in (recipe_kohya, recipe_ai_toolkit):
        assert ("clip_skip" in listed(module.notes(run))) == bool(skipped)


def test_buckets_and_sizes_that_the_unet_is_told() -> None:
    run = xl(resolution=1024, buckets=True)
    dataset = kohya(run)[1]
    sides = [dataset[f"{name}_bucket_reso"] for name in ("min", "max")]
    assert (sides, dataset["bucket_reso_steps"]) == ([512, 2048], 64)
    assert any("multiples of 64 px" in line for line in recipe_onetrainer.notes(run))
    assert any("where it was cut" in line for line in recipe_ai_toolkit.notes(run))
    assert not any("where it was cut" in line for line in recipe_ai_toolkit.notes(run_of()))


def test_quality_tags_that_other_trainers_shuffle() -> None:
    rated = replace(xl(shuffle_tags=True), rates_quality=True)
    assert "captions" in listed(common_notes(rated))
    assert "captions" not in listed(common_notes(replace(rated, rates_quality=False)))
    assert "captions" not in listed(common_notes(replace(xl(), rates_quality=True)))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, True),
        ({"ss_base_model_version": "sd_v1"}, False),
        ({}, False),
    ],
)
def test_the_trained_file_says_what_it_was_trained_on(
    header: dict[str, str], expected: bool
) -> None:
    assert _is_xl(header, "owner/sdxl-by-name-only") is expected


def test_a_recipe_of_a_trained_file(tmp_path: Path) -> None:
    header = {"ss_base_model_version": "sdxl_base_v1-0", "modelspec.prediction_type": "v"}
    folder = study(tmp_path, header, resolution=1024, buckets=True, shuffle_tags=True)
    rated = folder.root.parents[1] / "data" / "4_b" / "0.txt"
    rated.write_text("masterpiece, 1girl, solo, red dress")
    out = out_of(tmp_path, "kohya")
    report = write_recipe(folder, CHOICE, "kohya", out)
    assert any("launch sdxl_train_network.py --config_file" in line for line in report.lines)
    assert any(line.startswith("captions: tags of quality") for line in report.lines)
    keys = tomllib.loads(out.read_text("utf-8"))
    assert keys["no_half_vae"] is keys["v_parameterization"] is True
