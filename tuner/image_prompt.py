"""Prompts of a picture: in a text file beside it, or in metadata that programs wrote into it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tuner.comfyui import positive_prompt
from tuner.data.caption_files import read_caption

_END_OF_PROMPT = re.compile(r"(?m)^(?:Negative prompt:|Steps: ?\d)")
_EXIF, _USER_COMMENT = 0x8769, 0x9286


def prompts_of(path: Path, image: Image.Image) -> list[str]:
    """Return every positive prompt of the opened picture at `path`, the most reliable first.

    The order: a `.txt` of the same name beside it (plain or in A1111's format), `parameters` (A1111
    and its forks), `prompt` (ComfyUI), EXIF's UserComment (A1111's JPEG and WebP). Raises
    tuner.data.picture_file.UnusableError for a text file that is not text.
    """
    sidecar = path.with_suffix(".txt")
    texts = [a1111_prompt(read_caption(sidecar))] if sidecar.is_file() else []
    texts += _written_inside(image)
    # JSON can hold lone surrogates, which cannot be written to a file or a terminal.
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def a1111_prompt(parameters: str) -> str:
    """Return the prompt in A1111's text: all before the line `Negative prompt:` or `Steps:`."""
    end = _END_OF_PROMPT.search(parameters)
    return (parameters[: end.start()] if end else parameters).strip()


def _written_inside(image: Image.Image) -> Iterator[str]:
    parameters = image.info.get("parameters")
    if isinstance(parameters, str):
        yield a1111_prompt(parameters)
    graph = image.info.get("prompt")
    if isinstance(graph, str) and (text := positive_prompt(graph)) is not None:
        yield text
    if (comment := _user_comment(image)) is not None:
        yield a1111_prompt(comment)


def _user_comment(image: Image.Image) -> str | None:
    try:
        raw = image.getexif().get_ifd(_EXIF).get(_USER_COMMENT)
    except Exception:  # damaged EXIF can raise anything, and the picture is still usable
        return None
    if not isinstance(raw, bytes) or len(raw) <= 8:
        return None
    code, text = raw[:8].rstrip(b"\0 "), raw[8:]
    if code == b"UNICODE":
        # The byte order depends on the program: A1111 writes big-endian, others little-endian.
        little = text[1::2].count(0) > text[0::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").strip("\0")
    return text.decode("utf-8", "replace").strip("\0") if code in (b"ASCII", b"") else None
