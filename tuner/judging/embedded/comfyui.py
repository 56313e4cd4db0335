"""The prompt in a graph of ComfyUI: from the node that saved the picture back to the texts.

Nodes are known by the names of their inputs rather than their own, since there are thousands. A
graph is what ComfyUI's server runs (the chunk `prompt`); the editor's (`workflow`) is converted.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from tuner.judging.embedded.reading import Reading, is_negative

Node = Mapping[str, Any]
Graph = Mapping[str, Node]

_POSITIVE = re.compile(
    r"(?i)(?:^|_|\b)pos(?:itive)?(?:[_ ]?(?:prompt|text|cond\w*|embeds|[gl]|\d+))*$"
)
_BUNDLED = re.compile(r"(?i)guider|pipe|tuple|ctx|context")
"""Inputs with both prompts of a sampler."""

_CONDITIONED = re.compile(rf"{_BUNDLED.pattern}|cond|embeds|prompt")
"""Inputs by which a sampler gets its prompt, if none is named positive."""

_WORDS = re.compile(r"(?i)text|string|prompt|^value$|clip_[lg]$|t5xxl|^bert$|mt5|llama|wildcard")
_NO_WORDS = re.compile(
    r"(?i)(?:region|target|mask)_|system|delimiter|separator|token|weight|encoder|file|path|style"
    r"|mode|type|name|strength"
)
"""Texts beside a prompt: settings, and parts of it that are marked (cut-off nodes)."""

_NOT_TO_WORDS = re.compile(
    r"(?i)(?:^|_)(?:clip|vae|model|images?|latents?|latent_image|samples|mask|control_net|noise"
    r"|sigmas|pixels)\d*$|^clip_vision|^empty"
)
"""Links that do not lead to the prompt: pictures, models, PerpNeg's empty prompt."""

_NOT_TO_PICTURES = re.compile(
    r"(?i)cond|guider|embeds|prompt|text|string|file|prefix"
    r"|(?:^|_)(?:clip|vae|model|control_net|noise|sigmas)"
)
_PICTURES = re.compile(r"(?i)^(?:images?|pixels|segs)$")
_SAVED = re.compile(r"(?i)image|picture|pixels|samples|latent|video|frames|pipe")
_FILES = re.compile(r"(?i)name|path|file|prefix|folder|directory|model|lora|ckpt|vae|sampler|sched")
_CHOICE = frozenset({"select", "selected", "index", "input", "selected_input"})

_MOST_NODES = 5_000
_MOST_ENDS, _MOST_SAMPLERS = 5, 10
"""Bounds of the search, so that a graph made to be slow costs seconds."""


def graph_of(value: object) -> Graph | None:
    """Return the graph in parsed JSON, by the names of its nodes; None if it is something else."""
    if not isinstance(value, dict):
        return None
    graph = {
        str(name): node
        for name, node in value.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node
    }
    return graph if 0 < len(graph) <= _MOST_NODES else None


def read_graph(graph: Graph) -> Reading:
    """Return the prompt of the sampler nearest to the node that saved the picture.

    Where several nodes save, the last pass counts; there is no prompt if none is the last.
    `others` are the prompts of the other samplers, or, without a prompt, all texts that do not lead
    to a negative input.
    """
    prompt = _saved_prompt(graph)
    starts = [value for node in graph.values() for value in _prompt_inputs(node, _BUNDLED)]
    positive = _walk(graph, starts)
    others = [text for _, text in positive]
    if not prompt:
        negative = {name for name, _ in _walk(graph, _negative_inputs(graph.values()), True)}
        negative -= {name for name, _ in positive}
        others += [
            text
            for name, node in graph.items()
            if name not in negative and not _is_titled_negative(node)
            for text in _all_texts(node)
        ]
    return Reading(prompt, tuple(dict.fromkeys(others)))


def _saved_prompt(graph: Graph) -> str:
    linked = {name for node in graph.values() for name in _linked_by(node, graph)}
    saving = [name for name, node in graph.items() if _saves(node)][:_MOST_ENDS]
    nearest = [sampler for end in saving if (sampler := _nearest_sampler(graph, end)) is not None]
    if nearest:
        return _last_pass(graph, dict(nearest))
    ends = [name for name in graph if name not in linked]
    if len(ends) == 1 and (sampler := _nearest_sampler(graph, ends[0])) is not None:
        return sampler[1]
    return _first_of_sampler(graph)


def _last_pass(graph: Graph, prompts: Mapping[str, str]) -> str:
    """Return the prompt of the sampler that all others lead to; empty if there is none such."""
    if len(set(prompts.values())) == 1:
        return next(iter(prompts.values()))
    for last, prompt in prompts.items():
        before, waiting = {last}, [last]
        while waiting:
            new = set(_linked_by(graph[waiting.pop()], graph)) - before
            before |= new
            waiting += new
        if before >= prompts.keys():
            return prompt
    return ""


def _saves(node: Node) -> bool:
    links = any(isinstance(v, list) and _SAVED.search(key) for key, v in node["inputs"].items())
    return links and "save" in _kind(node)


def _nearest_sampler(graph: Graph, end: str) -> tuple[str, str] | None:
    """Return the name and the prompt of the nearest sampler before a node.

    A node that repaints a finished picture (a face, tiles) counts only if nothing else has one.
    """
    waiting, visited = deque([end]), {end}
    repainter, walks = None, 0
    while waiting and walks < _MOST_SAMPLERS:
        name = waiting.popleft()
        inputs = graph[name]["inputs"]
        start = _prompt_inputs(graph[name], _CONDITIONED)
        walks += bool(start)
        prompt = _joined(_walk(graph, start))
        repaints = name != end and any(
            _PICTURES.search(key) and isinstance(value, list) for key, value in inputs.items()
        )
        if prompt and not repaints:
            return name, prompt
        if prompt and repainter is None:
            repainter = name, prompt
        for key, value in inputs.items():
            before = _linked(value, graph)
            pictures = not (is_negative(key) or _POSITIVE.search(key))
            if before and before not in visited and pictures and not _NOT_TO_PICTURES.search(key):
                visited.add(before)
                waiting.append(before)
    return repainter


def _first_of_sampler(graph: Graph) -> str:
    """Return the prompt of the first KSampler, or other sampler, or other node with a prompt."""

    def rank(node: Node) -> int:
        kind = _kind(node)
        return 0 if "ksampler" in kind else 1 if "sampler" in kind else 2

    starts = (
        start
        for node in sorted(graph.values(), key=rank)
        if (start := _prompt_inputs(node, _BUNDLED))
    )
    prompts = (_joined(_walk(graph, start)) for start in islice(starts, _MOST_SAMPLERS))
    return next((prompt for prompt in prompts if prompt), "")


def _prompt_inputs(node: Node, others: re.Pattern[str]) -> list[Any]:
    """Return the values that are a sampler's prompt, or links to it; none for other nodes.

    They are the inputs named positive, else links by the names of `others` and texts named prompt.
    """
    inputs = {key: value for key, value in node["inputs"].items() if isinstance(value, str | list)}
    positive = [value for key, value in inputs.items() if _POSITIVE.search(key)]
    if positive or "encode" in _kind(node):
        return positive
    return [
        value
        for key, value in inputs.items()
        if others.search(key) and not is_negative(key)
        if isinstance(value, list) or ("prompt" in key and not _NO_WORDS.search(key))
    ]


def _negative_inputs(nodes: Iterable[Node]) -> list[Any]:
    return [value for node in nodes for key, value in node["inputs"].items() if is_negative(key)]


def _walk(graph: Graph, start: Sequence[Any], negative: bool = False) -> list[tuple[str, str]]:
    """Return the node and the words of each text that leads to `start`, each node once.

    With `negative`, negative inputs are followed where a node has both. A guider without an input
    named positive may get its negative prompt twice: what is negative for it is left out.
    """
    texts: list[tuple[str, str]] = []
    doubtful: list[Any] = []
    visited: set[str] = set()
    waiting = [("", value) for value in reversed(start)]
    while waiting:
        owner, value = waiting.pop()
        if isinstance(value, str):
            if value.strip():
                texts.append((owner, value.strip()))
        elif (name := _linked(value, graph)) is not None and name not in visited:
            visited.add(name)
            leading, has_positive = _leading_to_words(graph[name], negative)
            waiting += [(name, value) for value in reversed(leading)]
            if not has_positive and not negative:
                doubtful += _negative_inputs([graph[name]])
    if doubtful:
        left_out = {name for name, _ in _walk(graph, doubtful, True)}
        texts = [text for text in texts if text[0] not in left_out] or texts
    return texts


def _leading_to_words(node: Node, negative: bool) -> tuple[list[Any], bool]:
    """Return the inputs of a node that are texts or may lead to texts.

    Where inputs are named positive or negative, only those of the wanted kind count; the second
    value is True if so.
    """
    inputs = dict(node["inputs"])
    if "zeroout" in _kind(node):
        return [], True
    named = {
        key: value
        for key, value in inputs.items()
        if (is_negative(key) if negative else _POSITIVE.search(key)) and value
        if isinstance(value, str | list)
    }
    if named:
        return list(named.values()), True
    neutral = {
        key: value
        for key, value in inputs.items()
        if not is_negative(key) and not _POSITIVE.search(key)
    }
    if any(isinstance(v, str) and v.strip() for k, v in neutral.items() if "populated" in k):
        # What was drawn from a template stands beside it.
        neutral = {
            key: value
            for key, value in neutral.items()
            if "populated" in key or not _WORDS.search(key)
        }
    return [
        value
        for key, value in _chosen(neutral).items()
        if (isinstance(value, str) and _WORDS.search(key) and not _NO_WORDS.search(key))
        or (isinstance(value, list) and not _NOT_TO_WORDS.search(key))
    ], False


def _chosen(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out the inputs that a switch did not choose, by their number or true and false."""
    for key, choice in inputs.items():
        if isinstance(choice, bool) and key.casefold() in {"switch", "boolean"}:
            other = str(not choice).casefold()
            return {k: v for k, v in inputs.items() if not k.casefold().endswith(other)}
        if isinstance(choice, int) and key.casefold() in _CHOICE:
            numbers = {k: match[1] for k in inputs if (match := re.search(r"(\d+)$", k))}
            if str(choice) in numbers.values():
                return {k: v for k, v in inputs.items() if numbers.get(k) in (None, str(choice))}
    return inputs


def _all_texts(node: Node) -> Iterator[str]:
    for key, value in node["inputs"].items():
        if not isinstance(value, str) or is_negative(key) or _FILES.search(key):
            continue
        if " " in value or len(value) < 200:  # longer ones are data, not words
            yield value.strip()


def _is_titled_negative(node: Node) -> bool:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else ""
    return is_negative(str(title)) or is_negative(_kind(node))


def _joined(texts: Sequence[tuple[str, str]]) -> str:
    return ", ".join(dict.fromkeys(text for _, text in texts))


def _kind(node: Node) -> str:
    return str(node.get("class_type", "")).casefold()


def _linked_by(node: Node, graph: Graph) -> Iterator[str]:
    for value in node["inputs"].values():
        if (name := _linked(value, graph)) is not None:
            yield name


def _linked(value: object, graph: Graph) -> str | None:
    if not isinstance(value, list) or not value or not isinstance(value[0], str | int):
        return None
    return str(value[0]) if str(value[0]) in graph else None
