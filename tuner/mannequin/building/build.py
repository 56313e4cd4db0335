"""Training of all of the mannequin's weights from scratch: one command, one seed, resumable.

Independent stages run side by side with half of the cores each: the networks are so small that a
second core hardly makes one of them faster.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL

from metrics.detectors.yolo import WEIGHTS as YOLO_WEIGHTS
from tuner.mannequin.building import train_yolo as yolo
from tuner.mannequin.building.train_base import encode, save_base, train_base
from tuner.mannequin.building.train_clip import save_clip, train_clip
from tuner.mannequin.building.train_text import train_text
from tuner.mannequin.building.train_vae import train_vae
from tuner.mannequin.building.vocabulary import new_tokenizer
from tuner.mannequin.corpus import EVERY_POSE, WEB, make_corpus


@dataclass(frozen=True)
class Plan:
    """Pictures to draw and training steps of each stage; `minutes` on two CPU cores."""

    pictures: int
    vae_steps: int
    text_steps: int
    base_steps: int
    clip_steps: int
    yolo: yolo.YoloPlan
    minutes: int


FULL = Plan(16_000, 4_000, 1_200, 7_500, 6_000, yolo.FULL, minutes=90)
FAST = Plan(100, 5, 5, 5, 5, yolo.FAST, minutes=1)

_LANES = 2


def build(out: Path, fast: bool = False, seed: int = 0) -> None:
    """Write `base/`, `clip/` and `yolo/` below `out`. A stopped run continues where it stopped.

    `fast` makes a hardly trained miniature with the same code. With CUDA, training runs on the GPU.
    """
    plan = FAST if fast else FULL
    states = out / "states"
    states.mkdir(parents=True, exist_ok=True)
    _say(f"building the mannequin in {out}: about {plan.minutes} min on two CPU cores")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_LANES, spawn, initializer=_share_cores) as pool:
        detector = pool.submit(_make_yolo, out, plan, seed)
        pool.submit(_make_vae, out, plan, seed).result()
        base = pool.submit(_make_base, out, plan, seed)
        clip = pool.submit(_make_clip, out, plan, seed)
        for stage in (base, detector, clip):
            stage.result()
    _say(f"done: base, clip and yolo in {out}; {states} can be deleted")


def _share_cores() -> None:
    threads = max(1, torch.get_num_threads() // _LANES)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for subprocesses


def _make_vae(out: Path, plan: Plan, seed: int) -> None:
    states = out / "states"
    if (states / "vae").is_dir():
        return
    images = make_corpus(plan.pictures, seed, EVERY_POSE).images
    vae = train_vae(images, plan.vae_steps, seed, states / "vae.safetensors")
    vae.save_pretrained(states / "vae.part", safe_serialization=True)
    os.replace(states / "vae.part", states / "vae")


def _vae(out: Path) -> AutoencoderKL:
    """Load the autoencoder that `_make_vae` wrote for the later stages."""
    return AutoencoderKL.from_pretrained(out / "states" / "vae")


def _make_base(out: Path, plan: Plan, seed: int) -> None:
    corpus = make_corpus(plan.pictures, seed, WEB)
    vae = _vae(out)
    tokenizer, states = new_tokenizer(), out / "states"
    text_plan = (plan.text_steps, seed, states / "text.safetensors")
    text = (tokenizer, train_text(corpus.captions, tokenizer, text_plan))
    base_plan = (plan.base_steps, seed, states / "base.safetensors")
    save_base(train_base(corpus, vae, text, base_plan), out / "base")
    _say(f"base written to {out / 'base'}")


def _make_clip(out: Path, plan: Plan, seed: int) -> None:
    corpus = make_corpus(plan.pictures, seed, EVERY_POSE)
    redrawn = redraw(_vae(out), corpus.images[: len(corpus.images) // 4])
    state = out / "states" / "clip.safetensors"
    save_clip(train_clip(corpus, redrawn, plan.clip_steps, seed, state), out / "clip")
    _say(f"open_clip model written to {out / 'clip'}")


def _make_yolo(out: Path, plan: Plan, seed: int) -> None:
    if (out / "yolo" / YOLO_WEIGHTS).is_file():
        return
    yolo.train_yolo(out / "yolo", plan.yolo, seed, out / "states" / "yolo")
    _say(f"person detector written to {out / 'yolo'}")


@torch.no_grad()
def redraw(vae: AutoencoderKL, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Encode and decode pictures (N, H, W, 3) uint8 with the autoencoder; return the same shape."""
    latents = encode(vae, images) / vae.config["scaling_factor"]
    parts = [vae.decode(part).sample for part in latents.split(64)]
    pixels = (torch.cat(parts).clamp(-1, 1) + 1) * 127.5
    drawn: npt.NDArray[np.uint8] = pixels.round().byte().permute(0, 2, 3, 1).numpy()
    return drawn


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
