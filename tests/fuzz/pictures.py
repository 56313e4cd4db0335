"""Broken pictures through every reader of them: data folders, audits, scores, labels, prompts."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from tests.fuzz.isolation import Case, SilentlyWrong
from tuner.data import read_folder
from tuner.data.audit import Wanted, audit
from tuner.data.folder import load_pixels
from tuner.data.picture_file import UnusableError, opened, read_pixels
from tuner.errors import TunerError
from tuner.judging import find_pictures
from tuner.judging.image_prompt import read_prompts

GRAPH = json.dumps(
    {
        "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["3", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "1girl, solo"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry"}},
    }
)


def prepare(place: Path) -> Case:
    sources = list(pictures())

    def case(folder: Path, rng: random.Random) -> str:
        suffix, content = rng.choice(sources)
        data = folder / "photos"
        data.mkdir()
        broken = data / f"broken{rng.choice((suffix, suffix, '.png', '.jpg'))}"
        broken.write_bytes(changed(suffix, content, rng))
        odd = rng.randbytes(rng.randrange(200)) if rng.random() < 0.2 else b"1boy"
        broken.with_suffix(".txt").write_bytes(odd)
        for number in range(3):
            sound = data / f"sound{number}.png"
            sound.write_bytes(sources[number][1])
            sound.with_suffix(".txt").write_text("1girl")
        ends = {outcome(reader, data, broken) for reader in (trained, audited, scored, opened_up)}
        return "refused" if "refused" in ends else "accepted"

    return case


def outcome(reader: Callable[[Path, Path], None], folder: Path, broken: Path) -> str:
    try:
        reader(folder, broken)
    except (TunerError, UnusableError) as error:
        if "\n" in str(error).strip():
            raise SilentlyWrong(f"more than one line: {error}"[:1500]) from None
        return "refused"
    return "accepted"


def trained(folder: Path, broken: Path) -> None:
    data = read_folder(folder)
    for image in (*data.images, *data.held_out):
        pixels = np.asarray(load_pixels(image))
        if pixels.shape != (image.height, image.width, 3):
            raise SilentlyWrong(f"{pixels.shape} is not {(image.height, image.width)}")


def audited(folder: Path, broken: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        audit(read_folder(folder), Wanted((), ((64, 64),)), (), {})


def scored(folder: Path, broken: Path) -> None:
    for path, _ in find_pictures(folder).prompted:
        np.asarray(read_pixels(path), np.uint8)


def opened_up(folder: Path, broken: Path) -> None:
    with opened(broken) as image:
        prompts, others = read_prompts(broken, image)
        for text in (*prompts, *others):
            text.encode()


def pictures() -> list[tuple[str, bytes]]:
    """Sound pictures of every kind that is read, with all metadata that is read."""
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 4), np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "1girl\nNegative prompt: bad\nSteps: 20")
    text.add_text("prompt", GRAPH)
    text.add_itxt("workflow", "{}")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "1girl".encode("utf-16-be")
    made = []
    for mode, suffix, options in (
        ("RGB", ".png", {"pnginfo": text}),
        ("RGBA", ".png", {"pnginfo": text, "exif": exif}),
        ("P", ".png", {}),
        ("LA", ".png", {}),
        ("I;16", ".png", {}),
        ("1", ".png", {}),
        ("RGB", ".jpg", {"exif": exif}),
        ("CMYK", ".jpg", {"progressive": True}),
        ("L", ".jpg", {}),
        ("RGBA", ".webp", {"exif": exif}),
        ("RGB", ".webp", {"lossless": True}),
        ("RGB", ".bmp", {}),
    ):
        image = Image.fromarray(pixels, "RGBA")
        if mode == "I;16":
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        else:
            image = (image if mode == "RGBA" else image.convert("RGB")).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, {".png": "PNG", ".jpg": "JPEG"}.get(suffix, suffix[1:]), **options)
        made.append((suffix, buffer.getvalue()))
    return made


def changed(suffix: str, content: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(6 if suffix == ".png" else 4)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        at = rng.randrange(len(content))
        return content[:at] + content[at + rng.randrange(1, 60) :]
    if kind < 4:
        changed_bytes = bytearray(content)
        for _ in range(rng.choice((1, 3, 20))):
            # The first bytes, where the sizes are, more often than the rest.
            at = rng.randrange(rng.choice((40, len(content))))
            changed_bytes[at] = rng.choice((0, 255, 127, rng.randrange(256)))
        return bytes(changed_bytes)
    return changed_chunks(content, rng)


TEXTS = (b"prompt\0" + b"[" * 100_000, b"prompt\0" + b'{"1": {"inputs": {"positive": ["1", 0]}}}')
TEXTS += (b"parameters\0\xff\xfe", b"parameters\0" + b"a" * 3_000_000, b"parameters", b"prompt\0{}")
TEXTS += (b"parameters\0a loli\nSteps: 1", b'prompt\0{"1": {"inputs": {"positive": 1e999}}}')


def changed_chunks(content: bytes, rng: random.Random) -> bytes:
    """A PNG with a changed chunk that has a right checksum: sizes, modes, palettes, texts."""
    chunks, at = [], 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    match rng.randrange(6):
        case 0:
            size = rng.choice(((0, 5), (2**31 - 1, 1), (7000, 7000), (100_000, 400), (1, 30_000)))
            chunks[0] = (b"IHDR", struct.pack(">II", *size) + chunks[0][1][8:])
        case 1:
            chunks[0] = (b"IHDR", chunks[0][1][:8] + rng.randbytes(5))
        case 2:
            chunks.insert(1, (rng.choice((b"tEXt", b"iTXt", b"zTXt")), rng.choice(TEXTS)))
        case 3:
            bomb = zlib.compress(b"0" * 300_000_000, 9) if rng.random() < 0.2 else rng.randbytes(40)
            packed = rng.choice((b"prompt\0\0", b"a\0\0")) + bomb
            chunks.insert(1, (rng.choice((b"zTXt", b"iCCP")), packed))
        case 4:
            name = rng.choice((b"eXIf", b"tRNS", b"PLTE", b"gAMA", b"pHYs", b"acTL", b"fcTL"))
            chunks.insert(1, (name, rng.randbytes(rng.choice((0, 1, 6, 26, 300)))))
        case _:
            rng.shuffle(chunks)
    joined = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return content[:8] + joined
