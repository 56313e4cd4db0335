"""Mutated safetensors through every reader of them: bases, LoRAs, judges, caches."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from metrics.detectors.embedding import PictureEmbedding
from metrics.detectors.models import ModelUnavailableError
from metrics.detectors.open_clip import ZeroShotClassifier
from metrics.detectors.yolo import PersonDetector
from tests.fuzz.isolation import Case, SilentlyWrong
from tuner.errors import TunerError
from tuner.judging.models import refuse_broken
from tuner.models import load_base, read_file
from tuner.models.checkpoint import read_checkpoint
from tuner.models.dreambooth import put_on, read
from tuner.models.method import clip_skip, loaded
from tuner.storage import shipped
from tuner.storage.tensor_cache import TensorCache


def prepare(place: Path) -> Case:
    torch.set_num_threads(1)
    base = load_base("mannequin", "cpu")
    sources = place / "sources"
    sources.mkdir()
    write_sources(sources)
    grey = np.full((64, 64, 3), 99, np.uint8)

    def lora(path: Path) -> None:
        read_file(path)
        clip_skip(base, path)
        with loaded(base, path):
            pass

    def whole(path: Path) -> None:
        read(path)
        put_on(base, path)

    def cached(path: Path) -> None:
        cache = TensorCache(path.parent, {"vae": "1"})
        (path.parent / "again").mkdir()
        made = cache.tensors("vae", ["x"], lambda: {"a": torch.ones(2)})
        if list(made) != ["a"] or made["a"].tolist() != [1.0, 1.0]:
            raise SilentlyWrong("another tensor than the one that was made")

    def clip(path: Path) -> None:
        refuse_broken(str(path.parent))
        ZeroShotClassifier(str(path.parent)).embed(grey)

    readers: dict[str, list[Callable[[Path], object]]] = {
        "lora": [lora, whole, read_checkpoint],
        "peft": [lora],
        "whole": [whole, lora],
        "checkpoint": [read_checkpoint, lora],
        "base": [lambda path: load_base(str(path.parent), "cpu")],
        "clip": [clip],
        "yolo": [lambda path: PersonDetector(str(path.parent))(grey)],
        "sscd": [lambda path: PictureEmbedding(str(path))],
        "cache": [cached],
    }

    def case(folder: Path, rng: random.Random) -> str:
        kind = rng.choice(sorted(readers))
        path = laid(kind, sources, folder)
        path.write_bytes(mutated(path.read_bytes(), rng))
        ends = [outcome(reader, path) for reader in readers[kind]]
        return "refused" if "refused" in ends else "accepted"

    return case


def outcome(reader: Callable[[Path], object], path: Path) -> str:
    try:
        reader(path)
    except (TunerError, ModelUnavailableError) as error:
        text = str(error)
        if "\n" in text.strip() or len(text) > 900:
            raise SilentlyWrong(f"an unclear line: {text[:1500]}") from None
        return "refused"
    return "accepted"


def write_sources(folder: Path) -> None:
    """Write a good file of each kind; only small ones, beside the shipped networks."""
    rng = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return rng.normal(0, 0.02, shape).astype(np.float16)

    attention = "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    lora = {
        f"lora_unet_{attention}.lora_down.weight": array(4, 128),
        f"lora_unet_{attention}.lora_up.weight": array(128, 4),
        f"lora_unet_{attention}.alpha": np.array(4, np.float32),
    }
    save_file(lora, folder / "lora.safetensors", {"ss_network_dim": "4", "ss_clip_skip": "2"})
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    peft = {f"{name}.lora_A.weight": array(4, 128), f"{name}.lora_B.weight": array(128, 4)}
    adapter = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 4, "unet.r": 4})}
    save_file(peft, folder / "peft.safetensors", adapter)
    unet = {"unet.conv_in.bias": array(64), "text_encoder.x": array(2, 2)}
    save_file(unet, folder / "whole.safetensors", {"tuner.contents": "weights"})
    block = "model.diffusion_model.input_blocks"
    checkpoint = {
        f"{block}.0.0.weight": array(320, 4, 1, 1),
        f"{block}.1.1.transformer_blocks.0.attn2.to_k.weight": array(1, 768),
        "first_stage_model.x": array(1),
        "cond_stage_model.transformer.x": array(1),
    }
    save_file(checkpoint, folder / "checkpoint.safetensors")
    save_file({"backbone.conv1.weight": array(64, 3, 7, 7)}, folder / "sscd.safetensors")
    TensorCache(folder, {"vae": "1"}).tensors("vae", ["x"], lambda: {"a": torch.ones(2)})


def laid(kind: str, sources: Path, folder: Path) -> Path:
    """Lay a good file of a kind into `folder` with what belongs beside it; return its path."""
    if kind in ("base", "clip", "yolo"):
        network = {"base": shipped.BASE, "clip": shipped.CLIP, "yolo": shipped.YOLO}[kind]
        shutil.copytree(network, folder / kind)
        return next(iter(sorted((folder / kind).rglob("*.safetensors"))))
    name = f"{kind}.safetensors"
    if kind == "cache":
        name = next(path.name for path in sources.iterdir() if path.name.startswith("vae-"))
    return Path(shutil.copy(sources / name, folder / name))


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Change the header's length, its entries, its bytes, or the tensors' bytes."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + length], content[8 + length :]
    match rng.randrange(8):
        case 0:
            size = rng.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1, 10**8))
            return struct.pack("<Q", size) + header + data
        case 1:
            return content[: rng.choice((0, 4, 8, 8 + length // 2, rng.randrange(len(content))))]
        case 2:
            place = rng.randrange(len(header))
            header = header[:place] + rng.randbytes(1) + header[place + 1 :]
        case 3:
            start = rng.randrange(len(data) or 1)
            data = data[:start] + rng.choice((b"\xff", b"\x7c")) * 64 + data[start + 64 :]
        case 4:
            header = rng.choice((b"[]", b"{}", b"", b"null", b"[" * 10_000, b'{"a": 1}'))
        case _:
            header = json.dumps(changed_header(json.loads(header), rng)).encode()
    return struct.pack("<Q", len(header)) + header + data


METADATA = ("", "{", "[]", "nan", "-1", "9" * 5000, "0", "1e400", "null", '{"unet.r": []}')


def changed_header(header: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Change one entry of a safetensors header."""
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    entry = header[name]
    match rng.randrange(7):
        case 0:
            entry["dtype"] = rng.choice(("F32", "F64", "BF16", "I8", "BOOL", "F8_E4M3", "X", "I64"))
        case 1:
            entry["shape"] = rng.choice(
                ([], [0], [2**40, 0], [1, *entry["shape"]], entry["shape"][::-1], [-1], [2**62, 4])
            )
        case 2:
            start, end = entry["data_offsets"]
            entry["data_offsets"] = rng.choice(([end, start], [0, 0], [start, end + 1], [0, 2**62]))
        case 3:
            header[rng.choice((name + "x", "", "\0", "x" * 5000, "a\nb", "lora_unet_"))] = entry
            del header[name]
        case 4:
            del header[name]
        case 5:
            other = rng.choice(names)
            header[name] = dict(header[other])
        case _:
            keys = ("format", "tuner.contents", "ss_clip_skip", "key")
            own = {rng.choice(keys): rng.choice(METADATA)}
            own["lora_adapter_metadata"] = rng.choice(METADATA)
            header["__metadata__"] = {**header.get("__metadata__", {}), **own}
    return header
