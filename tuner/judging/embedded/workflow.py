"""Conversion of ComfyUI's editor graph (`workflow`) into the one that its server runs.

The editor keeps the texts of a node in a list without names. A node with a single text gets it as
`text`; the texts of other nodes cannot be told from their settings, so they only go through the
refusal rules.
"""

from __future__ import annotations

import re
from typing import Any

_MUTED = 2
_FILE = re.compile(r"(?i).*\.(?:safetensors|ckpt|pth?|bin|onnx|png|jpe?g|webp)")
_TEXT_NODE = re.compile(r"(?i)text|prompt|string|primitive|wildcard|encode|caption|cond")


def graph_of_workflow(value: object) -> dict[str, Any] | None:
    """Return the graph in the editor's parsed JSON; None if it is something else."""
    if not isinstance(value, dict) or not isinstance(value.get("nodes"), list):
        return None
    graph = _converted(value, "")
    definitions = value.get("definitions")
    inner = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    for index, subgraph in enumerate(inner if isinstance(inner, list) else []):
        if isinstance(subgraph, dict) and isinstance(subgraph.get("nodes"), list):
            graph |= _converted(subgraph, f"{index}:")
    return graph or None


def _converted(value: dict[str, Any], prefix: str) -> dict[str, Any]:
    sources: dict[Any, list[Any]] = {}
    links = value.get("links")
    for link in links if isinstance(links, list) else []:
        # A list in the outer graph, a mapping in subgraphs.
        if isinstance(link, dict):
            link = [link.get("id"), link.get("origin_id"), link.get("origin_slot")]
        if isinstance(link, list) and len(link) > 2 and isinstance(link[0], int):
            sources[link[0]] = [f"{prefix}{link[1]}", link[2]]
    return {
        f"{prefix}{node.get('id')}": {
            "class_type": node.get("type"),
            "inputs": _inputs(node, sources),
            "_meta": {"title": node.get("title", "")},
        }
        for node in value["nodes"]
        if isinstance(node, dict) and node.get("mode") != _MUTED
    }


def _inputs(node: dict[str, Any], sources: dict[Any, list[Any]]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    listed = node.get("inputs")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("link"), int):
            inputs[str(entry.get("name"))] = sources.get(entry["link"])
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return {**values, **inputs}
    texts = [text for text in values if isinstance(text, str)] if isinstance(values, list) else []
    words = [text for text in texts if not _FILE.fullmatch(text.strip())]
    if len(words) == 1 and _TEXT_NODE.search(str(node.get("type"))):
        return {"text": words[0], **inputs}
    return {**{f"unknown_{index}": text for index, text in enumerate(words)}, **inputs}
