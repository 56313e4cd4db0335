"""Write a base as a folder in diffusers' layout, readable by other programs' versions.

diffusers with an older transformers, ComfyUI and kohya's trainer open such a folder too. They need
text encoders' names with `text_model.` and tokenizers as `vocab.json` and `merges.txt`;
transformers 5.6 and later writes neither, but reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save as to_bytes
from transformers import CLIPTokenizer

from tuner.models.families import family_of
from tuner.models.stored import original_names as original
from tuner.storage import replacing
from tuner.storage.files import write_text

_WHOLE_TEXT = "text_projection."
"""The layer of a text encoder that is beside `text_model` and not in it."""


def write_folder(path: Path, pipeline: Any, metadata: Mapping[str, str]) -> None:
    """Write the whole model; `metadata` goes into `tuner.json` there."""
    pipeline.save_pretrained(path)
    for encoder in family_of(type(pipeline).__name__).LAYOUT.encoders:
        _write_text_encoder(path / encoder.part)
        _write_tokenizer(path / encoder.tokenizer, getattr(pipeline, encoder.tokenizer))
    description = path / "tuner.json"
    write_text(description, json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
    mode = description.stat().st_mode
    for file in path.rglob("*"):
        if file.is_file():
            file.chmod(mode)  # save_pretrained lets only the owner read weights


def write_configuration(path: Path, pipeline: Any) -> None:
    """Write the configuration of the model without its weights, and its tokenizers."""
    pipeline.save_config(path)
    for name in ("unet", "vae", "scheduler"):
        getattr(pipeline, name).save_config(path / name)
    for encoder in family_of(type(pipeline).__name__).LAYOUT.encoders:
        getattr(pipeline, encoder.part).config.save_pretrained(path / encoder.part)
        getattr(pipeline, encoder.tokenizer).save_pretrained(path / encoder.tokenizer)


def _write_text_encoder(folder: Path) -> None:
    # transformers loads the text encoder in the dtype of its configuration, diffusers the other
    # parts in float32: with float16 here, the loaded model would have mixed dtypes.
    config = folder / "config.json"
    text = json.loads(config.read_text("utf-8")) | {"dtype": "float32"}
    write_text(config, json.dumps(text, indent=2, sort_keys=True) + "\n")
    weights = folder / "model.safetensors"
    tensors = {
        name if name.startswith(_WHOLE_TEXT) else original.text_name(name): tensor
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
