"""A diffusers folder is refused for what is wrong with it, from its files alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.tuner.written_base import TEXT_CONFIG, UNET_CONFIG, change, write_folder, write_weights
from tuner.errors import ConfigError, MissingModelError, TunerError
from tuner.models.stored.architecture import text_shapes, unet_shapes, vae_shapes
from tuner.models.stored.families import (
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_15,
    STABLE_DIFFUSION_21,
    STABLE_DIFFUSION_XL_10,
)
from tuner.models.stored.layout import check_folder
from tuner.models.stored.variants import choose_weights
from tuner.storage import shipped

STEM = "diffusion_pytorch_model"
UNET = f"unet/{STEM}.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"
Change = Callable[[Path], object]


@pytest.mark.parametrize(
    "folder",
    [STABLE_DIFFUSION_15, STABLE_DIFFUSION_21, STABLE_DIFFUSION_XL_10, shipped.BASE],
    ids=["sd15", "sd21", "xl", "mannequin"],
)
def test_the_shapes_are_those_of_the_networks(folder: Path) -> None:
    unet, vae, text = (
        json.loads((folder / part / "config.json").read_text())
        for part in ("unet", "vae", "text_encoder")
    )
    with torch.device("meta"):
        pairs = [
            (UNet2DConditionModel.from_config(unet), unet_shapes(unet)),
            (AutoencoderKL.from_config(vae), vae_shapes(vae)),
            (CLIPTextModel(CLIPTextConfig(**text)), text_shapes(text)),
        ]
    if (second := folder / "text_encoder_2" / "config.json").is_file():
        config = json.loads(second.read_text())
        with torch.device("meta"):
            network = CLIPTextModelWithProjection(CLIPTextConfig(**config))
        pairs.append((network, text_shapes(config, projects=True)))
    for network, shapes in pairs:
        own = {
            name.removeprefix("text_model."): tuple(tensor.shape)
            for name, tensor in network.state_dict().items()
        }
        own.pop("embeddings.position_ids", None)
        assert own == shapes


def test_a_whole_folder_is_accepted(tmp_path: Path) -> None:
    checked = check_folder("b", write_folder(tmp_path / "b"))
    assert (checked.variant, checked.layers) == (None, 2)


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def values(name: str, **more: object) -> Change:
    return lambda folder: change(folder / name, **more)


def text(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content)


def renamed(old: str, new: str) -> Change:
    def rename(folder: Path) -> None:
        for path in folder.glob(f"*/*{old}"):
            path.rename(path.with_name(path.name.removesuffix(old) + new))

    return rename


def unet(dtype: str = "F16", **shapes: tuple[int, ...]) -> Change:
    changed = {name.replace("__", "."): shape for name, shape in shapes.items()}
    whole = {**(unet_shapes(UNET_CONFIG) or {}), **changed}
    return lambda folder: write_weights(folder / UNET, whole, dtype)


def cut(folder: Path) -> None:
    path = folder / UNET
    path.write_bytes(path.read_bytes()[:-3])


def short_of_a_tensor(folder: Path) -> None:
    whole = unet_shapes(UNET_CONFIG) or {}
    write_weights(folder / UNET, {name: whole[name] for name in list(whole)[:-1]})


def of_shards(folder: Path) -> None:
    (folder / UNET).unlink()
    named = {"weight_map": {"a": f"{STEM}-00001-of-00002.safetensors"}}
    (folder / f"{UNET}.index.json").write_text(json.dumps(named))


def not_a_number(folder: Path) -> None:
    path = folder / UNET
    content = bytearray(path.read_bytes())
    content[-2:] = b"\x00\x7e"  # the last number of the last tensor, in float16
    path.write_bytes(content)


NINE = values("unet/config.json", in_channels=9)
MISTAKES: dict[str, tuple[Change, str, type[TunerError]]] = {
    "no index": (without("model_index.json"), "there is no such file", ConfigError),
    "broken index": (text("model_index.json", "{"), "the file is broken", ConfigError),
    "index of a list": (text("model_index.json", "[]"), "names no pipeline", ConfigError),
    "inpainting": (
        values("model_index.json", _class_name="StableDiffusionInpaintPipeline"),
        "is a StableDiffusionInpaintPipeline",
        ConfigError,
    ),
    "no vae named": (values("model_index.json", vae=None), "lacks vae", MissingModelError),
    "empty part": (
        values("model_index.json", tokenizer=[None, None]),
        "lacks tokenizer,",
        MissingModelError,
    ),
    "no tokenizer": (without("tokenizer/tokenizer.json"), "lacks tokenizer/", MissingModelError),
    "broken tokenizer": (
        text("tokenizer/tokenizer.json", "{"),
        "tokenizer/tokenizer.json is broken",
        MissingModelError,
    ),
    "no config": (without("vae/config.json"), "lacks vae/config.json", MissingModelError),
    "broken config": (text("vae/config.json", "x"), "vae/config.json is broken", MissingModelError),
    "poor config": (
        values("text_encoder/config.json", hidden_size=None),
        "of different models",
        ConfigError,
    ),
    "no weights": (without(UNET), f"lacks {UNET}", MissingModelError),
    "pickles": (renamed(".safetensors", ".bin"), "pickled weights only", ConfigError),
    "shards": (of_shards, "-00001-of-00002.safetensors, which", MissingModelError),
    "nine channels": (NINE, "9 channels, as models for inpainting do", ConfigError),
    "another vae": (
        values("vae/config.json", latent_channels=16),
        "its VAE has latents of 16 channels",
        ConfigError,
    ),
    "flow": (
        values(SCHEDULER, _class_name="FlowMatchEulerDiscreteScheduler"),
        "for models that predict a flow",
        ConfigError,
    ),
    "short betas": (values(SCHEDULER, trained_betas=[0.1]), "1 trained_betas for", ConfigError),
    "word for a beta": (values(SCHEDULER, beta_end="high"), "not numbers", ConfigError),
    "schedule": (values(SCHEDULER, beta_schedule="sigmoid"), "'sigmoid', allowed", ConfigError),
    "no timesteps": (values(SCHEDULER, num_train_timesteps=0), "timesteps 0, allowed", ConfigError),
    "another width": (
        values("unet/config.json", cross_attention_dim=24),
        "its UNet takes 24",
        ConfigError,
    ),
    "quantised": (
        values("unet/config.json", quantization_config={"load_in_4bit": True}),
        "its unet is quantised",
        ConfigError,
    ),
    "codes": (unet("U8"), "is stored as U8", ConfigError),
    "shape": (unet(conv_in__weight=(8, 9, 3, 3)), "has the shape (8, 9, 3, 3)", ConfigError),
    "tensor": (short_of_a_tensor, "lack 1 of ", MissingModelError),
    "cut": (cut, "broken or not complete", MissingModelError),
    "nan": (not_a_number, "draws pictures that are not finite numbers: unet", ConfigError),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_folder_that_cannot_be_trained_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    spoil, words, kind = MISTAKES[name]
    folder = write_folder(tmp_path / "b")
    spoil(folder)
    with pytest.raises(kind) as caught:
        check_folder("./b", folder)
    message = str(caught.value)
    assert message.startswith("base ./b")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("variant", ["fp16", "non_ema"])
def test_files_of_a_variant_are_opened(tmp_path: Path, variant: str) -> None:
    assert check_folder("b", write_folder(tmp_path / "b", variant)).variant == variant


def test_older_names_of_attention_and_of_the_text_encoder_are_known(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "b")
    config = json.loads((folder / "vae" / "config.json").read_text())
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    shapes = {}
    for name, shape in (vae_shapes(config) or {}).items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        shapes[name] = shape
    write_weights(folder / f"vae/{STEM}.safetensors", shapes)
    prefixed = {f"text_model.{name}": shape for name, shape in text_shapes(TEXT_CONFIG).items()}
    write_weights(folder / "text_encoder/model.safetensors", prefixed)
    check_folder("b", folder)


def test_plain_files_come_first_and_one_variant_serves_all_parts() -> None:
    parts = {"unet": STEM, "vae": STEM, "text_encoder": "model"}
    plain = [f"{part}/{stem}.safetensors" for part, stem in parts.items()]
    half = [name.replace(".safetensors", ".fp16.safetensors") for name in plain]
    assert choose_weights("b", STABLE_DIFFUSION, [*plain, *half])[0] is None
    assert choose_weights("b", STABLE_DIFFUSION, [*half[:1], *plain[1:]])[0] == "fp16"
    shards = [f"unet/{STEM}.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = f"unet/{STEM}.safetensors.index.fp16.json"
    assert choose_weights("b", STABLE_DIFFUSION, [*shards, index, *half[1:]]) == (
        "fp16",
        {"unet": [*shards, index], "vae": half[1:2], "text_encoder": half[2:]},
    )
    with pytest.raises(ConfigError, match="no variant in common"):
        choose_weights("b", STABLE_DIFFUSION, [half[0], half[1].replace("fp16", "bf16"), plain[2]])
