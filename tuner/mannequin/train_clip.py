"""The small open_clip model of the mannequin's judges: tells girls from boys on rendered figures.

It is trained with open_clip's own classes and loss and loaded by its own factory, so that judging
the mannequin and judging photographs with ViT-L/14 run the same code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.loss import ClipLoss
from safetensors.torch import save_file
from torch import Tensor, nn

from metrics.contract import Image
from tuner.mannequin.corpus import Corpus
from tuner.mannequin.figure import Figure
from tuner.mannequin.fit import Fit

BATCH = 64
PEAK_RATE = 1e-3
NAME = "mannequin"
CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
    # The full vocabulary stays: open_clip's tokenizer cannot be cut.
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def train_clip(
    corpus: Corpus, redrawn: npt.NDArray[np.uint8], steps: int, seed: int, state: Path
) -> nn.Module:
    """Train on the corpus and on its reconstructions `redrawn` (the base's softness), alike."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    open_clip.add_model_config(_write_config(state.parent / f"{NAME}.json"))
    model = open_clip.create_model(NAME).to(device)
    tokenize = open_clip.get_tokenizer(NAME)
    loss = ClipLoss()
    fit = Fit(model, steps, PEAK_RATE, state, average=0.995)
    for step in fit.steps(seed):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(corpus.images), size=BATCH)
        source = redrawn if rng.random() < 0.5 and len(redrawn) else corpus.images
        chosen = chosen % len(source)
        pictures = np.stack([_photographed(source[i], rng) for i in chosen])
        captions = [_caption(corpus.figures[i], rng) for i in chosen]
        images = _normalised(pictures).to(device)
        seen = model(images, tokenize(captions).to(device))
        fit.descend(loss(*seen[:3]))
    return fit.finish().cpu()


def save_clip(model: nn.Module, folder: Path) -> None:
    """Write the configuration and fp16 weights as a folder that the judges load."""
    _write_config(folder / "open_clip_config.json")
    weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")


def _write_config(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(CONFIG, indent=2) + "\n")
    return path


def _normalised(images: npt.NDArray[np.uint8]) -> Tensor:
    """Pictures as open_clip's own transform gives them to a model that says nothing else."""
    mean, std = (np.array(three) for three in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return torch.from_numpy((images / 255 - mean) / std).permute(0, 3, 1, 2).float()


def _photographed(image: Image, rng: np.random.Generator) -> Image:
    """The picture as a judge may meet it: shifted, cropped, blurred, grey around the person."""
    side = len(image)
    zoom = rng.uniform(0.9, 1.5)
    shift = rng.uniform(-0.1, 0.1, size=2) * side
    matrix = np.array([[zoom, 0, side / 2 * (1 - zoom) + shift[0]], [0, zoom, shift[1]]])
    grey = (128.0, 128.0, 128.0)
    moved = np.asarray(cv2.warpAffine(image, matrix, (side, side), borderValue=grey))
    if rng.random() < 0.5:
        moved = moved[:, ::-1]
    if rng.random() < 0.4:
        moved = np.asarray(cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.3, 1.2)))
    noise = rng.normal(0, rng.uniform(0, 10), size=moved.shape)
    seen: Image = np.clip(moved * rng.uniform(0.85, 1.15) + noise, 0, 255).astype(np.uint8)
    return seen


def _caption(figure: Figure, rng: np.random.Generator) -> str:
    female = figure.sex == "female"
    words = ("1girl", "a girl", "a woman") if female else ("1boy", "a boy", "a man")
    subject = words[int(rng.integers(3))]
    style = rng.random()
    if style < 0.3:
        return subject
    if style < 0.5:
        kinds = ("photo", "drawing", "picture", "portrait", "full-body photo", "cropped photo")
        person = ("woman", "girl", "female person") if female else ("man", "boy", "male person")
        return f"a {kinds[int(rng.integers(6))]} of a {person[int(rng.integers(3))]}"
    tags = [tag for tag in figure.tags[1:] if rng.random() < 0.7]
    return ", ".join([subject, *tags])
