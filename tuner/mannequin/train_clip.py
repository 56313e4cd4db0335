"""The small open_clip model of the mannequin's judges: tells girls from boys on rendered figures.

It is trained with open_clip's own classes and loss and loaded by its own factory, so that judging
the mannequin and judging photographs with ViT-L/14 run the same code.
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
from tuner.mannequin.corpus import Corpus
from tuner.mannequin.figure import Figure
from tuner.mannequin.fit import Fit

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
    """Train on the corpus and on its reconstructions `redrawn` (the base's softness), alike."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    open_clip.add_model_config(_write_config(state.parent / f"{NAME}.json"))
    model = open_clip.create_model(NAME)
    # Without the probe both towers wait for the other one to tell the sexes apart first.
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
        seen, told, scale = model(_normalised(pictures).to(device), texts)[:3]
        own, other = told.chunk(2)
        female = torch.tensor([float(corpus.figures[i].sex == "female") for i in chosen])
        probed = functional.binary_cross_entropy_with_logits(
            10 * both["probe"](seen)[:, 0], female.to(device)
        )
        contrast = ClipLoss()(seen, own, scale)
        fit.descend(contrast + _sex_loss(seen, own, other, scale) + probed)
    trained: nn.Module = fit.finish().cpu()["clip"]  # type: ignore[index]
    return trained


def _choose(figures: Sequence[Figure], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A batch of indices, a quarter of them women with short hair.

    They are few and look most like men; without them hair length stands in for sex.
    """
    chosen = rng.integers(len(figures), size=BATCH)
    rare = [
        i for i, figure in enumerate(figures) if figure.sex == "female" and not figure.long_hair
    ]
    if rare:
        chosen[: BATCH // 4] = rng.choice(rare, size=BATCH // 4)
    return chosen


def _sex_loss(seen: Tensor, own: Tensor, other: Tensor, scale: Tensor) -> Tensor:
    """Each picture against its own caption and the same with the other sex.

    A batch holds each sex many times, so plain contrast hardly asks for it; hard negatives do
    (NegCLIP, Yuksekgonul et al. 2023).
    """
    logits = scale * torch.stack([(seen * own).sum(-1), (seen * other).sum(-1)], dim=1)
    first = torch.zeros(len(seen), dtype=torch.long, device=seen.device)
    return functional.cross_entropy(logits, first)


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
    zoom = rng.uniform(0.65, 1.3)
    shift = rng.uniform(-0.1, 0.1, size=2) * side
    matrix = np.array([[zoom, 0, side / 2 * (1 - zoom) + shift[0]], [0, zoom, shift[1]]])
    grey = (153.0, 153.0, 153.0)  # of the judges' crops
    moved = np.asarray(cv2.warpAffine(image, matrix, (side, side), borderValue=grey))
    if rng.random() < 0.5:
        moved = moved[:, ::-1]
    if rng.random() < 0.4:
        moved = np.asarray(cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.3, 1.2)))
    noise = rng.normal(0, rng.uniform(0, 10), size=moved.shape)
    seen: Image = np.clip(moved * rng.uniform(0.85, 1.15) + noise, 0, 255).astype(np.uint8)
    return seen


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
