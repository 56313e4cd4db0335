"""What a base predicts is read from its files, never guessed against them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, PNDMScheduler
from safetensors import safe_open

from tests.tuner.written_base import checkpoint_shapes, write_weights
from tuner.errors import ConfigError
from tuner.export.single_file import write_single_file
from tuner.models import BaseModel, load_base
from tuner.models.base import _with_prediction
from tuner.models.checkpoint import check_checkpoint, read_checkpoint
from tuner.models.metadata import training_metadata
from tuner.models.stored.families import STABLE_DIFFUSION_15
from tuner.models.stored.prediction import Prediction, scheduler_prediction
from tuner.space import TrainConfig

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
CONTEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
PARTS = {"first_stage_model.x": (1,), "cond_stage_model.transformer.x": (1,)}
VELOCITY_YAML = 'model:\n  params:\n    parameterization: "v"\n'


def checkpoint(
    folder: Path,
    keys: tuple[str, ...] = (),
    yaml: str | None = None,
    metadata: Mapping[str, str] | None = None,
    width: int = 768,
) -> Path:
    shapes = {FIRST: (320, 4, 3, 3), CONTEXT: (320, width), **PARTS} | dict.fromkeys(keys, (0,))
    if yaml is not None:
        (folder / "m.yaml").write_text(yaml)
    return write_weights(folder / "m.safetensors", shapes, "F16", metadata)


def read(path: Path, chosen: str | None = None) -> tuple[bool, bool, str]:
    prediction = read_checkpoint(path).prediction(chosen)
    return prediction.velocity, prediction.zero_snr, prediction.source


@pytest.mark.parametrize(
    ("arguments", "velocity", "zero", "source"),
    [
        ({}, False, False, "the default"),
        ({"yaml": VELOCITY_YAML}, True, False, "m.yaml"),
        ({"yaml": "model: {params: {parameterization: eps}}"}, False, False, "m.yaml"),
        ({"yaml": "study: m\nbase: m.safetensors\n"}, False, False, "the default"),
        ({"keys": ("v_pred",)}, True, False, "key v_pred"),
        ({"keys": ("v_pred", "ztsnr")}, True, True, "keys v_pred and ztsnr"),
        ({"yaml": VELOCITY_YAML, "keys": ("ztsnr",)}, True, True, "ztsnr and m.yaml"),
        ({"metadata": {"modelspec.prediction_type": "v"}}, True, False, "metadata"),
        ({"metadata": {"modelspec.prediction_type": "epsilon"}}, False, False, "metadata"),
        ({"yaml": "model: {params: {}}", "width": 1024}, False, False, "m.yaml"),
        ({"yaml": VELOCITY_YAML, "width": 1024}, True, False, "m.yaml"),
    ],
)
def test_a_checkpoint_is_read_with_what_says_so(
    tmp_path: Path, arguments: dict[str, object], velocity: bool, zero: bool, source: str
) -> None:
    path = checkpoint(tmp_path, **arguments)  # type: ignore[arg-type]
    *kind, place = read(path)
    assert kind == [velocity, zero]
    assert source in place


@pytest.mark.parametrize(
    ("word", "velocity", "zero"),
    [("epsilon", False, False), ("v", True, False), ("v_ztsnr", True, True)],
)
def test_the_search_space_has_the_last_word(
    tmp_path: Path, word: str, velocity: bool, zero: bool
) -> None:
    path = checkpoint(tmp_path, yaml=": broken [")
    assert read(path, word) == (velocity, zero, "base_prediction")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"yaml": ": broken ["}, "m.yaml beside it cannot be read"),
        ({"yaml": "model: {params: {parameterization: x0}}"}, "predicts 'x0'"),
        (
            {"yaml": "model: {params: {parameterization: eps}}", "keys": ("v_pred",)},
            "contradict each other",
        ),
        ({"width": 1024}, "nothing says whether this Stable Diffusion 2.x"),
    ],
)
def test_where_it_stays_unclear_the_way_out_is_named(
    tmp_path: Path, arguments: dict[str, object], words: str
) -> None:
    path = checkpoint(tmp_path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words) as caught:
        read(path)
    assert "set base_prediction: epsilon, v or v_ztsnr" in str(caught.value)


def test_the_configuration_beside_a_checkpoint_counts(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    own = tmp_path / "m"
    (own / "scheduler").mkdir(parents=True)
    (own / "model_index.json").write_text("{}")
    config = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    (own / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    assert read(path)[:2] == (True, True)


def test_a_checkpoint_of_stable_diffusion_is_compared_with_all_its_tensors(tmp_path: Path) -> None:
    whole = checkpoint_shapes(STABLE_DIFFUSION_15)
    assert len(whole) == 686 + 248 + 196
    path = write_weights(tmp_path / "m.safetensors", whole)
    check_checkpoint("m", read_checkpoint(path))
    level = "transformer.text_model."
    shorter = {name.replace(level, "transformer."): shape for name, shape in whole.items()}
    check_checkpoint("m", read_checkpoint(write_weights(path, shorter)))
    name = "first_stage_model.decoder.conv_in.weight"
    write_weights(path, {**whole, name: (512, 16, 3, 3)})
    with pytest.raises(ConfigError, match=r"decoder\.conv_in\.weight of its vae has the shape"):
        check_checkpoint("m", read_checkpoint(path))
    write_weights(path, whole, "U8")
    with pytest.raises(ConfigError, match="quantised"):
        check_checkpoint("m", read_checkpoint(path))


def test_flat_weights_are_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "m.safetensors", {FIRST: (11520,), CONTEXT: (1,), **PARTS})
    with pytest.raises(ConfigError, match="as quantised weights do"):
        read_checkpoint(path)


def test_a_scheduler_says_what_it_was_made_for() -> None:
    assert not scheduler_prediction("b", {}).velocity
    config = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    assert scheduler_prediction("b", config) == Prediction(True, "its scheduler_config.json", True)
    with pytest.raises(ConfigError, match="predicts 'sample', allowed: epsilon"):
        scheduler_prediction("b", {"prediction_type": "sample"})


@pytest.mark.parametrize("kind", [PNDMScheduler, DPMSolverMultistepScheduler])
@pytest.mark.parametrize("zero", [False, True])
def test_training_reads_it_from_any_scheduler(kind: type, zero: bool) -> None:
    scheduler = _with_prediction(kind(beta_start=0.001), Prediction(True, "m.yaml", zero))
    training = DDPMScheduler.from_config(scheduler.config)
    assert training.config.prediction_type == "v_prediction"
    assert training.config.beta_start == 0.001
    assert (float(training.alphas_cumprod[-1]) == 0) == zero


def test_training_sampling_and_exports_agree(tiny_base: Path, tmp_path: Path) -> None:
    base = load_base(str(tiny_base), "cpu", "v_ztsnr")
    assert str(base.prediction).endswith("zero terminal SNR, according to base_prediction")
    metadata = training_metadata(base, TrainConfig(), 1)
    assert metadata["modelspec.prediction_type"] == "v"
    assert metadata["ss_zero_terminal_snr"] == "True"
    base.pipeline.scheduler.save_pretrained(tmp_path / "scheduler")
    written = json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text())
    assert written["prediction_type"] == "v_prediction"
    assert written["rescale_betas_zero_snr"] is True
    write_single_file(tmp_path / "m.safetensors", base.pipeline, {})
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert {"v_pred", "ztsnr"} <= set(file.keys())


def test_a_file_of_a_base_that_predicts_noise_has_no_such_keys(
    base: BaseModel, tmp_path: Path
) -> None:
    write_single_file(tmp_path / "m.safetensors", base.pipeline, {})
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert not {"v_pred", "ztsnr"} & set(file.keys())
