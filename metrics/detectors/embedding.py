"""A picture as one vector, by a network that the user names: open_clip, DINOv2 or SSCD.

A model is named as

- `NAME/PRETRAINED` of open_clip, or a folder with an open_clip model, as for the gender judge;
- a folder or hub id of a transformers model whose first token represents the picture, such as
  `facebook/dinov2-small` (Oquab et al. 2023), in safetensors;
- a `.safetensors` file with the torchvision weights of SSCD's ResNet-50 (Pizzi et al. 2022,
  github.com/facebookresearch/sscd-copy-detection).

Nothing is unpickled and no code of a model's own is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file
from torchvision.models import resnet50
from torchvision.transforms.functional import normalize, pil_to_tensor, resize

from metrics.contract import Image
from metrics.detectors.models import ModelUnavailableError
from metrics.detectors.open_clip import CONFIG_FILE, ZeroShotClassifier

BATCH = 32
SSCD_SIDE = 320
"""Pixels: SSCD recommends a square of this side for pictures of any shape."""

_SSCD_WIDTH, _SSCD_POWER = 512, 3.0
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")

_Embed = Callable[[Sequence[Image]], torch.Tensor]


class PictureEmbedding:
    """Network that turns whole pictures into unit vectors. Close it after use."""

    def __init__(self, model: str) -> None:
        """Load `model`, named in one of the forms above.

        Raises ModelUnavailableError if it is missing, cannot be fetched or does not fit.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._open_clip: ZeroShotClassifier | None = None
        self._embed: _Embed
        if Path(model).suffix in _PICKLES:
            raise ModelUnavailableError(
                f"{model}: pickled weights can run code; write them as safetensors first, for SSCD "
                "safetensors.torch.save_file(torch.load('sscd_disc_mixup.torchvision.pt', "
                "weights_only=True), 'sscd.safetensors')"
            )
        if Path(model).suffix == ".safetensors":
            self._embed = _sscd(model, self._device)
        elif _is_open_clip(model):
            self._open_clip = ZeroShotClassifier(model)
        else:
            self._embed = _transformer(model, self._device)

    def __call__(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """Return the pictures' unit vectors, shape (pictures, d)."""
        if self._open_clip is not None:
            return self._open_clip.embed_pictures(images)
        with torch.inference_mode():
            rows = torch.nn.functional.normalize(self._embed(images).float(), dim=-1)
        return np.asarray(rows.cpu().numpy(), np.float32)

    def close(self) -> None:
        """Release the weights."""
        if self._open_clip is not None:
            self._open_clip.close()
        else:
            del self._embed


def _is_open_clip(model: str) -> bool:
    if Path(model).is_dir():
        return (Path(model) / CONFIG_FILE).is_file()
    return model.partition("/")[0] in open_clip.list_models()


def _sscd(file: str, device: torch.device) -> _Embed:
    """Load ResNet-50 with generalised-mean pooling of power 3 and a linear layer to 512 values."""
    network: Any = resnet50(weights=None, num_classes=_SSCD_WIDTH)
    network.avgpool = _GeneralisedMean()
    try:
        weights = {key.removeprefix("backbone."): part for key, part in load_file(file).items()}
        network.load_state_dict(weights)
    except Exception as error:  # a foreign file may fail in any way
        raise ModelUnavailableError(
            f"{file} does not hold the torchvision weights of SSCD's ResNet-50 ({_line(error)})"
        ) from error
    network.eval().to(device)

    def embed(images: Sequence[Image]) -> torch.Tensor:
        pictures = [pil_to_tensor(Pillow.fromarray(image)) for image in images]
        sized = torch.stack([resize(picture, [SSCD_SIDE, SSCD_SIDE]) for picture in pictures])
        rows: torch.Tensor = network(normalize(sized.to(device) / 255, _MEAN, _STD))
        return rows

    return embed


class _GeneralisedMean(torch.nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        powers = values.clamp(min=1e-6).pow(_SSCD_POWER)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1 / _SSCD_POWER)


def _transformer(model: str, device: torch.device) -> _Embed:
    from transformers import AutoImageProcessor, AutoModel

    try:
        safe: dict[str, Any] = {"trust_remote_code": False}
        prepare: Any = AutoImageProcessor.from_pretrained(model, **safe)
        network: Any = AutoModel.from_pretrained(model, use_safetensors=True, **safe)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelUnavailableError(
            f"{model!r} could not be loaded ({_line(error)}); give NAME/PRETRAINED of open_clip, a "
            "folder or hub id of a DINOv2, or a .safetensors file of SSCD"
        ) from error
    network.eval().to(device)

    def embed(images: Sequence[Image]) -> torch.Tensor:
        pixels = prepare([Pillow.fromarray(image) for image in images], return_tensors="pt")
        states: torch.Tensor = network(pixels["pixel_values"].to(device)).last_hidden_state
        return states[:, 0]

    return embed


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
