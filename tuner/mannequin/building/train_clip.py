"""The small open_clip model of the mannequin's judges: recognises girls and boys on renders.

It is trained with open_clip's own classes and loss and loaded by its factory: judging the mannequin
runs the same code as judging photographs with ViT-L/14.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
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
from torch.nn import functional

from metrics.contract import Image
from tuner.mannequin.building.fit import Fit
from tuner.mannequin.corpus import Corpus
from tuner.mannequin.figure import Figure

BATCH = 64
PEAK_RATE = 1e-3
NAME = "mannequin"
CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    # A ModifiedResNet: on a few thousand small pictures it learns where a ViT does not.
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 24, "head_width": 32},
    # The full vocabulary stays: open_clip's tokenizer cannot be cut.
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def train_clip(
    corpus: Corpus, redrawn: npt.NDArray[np.uint8], steps: int, seed: int, state: Path
) -> nn.Module:
    """Train on the corpus and equally on `redrawn`, its reconstructions, soft like samples."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    open_clip.add_model_config(_write_config(state.parent / f"{NAME}.json"))
    model = open_clip.create_model(NAME)
    # Without the probe neither tower begins to separate the sexes before the other one does.
    both = nn.ModuleDict({"clip": model, "probe": nn.Linear(CONFIG["embed_dim"], 1)}).to(device)
    tokenize = open_clip.get_tokenizer(NAME)
    fit = Fit(both, steps, PEAK_RATE, state, average=0.995)
    for step in fit.steps(seed):
        rng = np.random.default_rng([seed, step])
        source = redrawn if rng.random() < 0.5 and len(redrawn) else corpus.images
        chosen = _choose(corpus.figures[: len(source)], rng)
        pictures = np.stack([_photographed(source[i], rng) for i in chosen])
        captions = [_caption(corpus.figures[i], rng) for i in chosen]
        swapped = [_other_sex(caption) for caption in captions]
        texts = tokenize(captions + swapped).to(device)
        image_features, text_features, scale = model(_normalised(pictures).to(device), texts)[:3]
        own, other = text_features.chunk(2)
        female = torch.tensor([float(corpus.figures[i].sex == "female") for i in chosen])
        probed = functional.binary_cross_entropy_with_logits(
            10 * both["probe"](image_features)[:, 0], female.to(device)
        )
        contrast = ClipLoss()(image_features, own, scale)
        fit.descend(contrast + _sex_loss(image_features, own, other, scale) + probed)
    trained: nn.Module = fit.finish().cpu()["clip"]  # type: ignore[index]
    return trained


def _choose(figures: Sequence[Figure], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw a batch of indices (BATCH,), a quarter of them women with short hair.

    They are rare and look most like men; without them the model learns hair length instead of sex.
    """
    chosen = rng.integers(len(figures), size=BATCH)
    rare = [
        i for i, figure in enumerate(figures) if figure.sex == "female" and not figure.long_hair
    ]
    if rare:
        chosen[: BATCH // 4] = rng.choice(rare, size=BATCH // 4)
    return chosen


def _sex_loss(images: Tensor, own: Tensor, other: Tensor, scale: Tensor) -> Tensor:
    """Return the loss of choosing each picture's own caption over the same with the other sex.

    Features are (batch, width). A batch has each sex many times, so plain contrast hardly trains
    it; hard negatives do (NegCLIP, Yuksekgonul et al. 2023).
    """
    logits = scale * torch.stack([(images * own).sum(-1), (images * other).sum(-1)], dim=1)
    first = torch.zeros(len(images), dtype=torch.long, device=images.device)
    return functional.cross_entropy(logits, first)


def save_clip(model: nn.Module, folder: Path) -> None:
    """Write the configuration and fp16 weights into a folder that the judges load."""
    _write_config(folder / "open_clip_config.json")
    weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")


def _write_config(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(CONFIG, indent=2) + "\n")
    return path


def _normalised(images: npt.NDArray[np.uint8]) -> Tensor:
    """Normalise pictures like open_clip's default transform, to (N, 3, H, W)."""
    mean, std = (np.array(three) for three in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return torch.from_numpy((images / 255 - mean) / std).permute(0, 3, 1, 2).float()


def _photographed(image: Image, rng: np.random.Generator) -> Image:
    """Shift, crop and blur the picture with grey around it, as a judge's crops may be."""
    side = len(image)
    zoom = rng.uniform(0.65, 1.3)
    shift = rng.uniform(-0.1, 0.1, size=2) * side
    matrix = np.array([[zoom, 0, side / 2 * (1 - zoom) + shift[0]], [0, zoom, shift[1]]])
    grey = (153.0, 153.0, 153.0)  # the colour around the judges' crops
    moved = np.asarray(cv2.warpAffine(image, matrix, (side, side), borderValue=grey))
    if rng.random() < 0.5:
        moved = moved[:, ::-1]
    if rng.random() < 0.4:
        moved = np.asarray(cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.3, 1.2)))
    noise = rng.normal(0, rng.uniform(0, 10), size=moved.shape)
    photograph: Image = np.clip(moved * rng.uniform(0.85, 1.15) + noise, 0, 255).astype(np.uint8)
    return photograph


_SWAP = {"girl": "boy", "woman": "man", "female": "male", "1girl": "1boy"}
_SWAP |= {male: female for female, male in _SWAP.items()}


def _other_sex(caption: str) -> str:
    return re.sub(r"\w+", lambda word: _SWAP.get(word[0], word[0]), caption)


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
