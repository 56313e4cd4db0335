"""The positive prompt in the graph that ComfyUI writes into a picture.

The graph is a JSON object of nodes by id; an input is a value, or a link `[node id, output]`. The
sampler's `positive` input is followed backwards, through whatever nodes lie between, to texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]
Graph = Mapping[str, Node]

_TEXT = re.compile(r"(?i)(?:text|string|prompt|value|positive|clip_l|t5xxl)")
_NEGATIVE = re.compile(r"(?i)negative")
_NOT_WORDS = re.compile(
    r"(?i)(?:negative|clip(?!_l)|vae|model|image|latent|samples|mask|control_net|noise|sigmas)"
)
"""Inputs that lead away from the words: pictures, models, and the negative prompt."""


def positive_prompt(chunk: str) -> str | None:
    """The positive prompt in a `prompt` chunk, its texts joined by commas.

    None where none is found. Never raises: what cannot be read has no prompt.
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
    """Nodes that take a positive prompt, KSamplers first, then other samplers, then the rest."""

    def rank(node: Node) -> int:
        kind = str(node.get("class_type", ""))
        return 0 if "KSampler" in kind else 1 if "Sampler" in kind else 2

    takers = [
        node
        for node in graph.values()
        if "positive" in node["inputs"] or "guider" in node["inputs"]
    ]
    return sorted(takers, key=rank)


def _texts(graph: Graph, start: Node) -> Iterator[str]:
    """The texts that `start`'s positive input is made of, in the graph's order, each node once."""
    inputs = start["inputs"]
    first = inputs.get("positive", inputs.get("guider"))
    waiting, seen = [first], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if value.strip():
                yield value.strip()
        elif (name := _linked(value, graph)) is not None and name not in seen:
            seen.add(name)
            waiting += reversed(_leading_to_words(graph[name]["inputs"]))


def _leading_to_words(inputs: Mapping[str, Any]) -> list[Any]:
    """The inputs of a node that are, or may lead to, its words.

    Where a node names a prompt by its kind (`positive`), its other links are not asked: nodes
    that carry both prompts take pictures and settings besides.
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
