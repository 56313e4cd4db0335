"""Read files of prompts as trainers have them: a prompt on each line, with kohya's flags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tuner.data.prompt_words import read_prompt
from tuner.errors import ConfigError
from tuner.storage.files import read_text
from tuner.text import one_line, show

_FLAG = re.compile(r"\s--([a-z]+)\s+")
_NETWORK = re.compile(r"<[^<>]*>")
_TRIGGER = re.compile(r"\[(?:trigger|name)\]")
"""ai-toolkit's place for the alias."""

_ONE_VALUE = {"n": "negative", "size": "size", "s": "steps", "l": "guidance_scale"}
"""Flags, and the setting of the whole suite that each asks for."""

_MOST = 1000


@dataclass(frozen=True)
class PromptFile:
    """The prompts of a file as entries of `suite.prompts`, and the settings of its flags.

    `notes` are lines on what the file asks for and a suite cannot do.
    """

    prompts: Sequence[Mapping[str, object]]
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_prompt_file(path: Path, alias: str | None) -> PromptFile:
    """Return the prompts of the file at `path`: one a line, lines that begin with `#` left out.

    Of kohya's flags `--n` (negative prompt), `--w` and `--h`, `--s` (steps) and `--l` (guidance)
    set the whole suite: where lines differ, the value that most of them have counts. `--d` (seed)
    is left out, because every file is drawn from the study's own noise. `[trigger]` becomes the
    `alias`. Raises ConfigError for a file without prompts and for flags that are no numbers.
    """
    lines = read_text(path).splitlines()
    asked: list[dict[str, object]] = []
    texts: list[str] = []
    left_out: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head, *rest = _FLAG.split(f" {line.strip()}")
        flags = dict(zip(rest[::2], rest[1::2], strict=True))
        text = _TRIGGER.sub(alias or "", _NETWORK.sub("", head)).strip(" ,")
        if not text:
            raise ConfigError(f"{path}:{number}: a line without a prompt; allowed: PROMPT --n ...")
        texts.append(text)
        asked.append(_settings(flags, f"{path}:{number}"))
        left_out += [flag for flag in flags if flag not in ("n", "w", "h", "s", "l")]
    if not texts:
        raise ConfigError(f"{path} has no prompts; write one on each line")
    if len(texts) > _MOST:
        raise ConfigError(f"{path} has {len(texts)} prompts, allowed: at most {_MOST}")
    settings, notes = _agreed(asked)
    if left_out:
        flags_text = ", ".join(f"--{flag}" for flag in dict.fromkeys(left_out))
        notes.append(
            f"{path.name}: {flags_text} left out (every file is drawn with the study's own noise "
            "and sampler)"
        )
    entries = [asdict(read_prompt(text)) for text in dict.fromkeys(texts)]
    return PromptFile(entries, settings, tuple(notes))


def _settings(flags: Mapping[str, str], place: str) -> dict[str, object]:
    """Return the settings that a line asks for, with a size of both sides."""
    found: dict[str, object] = {}
    if "n" in flags:
        found["negative"] = flags["n"].strip()
    if "w" in flags or "h" in flags:
        width, height = (
            int(_number(flags.get(side, flags.get(other, "")), f"{place}: --{side}"))
            for side, other in ("wh", "hw")
        )
        found["size"] = width if width == height else f"{width}x{height}"
    if "s" in flags:
        found["steps"] = int(_number(flags["s"], f"{place}: --s"))
    if "l" in flags:
        found["guidance_scale"] = _number(flags["l"], f"{place}: --l")
    return found


def _number(text: str, place: str) -> float:
    try:
        return float(text.strip())
    except ValueError:
        raise ConfigError(f"{place}: found {show(text.strip())}, allowed: a number") from None


def _agreed(asked: Sequence[Mapping[str, object]]) -> tuple[dict[str, object], list[str]]:
    """Return the value of each setting that most lines have, and a note where others differ."""
    settings: dict[str, object] = {}
    notes = []
    for flag, name in _ONE_VALUE.items():
        values = Counter(line.get(name) for line in asked)
        known = [value for value, _ in values.most_common() if value is not None]
        if not known:
            continue
        settings[name] = known[0]
        if len(values) > 1:
            word = flag if len(flag) > 1 else f"--{flag}"
            notes.append(
                f"{word} is not the same on every line; {name} {one_line(str(known[0]))} is taken "
                "for all"
            )
    return settings, notes
