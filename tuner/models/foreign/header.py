"""What the metadata and the name of a LoRA file say: the word to prompt with, step, epoch, trainer.

Headers are written by strangers: what cannot be read is passed over.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = re.compile(r"\d+_(.+)")
"""A folder of kohya's trainer: repeats, and the words of a picture without captions."""

_LONGEST, _MOST_WORDS = 200, 12
_COMMON = 0.9
"""A tag that stands in this share of the captions is one of the training's own words."""

_GENERAL = (
    *("1girl", "1boy", "girl", "boy", "woman", "man", "person", "solo", "female", "male"),
    *("people", "photo", "portrait", "realistic", "looking_at_viewer", "simple_background"),
    *("white_background", "upper_body", "full_body", "standing"),
)
"""Tags that describe most pictures of persons, and therefore name none."""

_ENDINGS = (
    # OneTrainer: PREFIX2025-01-31_12-00-00-save-STEP-EPOCH-STEP_IN_EPOCH
    (re.compile(r"(.*?)[-_]?(?:\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)?-save-(\d+)-(\d+)-\d+"), (2, 3)),
    (re.compile(r"(.*?)[-_]step[-_]?(\d+)"), (2, None)),  # kohya's trainer: NAME-step00000500
    (re.compile(r"(.*?)[-_]epoch[-_]?(\d+)"), (None, 2)),
    (re.compile(r"(.*?)-(\d{6})"), (None, 2)),  # kohya's trainer: NAME-000010 is an epoch
    (re.compile(r"(.*?)_(\d{9})"), (2, None)),  # ai-toolkit: NAME_000000500
    (re.compile(r"(.*?)[-_]?checkpoint[-_](\d+)"), (2, None)),  # diffusers' folders
    (re.compile(r"(.+?)[-_](\d+)[-_]?steps?"), (2, None)),
    (re.compile(r"(.+?)[-_]e(\d{1,4})"), (None, 2)),
    (re.compile(r"(.+?)[-_]s(\d{1,7})"), (2, None)),
)

_TRAINERS = (
    ("ot_", "OneTrainer"),
    ("tuner.", "tuner"),
    ("ss_sd_scripts", "kohya's trainer"),
    ("ss_network_module", "kohya's trainer"),
)


@dataclass(frozen=True)
class Words:
    """Words that a file was trained with, best first, and the key that the first is from."""

    words: tuple[str, ...]
    source: str | None


@dataclass(frozen=True)
class Point:
    """Where in its run a file was written: `run` is the name without step and epoch."""

    run: str
    step: int | None
    epoch: int | None


def trigger_words(metadata: Mapping[str, str]) -> Words:
    """Return the words that the metadata name, at most 12; without any, the file's own name.

    A trigger phrase comes first, then tags that stand in nearly all captions and describe no
    picture, then the words of kohya's folders, then `ss_output_name`.
    """
    found: dict[str, str] = {}
    phrase = _clean(metadata.get("modelspec.trigger_phrase", ""))
    if phrase:
        found[phrase] = "modelspec.trigger_phrase"
    frequency = _json(metadata.get("ss_tag_frequency", ""))
    for word in [*_tags(frequency, _pictures(metadata)), *_folders(frequency)]:
        found.setdefault(word, "ss_tag_frequency")
    for word in _folders(_json(metadata.get("ss_dataset_dirs", ""))):
        found.setdefault(word, "ss_dataset_dirs")
    name = _clean(metadata.get("ss_output_name", ""))
    if name:
        found.setdefault(_run_of(name), "ss_output_name")
    words = tuple(found)[:_MOST_WORDS]
    return Words(words, found[words[0]] if words else None)


def point(metadata: Mapping[str, str], path: Path) -> Point:
    """Return the point of a run: by the header, else by the file's name, else by its folder's.

    diffusers writes the same file name into a folder for each step.
    """
    stem = path.name.removesuffix(".safetensors")
    run, step, epoch = _named(stem)
    if (step, epoch) == (None, None):
        around, step, epoch = _named(path.parent.name)
        if (step, epoch) != (None, None):
            run = around or path.parent.parent.name
    run = run or path.parent.name or stem
    info = _json(metadata.get("training_info", ""))
    own = info if isinstance(info, dict) else {}
    told = [
        number if (number := _number(metadata.get(key))) is not None else _number(own.get(other))
        for key, other in (("ss_steps", "step"), ("ss_epoch", "epoch"))
    ]
    step = step if told[0] is None else told[0]
    epoch = epoch if told[1] is None else told[1]
    return Point(run, step, epoch)


def trainer(metadata: Mapping[str, str]) -> str | None:
    """Return the program that wrote the file, if its header says so."""
    software = _json(metadata.get("software", ""))
    if isinstance(software, dict) and isinstance(software.get("name"), str):
        return _clean(software["name"]) or None
    for start, name in _TRAINERS:
        if any(key.startswith(start) for key in metadata):
            return name
    return None


def _named(name: str) -> tuple[str, int | None, int | None]:
    for pattern, (step, epoch) in _ENDINGS:
        if match := pattern.fullmatch(name):
            numbers = [int(match[group]) if group else None for group in (step, epoch)]
            return match[1], numbers[0], numbers[1]
    return name, None, None


def _run_of(name: str) -> str:
    return _named(name)[0] or name


def _tags(frequency: Any, pictures: int | None) -> list[str]:
    """Return the tags of nearly all captions that are no general ones, the most frequent first."""
    counts: Counter[str] = Counter()
    for tags in _dicts(frequency):
        for tag, count in tags.items():
            if (word := _clean(tag)) and isinstance(count, int) and count > 0:
                counts[word] += count
    if not counts:
        return []
    most = max(counts.values()) if pictures is None else min(pictures, max(counts.values()))
    return [
        tag
        for tag, count in counts.most_common()
        if count >= _COMMON * most and tag.lower().replace(" ", "_") not in _GENERAL
    ]


def _folders(value: Any) -> list[str]:
    """Return the words in the names of kohya's folders, such as `10_sks woman`."""
    if not isinstance(value, dict):
        return []
    matches = (_FOLDER.fullmatch(name) for name in value if isinstance(name, str))
    return [word for match in matches if match and (word := _clean(match[1]))]


def _dicts(frequency: Any) -> list[dict[str, Any]]:
    values = frequency.values() if isinstance(frequency, dict) else ()
    return [tags for tags in values if isinstance(tags, dict)]


def _pictures(metadata: Mapping[str, str]) -> int | None:
    return _number(metadata.get("ss_num_train_images")) or None


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 10**12 else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 12:
        return int(value)
    return None


def _clean(text: object) -> str:
    """Return a word on one line; empty for one that is too long to be a word to prompt with."""
    if not isinstance(text, str):
        return ""
    word = " ".join(text.split())
    return word if len(word) <= _LONGEST and word.isprintable() else ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
