"""The small person detector: an ultralytics YOLO trained on rendered scenes, offline.

Shipped as the network's description and fp16 safetensors, so that no pickle is ever opened:
metrics.detectors.yolo builds the network with ultralytics' class and loads the weights. To train:

    python -m tuner.mannequin.building.train_yolo OUT --seed 0
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from metrics.detectors.yolo import DESCRIPTION, WEIGHTS, offline_environment
from tuner.mannequin.scene import random_scene

NETWORK: dict[str, Any] = {
    "nc": 1,
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],  # 0, 1/2
        [-1, 1, "Conv", [32, 3, 2]],  # 1, 1/4
        [-1, 1, "C3k2", [32]],
        [-1, 1, "Conv", [64, 3, 2]],  # 3, 1/8
        [-1, 2, "C3k2", [64]],
        [-1, 1, "Conv", [96, 3, 2]],  # 5, 1/16
        [-1, 2, "C3k2", [96]],
        [-1, 1, "Conv", [128, 3, 2]],  # 7, 1/32
        [-1, 1, "C3k2", [128]],
        [-1, 1, "SPPF", [128, 5]],  # 9
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 1, "C3k2", [96]],  # 12
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 1, "C3k2", [64]],  # 15, 1/8
        [-1, 1, "Conv", [64, 3, 2]],
        [[-1, 12], 1, "Concat", [1]],
        [-1, 1, "C3k2", [96]],  # 18, 1/16
        [-1, 1, "Conv", [96, 3, 2]],
        [[-1, 9], 1, "Concat", [1]],
        [-1, 1, "C3k2", [128]],  # 21, 1/32
        [[15, 18, 21], 1, "Detect", ["nc"]],
    ],
}


@dataclass(frozen=True)
class YoloPlan:
    """Training scenes (a sixteenth more for validation), epochs, side in pixels, batch size."""

    scenes: int = 3000
    epochs: int = 24
    size: int = 192
    batch: int = 32


FULL = YoloPlan()
FAST = YoloPlan(scenes=64, epochs=1, size=128)


def train_yolo(out: Path, plan: YoloPlan, seed: int, work: Path) -> None:
    """Draw scenes below `work`, train there, write DESCRIPTION and WEIGHTS into `out`.

    Runs in a process of its own: ultralytics reads its environment once, when it is imported, and
    changes global settings of torch. A stopped run starts again from the beginning.
    """
    write_scenes(work / "scenes", plan, seed)
    lend_font(work / "config")
    environment = os.environ | offline_environment(work / "config")
    arguments = [f"--{key}={value}" for key, value in vars(plan).items()]
    command = [
        sys.executable,
        "-m",
        "tuner.mannequin.building.train_yolo",
        str(out),
        f"--work={work}",
        f"--seed={seed}",
    ]
    subprocess.run([*command, "--scenes-drawn", *arguments], env=environment, check=True)


def write_scenes(folder: Path, plan: YoloPlan, seed: int) -> None:
    """Write the scenes and their boxes in YOLO's layout, in place of older ones."""
    shutil.rmtree(folder, ignore_errors=True)
    counts = {"train": plan.scenes, "val": max(8, plan.scenes // 16)}
    for part, (name, count) in enumerate(counts.items()):
        images, labels = folder / "images" / name, folder / "labels" / name
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            image, boxes = random_scene(np.random.default_rng([seed, part, index]))
            cv2.imwrite(str(images / f"{index:05d}.png"), image[..., ::-1])
            lines = [_label(box / len(image)) for box in boxes]
            (labels / f"{index:05d}.txt").write_text("\n".join(lines) + "\n")
    data = {"path": str(folder), "train": "images/train", "val": "images/val"}
    (folder / "data.yaml").write_text(yaml.safe_dump(data | {"names": {0: "person"}}))


def lend_font(folder: Path) -> None:
    """Put a font where ultralytics looks, as it downloads one otherwise; any font will do."""
    own = folder / "Ultralytics"  # ultralytics' folder inside YOLO_CONFIG_DIR
    own.mkdir(parents=True, exist_ok=True)
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    shutil.copy(font, own / "Arial.ttf")


def save_yolo(network: torch.nn.Module, out: Path) -> None:
    """Write the network's description and fp16 weights."""
    out.mkdir(parents=True, exist_ok=True)
    (out / DESCRIPTION).write_text(yaml.safe_dump(NETWORK, sort_keys=False))
    state = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    save_file({k: v.half().contiguous() for k, v in state.items()}, out / WEIGHTS)


def _label(box: np.ndarray) -> str:
    left, top, right, bottom = (float(value) for value in box)
    numbers = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return " ".join(["0", *(f"{number:.6f}" for number in numbers)])


def _train(out: Path, plan: YoloPlan, seed: int, work: Path) -> None:
    from ultralytics import YOLO
    from ultralytics.utils import SETTINGS

    trackers = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
    SETTINGS.update(dict.fromkeys(trackers, False))
    out.mkdir(parents=True, exist_ok=True)
    description = out / DESCRIPTION
    description.write_text(yaml.safe_dump(NETWORK, sort_keys=False))
    detector = YOLO(description, task="detect")
    detector.train(
        data=str(work / "scenes" / "data.yaml"),
        epochs=plan.epochs,
        imgsz=plan.size,
        batch=plan.batch,
        seed=seed,
        deterministic=True,
        device="0" if torch.cuda.is_available() else "cpu",
        workers=0,
        amp=False,  # its check of mixed precision downloads a network
        pretrained=False,
        plots=False,
        project=str(work),
        name="run",
        exist_ok=True,
        optimizer="AdamW",
        lr0=2e-3,
        close_mosaic=max(1, plan.epochs // 4),
        hsv_h=0.02,
    )
    save_yolo(YOLO(work / "run" / "weights" / "best.pt").model, out)


def main() -> None:
    """Train with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Train the mannequin's person detector")
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, help="folder for scenes and runs, default OUT-work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes-drawn", action="store_true", help=argparse.SUPPRESS)
    for key, value in vars(FULL).items():
        parser.add_argument(f"--{key}", type=int, default=value)
    options = parser.parse_args()
    plan = YoloPlan(options.scenes, options.epochs, options.size, options.batch)
    out = options.out.resolve()
    work = (options.work or out.with_name(out.name + "-work")).resolve()
    (_train if options.scenes_drawn else train_yolo)(out, plan, options.seed, work)


if __name__ == "__main__":
    main()
