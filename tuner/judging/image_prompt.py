"""Prompts of a picture: in a text file beside it, or in metadata that programs wrote into it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

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


Node = Mapping[str, Any]


Graph = Mapping[str, Node]


_TEXT = re.compile(r"(?i)(?:text|string|prompt|value|positive|clip_l|t5xxl)")


_NEGATIVE = re.compile(r"(?i)negative")


_NOT_WORDS = re.compile(
    r"(?i)(?:negative|clip(?!_l)|vae|model|image|latent|samples|mask|control_net|noise|sigmas)"
)
"""Inputs that do not lead to the prompt: pictures, models, and the negative prompt."""


def positive_prompt(chunk: str) -> str | None:
    """Return the positive prompt in a `prompt` chunk, its texts joined by commas.

    None if there is none or the chunk cannot be read. Never raises.
    """
    try:
        parsed = json.loads(chunk)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    graph = {
        str(name): node
        for name, node in parsed.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }
    for start in _samplers(graph):
        texts = list(dict.fromkeys(_texts(graph, start)))
        if texts:
            return ", ".join(texts)
    return None


def _samplers(graph: Graph) -> list[Node]:
    """Return the nodes with a positive prompt: KSamplers, other samplers, then the rest."""

    def rank(node: Node) -> int:
        kind = str(node.get("class_type", ""))
        return 0 if "KSampler" in kind else 1 if "Sampler" in kind else 2

    nodes = [
        node
        for node in graph.values()
        if "positive" in node["inputs"] or "guider" in node["inputs"]
    ]
    return sorted(nodes, key=rank)


def _texts(graph: Graph, start: Node) -> Iterator[str]:
    """Yield the texts that feed `start`'s positive input, in the graph's order, each node once."""
    inputs = start["inputs"]
    first = inputs.get("positive", inputs.get("guider"))
    waiting, visited = [first], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if value.strip():
                yield value.strip()
        elif (name := _linked(value, graph)) is not None and name not in visited:
            visited.add(name)
            waiting += reversed(_leading_to_words(graph[name]["inputs"]))


def _leading_to_words(inputs: Mapping[str, Any]) -> list[Any]:
    """Return the inputs of a node that are texts or may lead to texts.

    If an input is named like a text or a positive prompt, other links are not followed: nodes with
    both prompts have links to pictures and settings too.
    """
    texts = {
        key: value
        for key, value in inputs.items()
        if _TEXT.search(key) and not _NEGATIVE.search(key)
    }
    if texts:
        return list(texts.values())
    return [
        value
        for key, value in inputs.items()
        if isinstance(value, list) and not _NOT_WORDS.search(key)
    ]


def _linked(value: object, graph: Graph) -> str | None:
    if not isinstance(value, list) or not value or not isinstance(value[0], str | int):
        return None
    return str(value[0]) if str(value[0]) in graph else None
