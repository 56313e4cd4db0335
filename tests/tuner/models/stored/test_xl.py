"""Stable Diffusion XL as it lies on a disk: accepted whole, refused for what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.tuner.exact_xl import exact_pipeline, exact_shapes
from tests.tuner.written_base import change, write_weights
from tuner.errors import ConfigError, MissingModelError, TunerError
from tuner.models.checkpoint import check_checkpoint, read_checkpoint
from tuner.models.clip_tokenizer import shipped_tokenizers
from tuner.models.stored.architecture import Shape
from tuner.models.stored.families import STABLE_DIFFUSION_XL, STABLE_DIFFUSION_XL_10
from tuner.models.stored.layout import check_folder
from tuner.models.stored.variants import choose_weights
from tuner.space.sizes import native_size

Change = Callable[[Path], object]
UNET = "unet/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
FIRST = "model.diffusion_model.input_blocks.0.0.weight"
LABELS = "model.diffusion_model.label_emb.0.0.weight"
VAE = {"first_stage_model.x": (1,)}
TEXT = {"conditioner.embedders.0.transformer.x": (1,)}
TEXT_2 = {"conditioner.embedders.1.model.x": (1,)}
WHOLE: dict[str, Shape] = {FIRST: (320, 4, 3, 3), LABELS: (1280, 2816), **VAE, **TEXT, **TEXT_2}


@pytest.fixture(scope="module")
def exact() -> dict[str, Shape]:
    return exact_shapes()


def values(name: str, **more: object) -> Change:
    return lambda folder: change(folder / name, **more)


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_a_whole_folder_is_accepted(tiny_xl: Path) -> None:
    checked = check_folder("b", tiny_xl)
    assert (checked.layout, checked.variant, checked.layers) == (STABLE_DIFFUSION_XL, None, 3)
    assert native_size(str(tiny_xl)) == 64


EULER = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
MISTAKES: dict[str, tuple[Change, str, type[TunerError]]] = {
    "inpainting": (
        values("model_index.json", _class_name="StableDiffusionXLInpaintPipeline"),
        "a model for inpainting: give the model that it was made from",
        ConfigError,
    ),
    "nine channels": (values(UNET, in_channels=9), "9 channels, as models for inp", ConfigError),
    "refiner": (
        values("model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline"),
        "give the base, such as stabilityai/stable-diffusion-xl-base-1.0",
        ConfigError,
    ),
    "refiner's sizes": (
        values(UNET, projection_class_embeddings_input_dim=24 + 5 * 8),
        "(its refiner has 5)",
        ConfigError,
    ),
    "no sizes": (values(UNET, addition_embed_type=None), "takes nothing beside text", ConfigError),
    "second encoder": (
        lambda folder: shutil.rmtree(folder / "text_encoder_2"),
        "lacks text_encoder_2",
        MissingModelError,
    ),
    "second tokenizer": (
        lambda folder: shutil.rmtree(folder / "tokenizer_2"),
        "lacks tokenizer_2",
        MissingModelError,
    ),
    "widths": (
        values("text_encoder/config.json", hidden_size=24),
        "its text encoders give 48 numbers for each token, its UNet takes 40",
        ConfigError,
    ),
    "other latents": (
        values(UNET, in_channels=16),
        "draws from 16 channels, as models with other latents do",
        ConfigError,
    ),
    "lcm": (values(UNET, time_cond_proj_dim=256), "time_cond_proj_dim, as LCM has", ConfigError),
    "lcm's sampler": (
        values(SCHEDULER, _class_name="LCMScheduler"),
        "scheduler_config.json names the LCMScheduler",
        ConfigError,
    ),
    "turbo": (
        values(
            SCHEDULER,
            _class_name="EulerAncestralDiscreteScheduler",
            **{"timestep_spacing": "trailing"},
        ),
        "was distilled to draw in few steps, which training would undo",
        ConfigError,
    ),
    "sd turbo": (values(SCHEDULER, **EULER), "give the base that it was made from", ConfigError),
    "flow": (
        values(SCHEDULER, _class_name="FlowMatchEulerDiscreteScheduler"),
        "for models that predict a flow",
        ConfigError,
    ),
    "edm": (
        values(SCHEDULER, _class_name="EDMDPMSolverMultistepScheduler"),
        "for models with EDM's noise levels",
        ConfigError,
    ),
    "nf4": (
        values("text_encoder_2/config.json", quantization_config={"load_in_4bit": True}),
        "its text_encoder_2 is quantised",
        ConfigError,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_folder_that_cannot_be_trained_is_refused(
    tiny_xl: Path, tmp_path: Path, name: str
) -> None:
    spoil, words, kind = MISTAKES[name]
    folder = copied(tiny_xl, tmp_path / "b")
    spoil(folder)
    with pytest.raises(kind) as caught:
        check_folder("./b", folder)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_velocity_may_begin_at_the_last_timestep(tiny_xl: Path, tmp_path: Path) -> None:
    folder = copied(tiny_xl, tmp_path / "b")
    change(folder / SCHEDULER, **EULER, prediction_type="v_prediction")
    assert check_folder("b", folder).scheduler["prediction_type"] == "v_prediction"


def test_half_precision_comes_first(tiny_xl: Path, tmp_path: Path) -> None:
    plain = [f"{part}/{stem}.safetensors" for part, stem in STABLE_DIFFUSION_XL.stems.items()]
    half = [name.replace(".safetensors", ".fp16.safetensors") for name in plain]
    assert choose_weights("b", STABLE_DIFFUSION_XL, plain)[0] is None
    variant, files = choose_weights("b", STABLE_DIFFUSION_XL, [*plain, *half[:1]])
    assert (variant, files["unet"], files["vae"]) == ("fp16", half[:1], plain[1:2])


def test_the_exact_checkpoint_is_accepted_with_what_its_file_has_more(
    tmp_path: Path, exact: dict[str, Shape]
) -> None:
    """sd_xl_base_1.0.safetensors has 2515 tensors."""
    assert len(exact) == 2515
    path = write_weights(tmp_path / "m.safetensors", exact)
    file = read_checkpoint(path)
    assert (file.layout, file.config) == (STABLE_DIFFUSION_XL, STABLE_DIFFUSION_XL_10)
    check_checkpoint("m", file)
    assert file.layers == 12
    assert not file.prediction(None).velocity
    assert "the default of Stable Diffusion XL" in str(file.prediction(None))
    assert native_size(str(path)) == 1024
    padding = [each.pad_token_id for each in shipped_tokenizers(file.layout, file.config).values()]
    assert padding == [49407, 0]


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("conditioner.embedders.1.model.text_projection", (1280, 1024), "of its text encoder 2"),
        ("conditioner.embedders.1.model.ln_final.weight", None, "text encoder 2 lack 1 of"),
        (LABELS, (1280, 2560), "label_emb.0.0.weight of its unet has the shape"),
        (
            "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias",
            None,
            "text encoder lack 1 of",
        ),
        ("first_stage_model.decoder.conv_in.weight", (512, 16, 3, 3), "of its vae has the shape"),
    ],
)
def test_a_tensor_of_another_shape_is_refused(
    tmp_path: Path, exact: Mapping[str, Shape], name: str, shape: Shape | None, words: str
) -> None:
    there = {**exact, name: shape}
    kept = {name: shape for name, shape in there.items() if shape is not None}
    file = read_checkpoint(write_weights(tmp_path / "m.safetensors", kept))
    with pytest.raises((ConfigError, MissingModelError), match=words):
        check_checkpoint("m", file)


@pytest.mark.parametrize(
    ("keys", "zero"), [(("v_pred",), False), (("v_pred", "ztsnr"), True)], ids=["v", "ztsnr"]
)
def test_velocity_is_read_from_the_keys_of_noobai(
    tmp_path: Path, exact: Mapping[str, Shape], keys: tuple[str, ...], zero: bool
) -> None:
    file = read_checkpoint(
        write_weights(tmp_path / "m.safetensors", {**exact, **dict.fromkeys(keys, (0,))})
    )
    prediction = file.prediction(None)
    assert (prediction.velocity, prediction.zero_snr) == (True, zero)


def without(*parts: Mapping[str, Shape]) -> dict[str, Shape]:
    return {name: WHOLE[name] for name in WHOLE if not any(name in part for part in parts)}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (without(VAE), "has no VAE, but the UNet of a Stable Diffusion XL; give the whole"),
        (without(TEXT), "has no text encoder,"),
        (without(TEXT_2), "has no text encoder 2,"),
        (without(VAE, TEXT, TEXT_2), "has no VAE and no text encoder, but the UNet of a Stable D"),
        ({**WHOLE, FIRST: (320, 9, 3, 3)}, "9 channels, as models for inpainting do"),
        ({**WHOLE, FIRST: (320, 16, 3, 3)}, "16 channels, as models with other latents do"),
        ({**WHOLE, "conditioner.embedders.0.model.x": (1,)}, "is the refiner of Stable Diffusion"),
        (
            {**WHOLE, "model.diffusion_model.time_embed.cond_proj.weight": (320, 256)},
            "was distilled to draw in few steps (LCM)",
        ),
        (
            without(TEXT, TEXT_2) | {"cond_stage_model.model.x": (1,)},
            "takes a picture or a class beside the text, as unCLIP does",
        ),
        ({**WHOLE, "edm_mean": (1,)}, "was trained with the noise levels of EDM"),
        ({**WHOLE, f"{LABELS}.absmax": (1,)}, "is quantised"),
        ({**WHOLE, "scaled_fp8": (0,)}, "plain float8 weights"),
        ({"model.diffusion_model.joint_blocks.0.x": (1,), **VAE}, "is a Stable Diffusion 3;"),
        ({"double_blocks.0.img_attn.x": (1,)}, "is a Flux;"),
        (without() | {FIRST: (64, 4, 3, 3)}, "of another size than Stable Diffusion XL"),
    ],
)
def test_a_file_that_is_no_base_is_named_as_what_it_is(
    tmp_path: Path, shapes: Mapping[str, Shape], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_checkpoint(write_weights(tmp_path / "m.safetensors", shapes))
    assert words in str(caught.value)


def test_a_configuration_of_another_family_beside_a_file_is_refused(
    tmp_path: Path, tiny_base: Path
) -> None:
    copied(tiny_base, tmp_path / "m")
    (tmp_path / "m" / "text_encoder_2").symlink_to(tiny_base / "text_encoder")
    file = read_checkpoint(write_weights(tmp_path / "m.safetensors", WHOLE))
    with pytest.raises(ConfigError, match="its tensors are those of Stable Diffusion XL, its conf"):
        check_checkpoint("m", file)


def test_native_sizes_of_hub_ids(
    tiny_xl: Path, hub_cache: Callable[[Path, str, str], None]
) -> None:
    assert native_size("stabilityai/stable-diffusion-xl-base-1.0") == 1024
    assert native_size("Laxhar/noobai-XL-1.1") == 1024
    assert native_size("owner/name@v1") == 512
    hub_cache(tiny_xl, "owner/name", "v1")
    assert native_size("owner/name@v1") == 64


def test_the_shipped_settings_are_those_of_the_published_base() -> None:
    """Counts of parameters as published with stabilityai/stable-diffusion-xl-base-1.0."""
    networks = vars(exact_pipeline())
    counts = [sum(one.numel() for one in network.parameters()) for network in networks.values()]
    assert counts == [2_567_463_684, 83_653_863, 123_060_480, 694_659_840]
    index = json.loads((STABLE_DIFFUSION_XL_10 / "model_index.json").read_text())
    assert index["force_zeros_for_empty_prompt"] is True
    unet = json.loads((STABLE_DIFFUSION_XL_10 / UNET).read_text())
    assert (unet["sample_size"], unet["addition_time_embed_dim"]) == (128, 256)
    vae = json.loads((STABLE_DIFFUSION_XL_10 / "vae" / "config.json").read_text())
    assert (vae["scaling_factor"], vae["force_upcast"]) == (0.13025, True)
    assert unet["attention_head_dim"] == [5, 10, 20]
