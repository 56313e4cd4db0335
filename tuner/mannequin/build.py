"""Make the mannequin's weights from nothing: one command, one seed, resumable.

Each stage starts from what the one before it wrote: corpus, autoencoder, base, judge's model.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL

from tuner.mannequin.corpus import make_corpus
from tuner.mannequin.train_base import encode, save_base, train_base
from tuner.mannequin.train_clip import save_clip, train_clip
from tuner.mannequin.train_vae import train_vae
from tuner.mannequin.vocabulary import new_tokenizer


@dataclass(frozen=True)
class Plan:
    """Pictures to draw and steps to train in each stage; minutes are for two CPU cores."""

    pictures: int
    vae_steps: int
    base_steps: int
    clip_steps: int
    minutes: int


FULL = Plan(pictures=16_000, vae_steps=4_000, base_steps=4_500, clip_steps=6_000, minutes=65)
FAST = Plan(pictures=400, vae_steps=20, base_steps=20, clip_steps=20, minutes=1)


def build(out: Path, fast: bool = False, seed: int = 0) -> None:
    """Write `base/` and `clip/` below `out`. A stopped run goes on where it was.

    `fast` makes an untrained-looking miniature by the same code. On a machine with CUDA the same
    command trains there.
    """
    plan = FAST if fast else FULL
    states = out / "states"
    states.mkdir(parents=True, exist_ok=True)
    _say(f"building the mannequin in {out}: about {plan.minutes} min on two CPU cores")
    _say(f"drawing {plan.pictures} pictures")
    corpus = make_corpus(plan.pictures, seed)
    vae = train_vae(corpus.images, plan.vae_steps, seed, states / "vae.safetensors")
    base_plan = (plan.base_steps, seed, states / "base.safetensors")
    save_base(train_base(corpus, vae, new_tokenizer(), base_plan), out / "base")
    redrawn = redraw(vae, corpus.images[: len(corpus.images) // 4])
    clip = train_clip(corpus, redrawn, plan.clip_steps, seed, states / "clip.safetensors")
    save_clip(clip, out / "clip")
    _say(f"done: {out / 'base'} and {out / 'clip'}; {states} can be deleted")


@torch.no_grad()
def redraw(vae: AutoencoderKL, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pictures (N, H, W, 3) uint8 through the autoencoder and back."""
    latents = encode(vae, images) / vae.config["scaling_factor"]
    parts = [vae.decode(part).sample for part in latents.split(64)]
    pixels = (torch.cat(parts).clamp(-1, 1) + 1) * 127.5
    drawn: npt.NDArray[np.uint8] = pixels.round().byte().permute(0, 2, 3, 1).numpy()
    return drawn


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
