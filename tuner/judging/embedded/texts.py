"""The prompt in a text that a program wrote: A1111's format, JSON of several programs, a graph.

The formats are those of A1111 and Forge (`parameters`), ComfyUI (`prompt`, `workflow`), SwarmUI,
Fooocus (JSON in `parameters`), InvokeAI (`invokeai_metadata`, `sd-metadata`, `Dream`) and NovelAI
(`Comment`).
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator

from tuner.judging.embedded.comfyui import graph_of, read_graph
from tuner.judging.embedded.reading import Reading, is_negative
from tuner.judging.embedded.workflow import graph_of_workflow

_END_OF_PROMPT = re.compile(r"(?m)^(?:Negative prompt:|Steps: ?\d)")
_MORE_PROMPTS = re.compile(r'([\w ]{0,30}prompt(?: \w{1,9})?): ("(?:[^"\\\n]|\\.)*"|[^,"\n]+)')
"""`Hires prompt: "..."`, `ADetailer prompt: ...` among A1111's settings."""

_PAIRS = re.compile(r'"([^"\\]{1,60})"\s*:\s*\[?\s*"((?:[^"\\]|\\.)*)')
_NEGATIVE_IN_BRACKETS = re.compile(r"\[[^\[\]]*\]")
_DREAM = re.compile(r'"((?:[^"\\]|\\.)*)"')

_PROMPT_KEYS = ("positiveprompt", "prompt", "c")  # the last is Draw Things'
_CHARACTER = "charcaption"  # NovelAI's prompts of single persons
_TEXT_KEYS = re.compile(r"prompt|caption|text|description|^c$")
_LONGEST_PLAIN = 200_000
_MOST_VALUES = 50_000
"""Characters of a text and values of JSON that are read, so that a large one costs little."""

_TITLES = ("label", "title", "name", "id", "type")


def read_text(text: str, is_prompt: bool = False) -> Reading:
    """Return what a text says; a text of no known format is a prompt only with `is_prompt`."""
    text = text.strip()
    if text[:1] in {"{", "["}:
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict):
            return _read_json(parsed)
        if text.startswith('{"') and not _END_OF_PROMPT.search(text):  # cut off or damaged
            pairs = (pair.groups() for pair in _PAIRS.finditer(text))
            return Reading("", tuple(value for key, value in pairs if not is_negative(key)))
    text = text[:_LONGEST_PLAIN]
    end = _END_OF_PROMPT.search(text)
    if end is None and not is_prompt:
        return Reading("", (text,) if text else ())
    return Reading(a1111_prompt(text), tuple(_more_prompts(text[end.start() :] if end else "")))


def a1111_prompt(parameters: str) -> str:
    """Return the prompt in A1111's text: all before the line `Negative prompt:` or `Steps:`."""
    end = _END_OF_PROMPT.search(parameters)
    return (parameters[: end.start()] if end else parameters).strip()


def read_invokeai(text: str) -> Reading:
    """Return what InvokeAI's older chunks say; `[...]` in its prompts is negative.

    `sd-metadata` is JSON, `Dream` the prompt in quotation marks before its options.
    """
    if text.lstrip().startswith("{"):
        reading = read_text(text)
    else:
        text = text.strip()[:_LONGEST_PLAIN]
        quoted = _DREAM.match(text)
        reading = Reading(quoted[1] if quoted else "", () if quoted else (text,))
    others = (_NEGATIVE_IN_BRACKETS.sub("", other).strip() for other in reading.others)
    return Reading(_NEGATIVE_IN_BRACKETS.sub("", reading.prompt).strip(), tuple(others))


def _more_prompts(settings: str) -> Iterator[str]:
    steps = settings.find("\nSteps:")
    for match in _MORE_PROMPTS.finditer(settings, max(0, steps)):
        if not is_negative(match[1]):
            yield match[2].strip('"')


def _read_json(value: dict[str, object]) -> Reading:
    for part in (value, value.get("prompt"), value.get("workflow")):
        graph = graph_of(part) or graph_of(graph_of_workflow(part))
        if graph is not None:
            return read_graph(graph)
    texts = list(_texts(value))
    prompt = next((text for name in _PROMPT_KEYS for key, text in texts if key == name), "")
    if not prompt:
        return Reading("", tuple(text for _, text in texts))
    persons = (text for key, text in texts if key == _CHARACTER)
    others = (text for key, text in texts if _TEXT_KEYS.search(key) and text != prompt)
    return Reading(", ".join(dict.fromkeys((prompt, *persons))), tuple(dict.fromkeys(others)))


def _texts(value: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Yield key and text of each string that is not negative, those of outer levels first.

    Keys are in lower case, letters only. JSON inside a string is opened.
    """
    waiting: deque[tuple[str, object]] = deque([("", value)])
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        key, part = waiting.popleft()
        if isinstance(part, str):
            opened = _json_inside(part)
            if opened is not None:
                waiting.append((key, opened))
            elif part.strip():
                yield "".join(filter(str.isalpha, key.casefold())), part.strip()
        elif isinstance(part, list):
            waiting += [(key, each) for each in part]
        elif isinstance(part, dict) and not any(
            isinstance(part.get(title), str) and is_negative(part[title]) for title in _TITLES
        ):
            waiting += [(name, each) for name, each in part.items() if not is_negative(name)]


def _json_inside(text: str) -> dict[str, object] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
