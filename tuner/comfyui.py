"""The positive prompt in the graph that ComfyUI writes into a picture.

The graph is a JSON object of nodes by id; an input is a value, or a link `[node id, output]`. The
sampler's `positive` input is followed backwards, through all nodes between, to texts.
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
