"""Write a Stable Diffusion as a folder in diffusers' layout, readable by other programs' versions.

diffusers with an older transformers, ComfyUI and kohya's trainer open such a folder too. They need
the text encoder's names with `text_model.` and the tokenizer as `vocab.json` and `merges.txt`;
transformers 5.6 and later writes neither, but reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save as to_bytes
from transformers import CLIPTokenizer

from tuner.storage import replacing
from tuner.storage.files import write_text


def write_folder(
    path: Path, pipeline: StableDiffusionPipeline, metadata: Mapping[str, str]
) -> None:
    """Write the whole model; `metadata` goes into `tuner.json` there."""
    pipeline.save_pretrained(path)
    _write_text_encoder(path / "text_encoder")
    _write_tokenizer(path / "tokenizer", pipeline.tokenizer)
    description = path / "tuner.json"
    write_text(description, json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
    mode = description.stat().st_mode
    for file in path.rglob("*"):
        if file.is_file():
            file.chmod(mode)  # save_pretrained lets only the owner read weights


def write_configuration(path: Path, pipeline: StableDiffusionPipeline) -> None:
    """Write the configuration of the model without its weights, and its tokenizer."""
    pipeline.save_config(path)
    for name in ("unet", "vae", "scheduler"):
        getattr(pipeline, name).save_config(path / name)
    pipeline.text_encoder.config.save_pretrained(path / "text_encoder")
    pipeline.tokenizer.save_pretrained(path / "tokenizer")


def _write_text_encoder(folder: Path) -> None:
    # transformers loads the text encoder in the dtype of its configuration, diffusers the other
    # parts in float32: with float16 here, the loaded model would have mixed dtypes.
    config = folder / "config.json"
    text = json.loads(config.read_text("utf-8")) | {"dtype": "float32"}
    write_text(config, json.dumps(text, indent=2, sort_keys=True) + "\n")
    weights = folder / "model.safetensors"
    tensors = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in load_file(weights).items()
    }
    with replacing(weights) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={"format": "pt"}))


def _write_tokenizer(folder: Path, tokenizer: CLIPTokenizer) -> None:
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    pairs = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *pairs]) + "\n")
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False) + "\n")
