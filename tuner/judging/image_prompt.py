"""Prompts of a picture: in a text file beside it, or in metadata that programs wrote into it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from tuner.data.caption_files import read_caption
from tuner.data.formats.png import read_texts
from tuner.data.prompt_words import read_prompt
from tuner.judging.embedded.reading import Reading
from tuner.judging.embedded.stealth import hidden_text
from tuner.judging.embedded.texts import a1111_prompt, read_invokeai, read_text

_EXIF = 0x8769
_COMMENTS = (0x010E, 0x010F, 0x0110, 0x9286, 0x9C9B, 0x9C9C)
"""EXIF's ImageDescription, Make and Model (ComfyUI's WebP), UserComment (A1111, SwarmUI, Fooocus),
XPTitle and XPComment."""

_XP = frozenset({0x9C9B, 0x9C9C})
_NAMED = re.compile(r"(?i)(prompt|workflow|parameters):\s*(?=\{)")

_FIRST = ("parameters", "prompt", "sd-metadata", "dream", "comment")
_LAST = ("workflow", "invokeai_workflow", "invokeai_graph")
"""Texts that say again, less clearly, what another text says: read only if no other has a prompt.
"""

_BARE = frozenset({"parameters", "description of novelai"})
"""Texts that may be a prompt and nothing else, without settings."""

_INVOKEAI = frozenset({"sd-metadata", "dream"})
_XMP_TEXT = re.compile(r"<rdf:li[^<>]*>([^<>]+)</rdf:li>")
_MOST_CHARACTERS = 100_000


def read_prompts(path: Path, image: Image.Image) -> tuple[list[str], list[str]]:
    """Return the positive prompts of the decoded picture at `path`, and its other texts.

    The prompts are ordered, the most reliable first: a `.txt` of the same name beside it (plain or
    in A1111's format), `parameters`, `prompt`, InvokeAI's and NovelAI's texts, EXIF, XMP, the alpha
    channel. The other texts are those that may have been requested too; nothing says that they are
    negative. Both hold 100,000 characters at most. Raises UnusableError of
    tuner.data.picture_file for a text file that is not text.
    """
    sidecar = path.with_suffix(".txt")
    readings = [Reading(a1111_prompt(read_caption(sidecar)))] if sidecar.is_file() else []
    texts = sorted(_written_inside(path, image), key=lambda entry: _rank(entry[0]))
    for name, text in texts:
        if name in _LAST and any(reading.prompt for reading in readings):
            continue
        readings.append(_read(name, text))
    prompts = dict.fromkeys(reading.prompt for reading in readings if reading.prompt)
    others = dict.fromkeys(text for reading in readings for text in reading.others)
    return _within_bound(prompts), _within_bound(others)


def _rank(name: str) -> int:
    order = (*_FIRST, "", *_LAST)
    return order.index(name if name in order else "")


def _read(name: str, text: str) -> Reading:
    if name in _INVOKEAI:
        return read_invokeai(text)
    return read_text(text, is_prompt=name in _BARE and not _is_one_word(text))


def _is_one_word(text: str) -> bool:
    """Return True for a single ASCII word that names no sex, such as a camera's `Screenshot`."""
    text = text.strip()
    return text.isascii() and re.search(r"[\s,]", text) is None and read_prompt(text).sex is None


def _within_bound(texts: Mapping[str, None]) -> list[str]:
    bounded, left = [], _MOST_CHARACTERS
    for text in texts:
        # JSON can hold lone surrogates, which cannot be written to a file or a terminal.
        bounded.append(text[:left].encode("utf-8", "replace").decode("utf-8"))
        left -= len(text)
        if left <= 0:
            break
    return bounded


def _written_inside(path: Path, image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield name and content of each text in a picture; names in lower case, "" for a comment."""
    try:
        chunks = read_texts(path) if image.format == "PNG" else []
    except OSError:
        chunks = []
    novelai = any("novelai" in text.casefold() for _, text in chunks if len(text) < 100)
    for name, text in chunks:
        keyword = name.casefold()
        if keyword == "xml:com.adobe.xmp":
            yield from _xmp(text)
        else:
            yield (
                "description of novelai" if novelai and keyword == "description" else keyword,
                text,
            )
    for name in ("comment", "xmp"):
        raw = image.info.get(name)
        content = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        if isinstance(content, str):
            yield from _xmp(content) if name == "xmp" else [("", content)]
    yield from _exif(image)
    hidden = hidden_text(image)
    if hidden is not None:
        yield "", hidden


def _xmp(text: str) -> Iterator[tuple[str, str]]:
    for match in _XMP_TEXT.finditer(text):
        if (value := html.unescape(match[1]).strip()) and " " in value:
            yield "", value


def _exif(image: Image.Image) -> Iterator[tuple[str, str]]:
    try:
        exif = image.getexif()
        tags = [(tag, group.get(tag)) for group in (exif.get_ifd(_EXIF), exif) for tag in _COMMENTS]
    except Exception:  # damaged EXIF can raise anything, and the picture is still usable
        return
    for tag, value in tags:
        text = _exif_text(tag, value)
        if text:
            named = _NAMED.match(text)
            yield (named[1].casefold(), text[named.end() :]) if named else ("", text)


def _exif_text(tag: int, value: object) -> str | None:
    """Return the text of a tag; UserComment begins with the name of its encoding."""
    if isinstance(value, str):
        return value.strip("\0 ")
    if isinstance(value, tuple) and tag in _XP and all(isinstance(part, int) for part in value):
        value = bytes(part & 255 for part in value)
    if not isinstance(value, bytes):
        return None
    if tag in _XP:
        return value.decode("utf-16-le", "replace").strip("\0 ")
    if value[:1] == b"{":
        return value.decode("utf-8", "replace").strip("\0 ")
    if len(value) <= 8:
        return None
    code, text = value[:8].rstrip(b"\0 "), value[8:]
    if code == b"UNICODE":
        # The byte order depends on the program: A1111 writes big-endian, others little-endian.
        little = text[1::2].count(0) > text[0::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").strip("\0")
    return text.decode("utf-8", "replace").strip("\0") if code in (b"ASCII", b"") else None
