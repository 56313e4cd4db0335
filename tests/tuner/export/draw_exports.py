"""Draw one sample with each export: run in a process of its own with any version of diffusers.

`python draw_exports.py LIST.json OUT.npz`; nothing of this project is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionPipeline

NO_CHECKER = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}


def sample(pipeline: Any) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    drawn = pipeline(
        "1girl, red shirt",
        num_inference_steps=2,
        guidance_scale=3.0,
        latents=noise,
        output_type="np",
    )
    return drawn.images[0]


def opened(kind: str, path: str, base: str) -> Any:
    """The pipeline with an export: a `lora` on the base, a `file` or a `folder`."""
    if kind == "file":
        return StableDiffusionPipeline.from_single_file(
            path, config=base, local_files_only=True, **NO_CHECKER
        )
    folder = path if kind == "folder" else base
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    if kind == "lora":
        # Offline, version 0.32 wants the folder and the name.
        file = Path(path)
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, use_safetensors=True)
    return pipeline


def draw_all(listing: Path, out: Path) -> None:
    """Draw every export of the list; what fails is stored as its error."""
    wanted = json.loads(listing.read_text())
    drawn: dict[str, Any] = {}
    for name, (kind, path) in wanted["exports"].items():
        try:
            drawn[name] = sample(opened(kind, path, wanted["base"]))
        except Exception as error:
            drawn[name] = np.array(f"{type(error).__name__}: {error}")
    np.savez(out, **drawn)


if __name__ == "__main__":
    print(f"diffusers {diffusers.__version__}, transformers {transformers.__version__}")
    draw_all(Path(sys.argv[1]), Path(sys.argv[2]))
