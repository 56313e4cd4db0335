"""Mutated search spaces, read, checked and drawn from as `tuner check` and `tuner run` do."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import random
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import typer
import yaml
from PIL import Image

from tests.fuzz.isolation import Case, SilentlyWrong
from tuner.cli.errors import user_errors
from tuner.space import StudyConfig, load_study, to_yaml
from tuner.space.file import parse
from tuner.space.templates import shipped_spaces
from tuner.space.write import plain_values
from tuner.study import check_study
from tuner.study.samplers import chosen_values, sampler_of, suggest
from tuner.text import printable

OWN = """
study: own
base: mannequin
data: {a: photos, b: mannequin:matted}
also_sample_on: []
budget: {trials: 4, rungs: [2, 4], keep: 0.5, confirm: 1}
objectives: [pose, gender]
sampler: tpe
seed: 3
judges: {gender_model: null, sex_threshold: 0.4}
suite: {name: two, seeds: 2, steps: 4, also_at: [96], prompts: [{text: 1girl, sex: female}]}
train:
  data: {choices: [a, b]}
  captions: {choices: [all, {drop: ['.* hair']}, {keep: [1girl]}]}
  rank: {low: 2, high: 32, log: true, prior: {centre: 8, width: 2}}
  batch_size: {low: 2, high: 8, step: 2}
  empty_prompt: {low: 0.0, high: 0.3, step: 0.1}
  learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}
  tag_dropout: {low: 0.1, high: 0.5, when: {captions: [all]}}
  seed: 7
start_from: [{rank: 4, data: a}, {captions: all, learning_rate: 1.0e-4}]
"""

WORDS = """\
null true false yes 0 -0 1 -1 0.5 -0.0 1e-4 1e400 1e-400 .inf .nan 0x10 010 1_000 12:30 2026-01-01
99999999999 999999999999999999 9999999999999999999999 1e17 '' 'a' "\\0" "\\e[31m" "\\ud800" [] {}
[1] [a] [[]] {a: 1} {low: 1, high: 0} {low: 0, high: 999999999} {low: 0, high: 1, step: 1e-9}
{low: 1, high: 256, log: true, step: 1} {choices: []} {choices: [1, 1]} {choices: [null, 1]} ~ ~/x
~nobody/x ../x /dev/null /proc/self/mem a/b a/b@main a/b--c grid gp nsga2 random all none gender
{drop: ['(']} {drop: ['a{9999999999}']} {drop: ['(a+)+b']} {keep: []} mannequin mannequin:x base
originals dreambooth 64x96 8x8 512 &a *a !!str !x <<: 女の子 \u202e _ - | >"""
NASTY = [word for line in WORDS.splitlines() for word in re.split(r" (?![^\[{]*[\]}])", line)]
NASTY += [
    "9" * 400,
    "x" * 3000,
    "[" * 30,
    "'" + "(" * 500 + "a" + ")" * 500 + "'",
    "a" * 300 + "/b",
]
BYTES = [b"\0", b"\xff", b"\xef\xbb\xbf", b"\t", b"\r", b"\n", b": ", b"- ", b"{", b"}", b"[", b"]"]
BYTES += [b"&a ", b"*a", b"!!python/object:os.system ", b"'", b'"', b"#", b"|", b"---\n", b"...\n"]


def prepare(place: Path) -> Case:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = place / "photos"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (number, 9, 9)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("1girl, solo")
    texts = [path.read_text() for path in shipped_spaces().values()] + [OWN, OWN]
    for name, path in shipped_spaces().items():
        (place / f"{name}.yaml").write_text(path.read_text())  # for `extends`

    def case(folder: Path, rng: random.Random) -> str:
        (folder / "photos").symlink_to(place / "photos")
        for name in shipped_spaces():
            (folder / f"{name}.yaml").symlink_to(place / f"{name}.yaml")
        text = rng.choice(texts)
        gentle = rng.random() < 0.3
        if gentle or rng.random() < 0.7:
            content = with_nasty(changed_tree(text, rng, gentle), rng).encode(
                "utf-8", "surrogateescape"
            )
        else:
            content = changed_bytes(text.encode(), rng)
        (folder / "x.yaml").write_bytes(content)
        return checked(folder / "x.yaml", settings(rng))

    return case


def settings(rng: random.Random) -> list[str]:
    """`--set` options of a third of the cases."""
    keys = ("train.rank", "constraints", "suite", "budget.trials", "train", "a.b.c", "data", "x")
    few = rng.choice((0, 0, 0, 0, 1, 2))
    return [f"{rng.choice(keys)}={rng.choice(NASTY)}" for _ in range(few)]


def changed_tree(text: str, rng: random.Random, gentle: bool) -> str:
    """The file with a few of its values, keys or items changed; `@@` stands for a nasty word.

    `gentle` changes numbers and the order of lists only, so that many files are accepted.
    """
    tree = yaml.safe_load(text)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if tree:
            change, places = gently if gentle else strongly, list(walk(tree))
            change(*rng.choice(places), places, rng)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=10**6)


def gently(holder: Any, key: Any, places: list[tuple[Any, Any]], rng: random.Random) -> None:
    value = holder[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        factor = rng.choice((0, 10, 1e9, 1e-9, 0.5, 3, 0.9, 1.1))
        holder[key] = type(value)(value * factor)
    elif isinstance(value, list):
        rng.shuffle(value)


def strongly(holder: Any, key: Any, places: list[tuple[Any, Any]], rng: random.Random) -> None:
    match rng.randrange(8):
        case 0 | 1 | 2:
            holder[key] = "@@"
        case 3:
            del holder[key]
        case 4:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
        case 5 if isinstance(holder, dict):
            holder[misspelt(str(key), rng)] = holder.pop(key)
        case 6:
            gently(holder, key, places, rng)
        case _:
            holder[key] = rng.choice(([holder[key]], {"choices": [holder[key]]}, {"a": 1}))


def walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree as its holder and its key or index, the deepest ones too."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from walk(tree[key])


def misspelt(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word) + 1)
    return word[:at] + rng.choice(("", "x", "_", " ", "\n", "A")) + word[at + 1 :]


def with_nasty(text: str, rng: random.Random) -> str:
    return re.sub("'?@@'?", lambda _: rng.choice(NASTY), text)


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 5))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((0, 1, 5, 80)))
        piece = rng.choice((b"", rng.choice(BYTES), content[start:end] * 2, rng.randbytes(2)))
        content = content[:start] + piece + content[end:]
    match rng.randrange(12):
        case 0:
            return content[: rng.randrange(len(content) + 1)]
        case 1:
            return content.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-16-le")))
        case 2:
            return content.replace(b"\n", rng.choice((b"\r\n", b"\r")))
    return content


def checked(path: Path, set_values: list[str]) -> str:
    """Check the file as the command line does, and what an accepted study means."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(), user_errors():
            warnings.simplefilter("error")  # they would be printed beside the tool's own lines
            config = load_study(path, set_values=set_values)
            _ = load_tree_alone(path, config) if not set_values else None
            try:
                check_study(config, path.parent / "studies")
            finally:
                warnings.simplefilter("ignore")
                drawn(config)
            return "accepted"
    except typer.Exit:
        lines = said.getvalue().splitlines()
        if not lines or not all(line.startswith("error: ") for line in lines):
            raise SilentlyWrong(f"no error line: {said.getvalue()[:500]}") from None
        long = [line for line in lines if len(line) > 4000 or line != printable(line)]
        if long or "allowed: None" in said.getvalue():
            raise SilentlyWrong(f"an unclear line: {long or lines}"[:1500]) from None
        return "refused"


def load_tree_alone(path: Path, config: StudyConfig) -> None:
    """Raise SilentlyWrong if the study differs from its file, or from what it is written as."""
    again = path.with_name("again.yaml")
    again.write_text(to_yaml(config), encoding="utf-8")
    if load_study(again) != config:
        raise SilentlyWrong("another study is read from what the study is written as")
    raw, _ = parse(path.read_text("utf-8-sig"), "x")
    if isinstance(raw, dict) and "extends" not in raw:
        differences = list(unlike(raw, plain_values(config), ""))
        if differences:
            raise SilentlyWrong(f"accepted as something else: {differences}")


_PATHS = ("base", "data", "also_sample_on", "regularisation", "judges", "start_from", "recipes")


def unlike(raw: object, plain: object, name: str) -> Iterator[str]:
    """Yield the values of a file that the study does not have."""
    if raw is None or name in [f".{path}" for path in _PATHS]:
        return
    if isinstance(raw, dict) and isinstance(plain, Mapping):
        for key, value in raw.items():
            yield from unlike(value, plain.get(key), f"{name}.{key}")
    elif isinstance(raw, list) and isinstance(plain, list) and len(raw) == len(plain):
        for index, (each, other) in enumerate(zip(raw, plain, strict=True)):
            yield from unlike(each, other, f"{name}[{index}]")
    elif not alike(raw, plain, name):
        yield f"{name}: {raw!r} became {plain!r}"


def alike(raw: object, plain: object, name: str) -> bool:
    """Return True if a value of a file and of the study mean the same."""
    if ".when." in name or name == ".training_seeds":
        return True  # one value may stand for a list there
    if name.endswith(".when") and raw == {}:
        return plain is None  # no condition
    if isinstance(raw, dict) and isinstance(plain, str):
        return True  # a caption policy, which is text in a study
    return isinstance(raw, bool) == isinstance(plain, bool) and raw == plain


def drawn(config: StudyConfig) -> None:
    """Draw three trials as a study does; every value must be finite."""
    study = optuna.create_study(directions=["maximize"] * len(config.objectives))
    starts = len(config.start_from)
    for number in range(3):
        study.sampler = sampler_of(config, starts, starts + number)
        if chosen := chosen_values(config, starts, starts + number):
            study.enqueue_trial(chosen)
        train = suggest(study.ask(), config)
        numbers = [each for each in train.model_dump().values() if isinstance(each, float)]
        if not all(math.isfinite(each) for each in numbers):
            raise SilentlyWrong(f"drawn: {train}")
