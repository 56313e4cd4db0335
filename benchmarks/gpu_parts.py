"""What benchmarks/gpu.py measures with: random pictures, judges, a plain product."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from metrics.contract import Prompt, Sample
from tuner.data import TrainingSet, read_folder

PICTURES = 16
SIDE = 8192
PRODUCTS = 20


def noise_pictures(folder: Path, side: int) -> TrainingSet:
    """Write pictures of noise with captions, and return them as a training set."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text("1girl, solo, red shirt", encoding="utf-8")
    return read_folder(folder)


@contextlib.contextmanager
def judges_beside() -> Iterator[str]:
    """Judge in a process on each other core for a while; yield what they do, in words."""
    spawn = multiprocessing.get_context("spawn")
    stop, ready = spawn.Event(), spawn.Queue()
    count = max(1, (os.cpu_count() or 1) - 1)
    judges = [spawn.Process(target=judge, args=(stop, ready), daemon=True) for _ in range(count)]
    for each in judges:
        each.start()
    try:
        kinds = {ready.get(timeout=120) for _ in judges}
        yield f"{count} x {', '.join(sorted(kinds))}"
    finally:
        stop.set()
        for each in judges:
            each.join(30)
            each.kill()


def judge(stop: Any, ready: Any) -> None:
    """Judge a picture of noise again and again with the mannequin's judges, on one thread."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    samples = [Sample(Prompt("1girl", "female"), 0, picture)]
    with contextlib.ExitStack() as stack:
        try:
            from metrics import open_detectors, score
            from tuner.judging.models import mannequin_judges

            judges = stack.enter_context(open_detectors(mannequin_judges()))
            score(samples, judges)
            kind = "judges"
        except Exception:  # a bare machine lacks the packages or models of judges
            kind, matrix = "products of matrices", torch.randn(512, 512)
        ready.put(kind)
        while not stop.is_set():
            _ = score(samples, judges) if kind == "judges" else matrix @ matrix


def matrix_rate(device: torch.device) -> float:
    """Return the operations a second of a large product in bfloat16, in float32 on a processor."""
    side, dtype = (SIDE, torch.bfloat16) if device.type == "cuda" else (2048, torch.float32)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    synchronize()
    began = time.monotonic()
    for _ in range(PRODUCTS):
        left @ right
    synchronize()
    return PRODUCTS * 2 * side**3 / (time.monotonic() - began)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
