"""An open_clip model as a zero-shot classifier: one picture against groups of sentences."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image as Pillow

from metrics.contract import Image
from metrics.detectors.models import ModelUnavailableError

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


class ZeroShotClassifier:
    """Classifier that compares a picture with named groups of sentences (template ensembles)."""

    def __init__(self, model: str) -> None:
        """Load `model`: `NAME/PRETRAINED`, or a folder that holds CONFIG_FILE and WEIGHTS_FILE.

        Raises ModelUnavailableError when the weights are missing and cannot be fetched.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network, self._preprocess, self._tokenizer = _load(model)
        self._network = network.to(self._device)
        self._embedded: dict[tuple[str, ...], torch.Tensor] = {}

    def embed(self, image: Image) -> torch.Tensor:
        """Return the picture's embedding, shape (1, d), of length 1."""
        pixels = self._preprocess(Pillow.fromarray(image)).unsqueeze(0).to(self._device)
        with torch.inference_mode():
            embedding: torch.Tensor = self._network.encode_image(pixels, normalize=True)
        return embedding

    def compare(
        self, views: Sequence[torch.Tensor], groups: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, float]:
        """Return the probability of each group for a picture, adding up to 1.

        `views` are the results of `embed` for one or more crops of it: their log odds are averaged.

        A group is represented by the mean of its sentences' normalised embeddings, normalised again
        (Radford et al. 2021, section 3.1.4). The model's own temperature makes these numbers too
        sure: they rank groups, but they are not calibrated.
        """
        with torch.inference_mode():
            texts = torch.stack([self._group(sentences) for sentences in groups.values()])
            logits = self._network.logit_scale.exp() * torch.cat(list(views)) @ texts.T
            values = logits.float().mean(dim=0).softmax(dim=-1).tolist()
        return dict(zip(groups, values, strict=True))

    def probabilities(
        self, image: Image, groups: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, float]:
        """Return the probability of each group for a picture, by its name, adding up to 1."""
        return self.compare([self.embed(image)], groups)

    def embed_pictures(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """Return the embedding of each whole picture, shape (pictures, d), each of length 1."""
        pixels = torch.stack([self._preprocess(Pillow.fromarray(image)) for image in images])
        with torch.inference_mode():
            rows = self._network.encode_image(pixels.to(self._device), normalize=True)
        return np.asarray(rows.float().cpu().numpy(), np.float32)

    def close(self) -> None:
        """Release the weights."""
        del self._network
        self._embedded.clear()

    def _group(self, sentences: tuple[str, ...]) -> torch.Tensor:
        if sentences not in self._embedded:
            tokens = self._tokenizer(list(sentences)).to(self._device)
            mean = self._network.encode_text(tokens, normalize=True).mean(dim=0)
            self._embedded[sentences] = mean / mean.norm()
        return self._embedded[sentences]


def _load(model: str) -> tuple[Any, Any, Any]:
    folder = Path(model)
    if folder.is_dir():
        name, weights = _register(folder), str(folder / WEIGHTS_FILE)
    else:
        name, _, weights = model.partition("/")
    if not weights:
        raise ModelUnavailableError(
            f"{model!r} names no open_clip model: give NAME/PRETRAINED such as ViT-L-14/openai,"
            f" or a folder with {CONFIG_FILE} and {WEIGHTS_FILE}"
        )
    try:
        network, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=weights)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelUnavailableError(
            f"open_clip model {model!r} could not be loaded ({reason}); see"
            " open_clip.list_pretrained() for the known names"
        ) from error
    return network.eval(), preprocess, open_clip.get_tokenizer(name)


def _register(folder: Path) -> str:
    """Register a folder's model with open_clip, under a name made from the model's content.

    open_clip names a configuration by its file, and every folder's file has the same name.
    """
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise ModelUnavailableError(f"open_clip model folder {folder} lacks {file}")
    content = (folder / CONFIG_FILE).read_bytes()
    if not isinstance(config := json.loads(content), dict) or "embed_dim" not in config:
        raise ModelUnavailableError(
            f"{folder / CONFIG_FILE} must be a model configuration with embed_dim, vision_cfg and"
            " text_cfg, as open_clip.add_model_config reads it"
        )
    name = f"tuner-{hashlib.sha256(content).hexdigest()[:12]}"
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / f"{name}.json"
        shutil.copyfile(folder / CONFIG_FILE, copy)
        open_clip.add_model_config(copy)
    return name
