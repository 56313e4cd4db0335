"""From the options of `tuner judge` to the configuration of a study and the name of its folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from metrics.contract import OBJECTIVES, Prompt
from tuner.data import forbidden_words
from tuner.data.prompt_words import read_prompt
from tuner.errors import ConfigError
from tuner.judged.files import Found
from tuner.judged.prompts import read_prompt_file
from tuner.models.stored.hub import settings_folder
from tuner.space import StudyConfig, space_hash
from tuner.space.base_name import parse_base
from tuner.space.config import MANNEQUIN
from tuner.space.file import load_tree
from tuner.space.load import load_values
from tuner.space.paths import data_path, model_path
from tuner.space.problems import KeyPath
from tuner.space.sizes import native_size
from tuner.space.suite import SUITES
from tuner.space.templates import shipped_spaces
from tuner.text import show

_BESIDE = ("objectives", "constraints", "judges")
"""Keys of a search space that count, beside its suite, if --suite names it."""

_MOST_STRENGTH = 4.0
_DIGITS = 6
_GUESSED_FROM = "ss_output_name"


@dataclass(frozen=True)
class JudgeOptions:
    """Options of `tuner judge`; None: not given.

    `suite` is the name of a shipped suite, a YAML file with the keys of `suite:`, or a search space
    (whose objectives, constraints and judges count too), `prompts` a
    file of prompts, `data` a folder of the training pictures, `size` and `seeds` those of the
    suite. An empty `alias` means none.
    """

    base: str
    alias: str | None = None
    suite: str | None = None
    prompts: Path | None = None
    seeds: int | None = None
    size: str | None = None
    data: str | None = None
    without_alias: bool = True
    as_base: bool = False


@dataclass(frozen=True)
class JudgedStudy:
    """The study of the files: its configuration, and lines that say what was read from where."""

    config: StudyConfig
    notes: tuple[str, ...]


def parse_strengths(text: str) -> tuple[float, ...]:
    """Return strengths of `0.6,0.8,1.0`, ascending, each once. Raises ConfigError."""
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not all(0 < value <= _MOST_STRENGTH for value in values):
        raise ConfigError(
            f"--strengths {show(text)}, allowed: numbers above 0 up to {_MOST_STRENGTH:g} with "
            "commas between them, such as 0.6,0.8,1.0"
        )
    return tuple(values)


def judged_study(options: JudgeOptions, found: Found) -> JudgedStudy:
    """Return the study of the files that were found.

    Its name has a digest of its settings and of the files' folder, so that the same command finds
    it again, also with one more file, and other settings begin another. Raises ConfigError for
    options that are not allowed, with a line for each, and if the files name several aliases.
    """
    alias, notes = _alias(options, found)
    if alias is not None and (words := forbidden_words(alias)):
        raise ConfigError(
            f"alias {alias}: names a child or an age under 18 ({', '.join(words)}); allowed: adults"
        )
    file = {} if options.suite is None else _suite_file(options.suite)
    given, more = _given(options, _mapping(file.get("suite")), alias)
    suite = _suite(options, given, alias)
    judged = {
        "alias": alias,
        "without_alias": options.without_alias and alias is not None and not options.as_base,
        "as_base": options.as_base,
    }
    own = {key: given[key] for key in ("steps", "guidance_scale") if key in given}
    base = model_path(options.base, Path())
    values: dict[str, object] = {
        "study": "judge",
        "base": base,
        "data": {} if options.data is None else data_path(options.data, Path()),
        "judged": judged | own,
        "budget": {"trials": 1, "rungs": [1]},
        "objectives": _objectives(suite),
        "suite": suite,
        "train": {},
    } | {key: file[key] for key in _BESIDE if key in file}
    origins: dict[KeyPath, str] = {
        ("base",): "--base",
        ("data",): "--data",
        ("judged", "alias"): "--alias",
    }
    origins[("suite",)] = str(options.prompts or options.suite or "the suite")
    config = load_values(values, origins)
    return JudgedStudy(config.model_copy(update={"study": _name(config, found)}), (*notes, *more))


def _name(config: StudyConfig, found: Found) -> str:
    text = f"{space_hash(config)} {found.place}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", found.place.name).strip("._-")[:40]
    return f"judge_{plain or 'files'}_{digest}"


def _alias(options: JudgeOptions, found: Found) -> tuple[str | None, tuple[str, ...]]:
    """Return the alias, and the lines that say where it was read."""
    if options.alias is not None:
        return options.alias.strip() or None, ()
    if options.as_base:
        return None, ()
    named = {file.alias: file for file in reversed(found.files) if file.alias is not None}
    if len(named) > 1:  # a name of a file is only a guess
        named = {word: file for word, file in named.items() if file.alias_from != _GUESSED_FROM}
    if len(named) > 1:
        each = ", ".join(f"{file.name} {show(alias)}" for alias, file in named.items())
        raise ConfigError(
            f"the files name several aliases ({each}); give the word with --alias WORD (an empty "
            "one for none), or judge them separately"
        )
    for alias, file in named.items():
        line = f"alias {alias}, read from {file.alias_from} of {file.name}; --alias gives another"
        return alias, (line,)
    return None, ("no alias: no file names one; --alias WORD puts a word before every prompt",)


def _given(
    options: JudgeOptions, given: dict[str, object], alias: str | None
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the values of `suite:` that the user gave, and lines about what was left out.

    `given` are those of --suite, which the other options change.
    """
    notes: tuple[str, ...] = ()
    if options.prompts is not None:
        file = read_prompt_file(options.prompts, alias)
        given |= {"name": "prompts", "prompts": list(file.prompts), **file.settings}
        notes = file.notes
    if options.seeds is not None:
        given["seeds"] = options.seeds
    if options.size is not None:
        given["size"] = int(options.size) if options.size.isdecimal() else options.size
    return given, notes


def _suite(
    options: JudgeOptions, given: Mapping[str, object], alias: str | None
) -> dict[str, object]:
    """Return the values of `suite:`: those that were given, and the shipped ones.

    Without prompts of the user it is the shipped suite, with the settings of the shipped search
    spaces: those of the mannequin, else of Stable Diffusion 1.5.
    """
    shipped = "pose" if options.base == MANNEQUIN else "pose_sd15"
    values = _mapping(load_tree(shipped_spaces()[shipped]).values.get("suite"))
    values |= {"size": _native_size(options.base)} | dict(given)
    prompts = values.get("prompts")
    if not isinstance(prompts, list):
        known = SUITES.get(str(values.get("name", "persons")))
        prompts = None if known is None else [asdict(prompt) for prompt in known]
    if prompts is not None:
        values["prompts"] = [_with_alias(entry, alias) for entry in prompts]
    return values


def _native_size(base: str) -> int:
    """Return the native size of a base, of a hub id from its small files, which are fetched."""
    parsed = parse_base(base)
    folder = settings_folder(parsed) if parsed.kind == "hub" else None
    return native_size(str(folder) if folder else model_path(base, Path()))


def _suite_file(suite: str) -> dict[str, object]:
    """Return the values of --suite: `suite`, and from a search space what stands beside it."""
    path = Path(suite)
    if suite in SUITES:
        return {"suite": {"name": suite}}
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"--suite {suite}, allowed: {', '.join(SUITES)}, or a YAML file with the keys of suite:"
        )
    values = load_tree(path).values
    own = _mapping(values.get("suite", values))
    return {key: values[key] for key in _BESIDE if key in values} | {
        "suite": {"name": path.stem} | own
    }


def _mapping(values: object) -> dict[str, object]:
    return dict(values) if isinstance(values, Mapping) else {}


def _with_alias(entry: object, alias: str | None) -> object:
    """Return a prompt of a suite with the alias before its text, if it is not in it already."""
    if alias is None or not isinstance(entry, Mapping):
        return entry
    text = entry.get("text")
    if not isinstance(text, str) or re.search(rf"(?<!\w){re.escape(alias)}(?!\w)", text):
        return entry
    return {**entry, "text": f"{alias}, {text}"}


def _objectives(suite: Mapping[str, object]) -> list[str]:
    """Return the objectives that the suite's prompts can test."""
    entries = suite.get("prompts")
    prompts = [_prompt(entry) for entry in entries] if isinstance(entries, Sequence) else []
    tested = {
        "gender": any(prompt.sex for prompt in prompts),
        "clothing": any(not prompt.names_clothes for prompt in prompts),
    }
    return [name for name in OBJECTIVES if tested.get(name, True)]


def _prompt(entry: object) -> Prompt:
    values = _mapping(entry)
    read = read_prompt(str(values.get("text", "")))
    sex = values.get("sex", read.sex)
    clothes = bool(values.get("names_clothes", False))
    return Prompt(read.text, sex if sex in ("female", "male") else None, None, clothes)  # type: ignore[arg-type]
