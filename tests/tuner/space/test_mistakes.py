"""Mistakes that users make, each as they make it: one clear line, the right exit code, no trace.

Every row is a command in a folder of its own with good pictures in `photos`, a good search space
`x.yaml` and what the row changes.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from tuner.cli.app import app
from tuner.space import load_study
from tuner.study import check_study

SPACE = "study: x\nbase: mannequin\ndata: photos\nbudget: {trials: 3, rungs: [5, 10]}\n"
CONFIG, MISSING = 3, 4

Lay = Callable[[], object]


def said(text: str, base: str = SPACE) -> Lay:
    """x.yaml with `text` at its end."""
    return lambda: Path("x.yaml").write_text(base + text, encoding="utf-8")


def instead(old: str, new: str) -> Lay:
    """x.yaml with `new` for `old`."""
    assert old in SPACE
    return said("", SPACE.replace(old, new))


def caption(text: str | bytes, name: str = "0.txt") -> Lay:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda: Path("photos", name).write_bytes(content)


def all_captions(text: str) -> None:
    for path in Path("photos").glob("*.txt"):
        path.write_text(text)


def no_pictures() -> None:
    for path in Path("photos").glob("*.png"):
        path.unlink()


def broken_pictures() -> None:
    for path in Path("photos").glob("*.png"):
        path.write_bytes(path.read_bytes()[:40])


def nested() -> None:
    shutil.move("photos", "inner")
    Path("photos").mkdir()
    shutil.move("inner", "photos/inner")


def kohya(name: str) -> Lay:
    def lay() -> None:
        shutil.move("photos", "inner")
        Path("photos").mkdir()
        shutil.move("inner", f"photos/{name}")

    return lay


def file(name: str, content: bytes = b"x") -> Lay:
    def lay() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)

    return lay


def weights(*names: str) -> Lay:
    """`w.safetensors` with tensors of these names, and a space on it as its base."""

    def lay() -> None:
        save_file({name: torch.zeros(1) for name in names}, "w.safetensors")
        based("w.safetensors")()

    return lay


def based(base: str) -> Lay:
    rest = "suite: {size: 512}\ntrain: {resolution: 512}\njudges: {gender_model: face}\n"
    return said(rest, SPACE.replace("base: mannequin", f"base: {base}"))


def folder_of_kind(kind: str) -> None:
    Path("b").mkdir()
    Path("b/model_index.json").write_text(json.dumps({"_class_name": kind}))
    based("./b")()


def fine() -> None:
    """Nothing is changed: the mistake is in the command."""


CHECK = "check x.yaml"
MISTAKES: list[tuple[str, Lay, str, int]] = [
    # The search space.
    ("check nowhere.yaml", fine, "nowhere.yaml", CONFIG),
    (CHECK, file("x.yaml", b""), "x.yaml", CONFIG),
    (CHECK, file("x.yaml", b"\xff\xfe\x00"), "x.yaml", CONFIG),
    (CHECK, file("x.yaml", b"study: [x"), "x.yaml", CONFIG),
    (CHECK, file("x.yaml", b"- a\n- b\n"), "x.yaml", CONFIG),
    (CHECK, said("train: !!python/object:os.system {}\n"), "x.yaml:5", CONFIG),
    (CHECK, said("seed: 1\nseed: 2\n"), "duplicate key", CONFIG),
    (CHECK, said("extends: other.yaml\n"), "other.yaml", CONFIG),
    (CHECK, said("extends: x.yaml\n"), "x.yaml", CONFIG),
    (CHECK, said("extends: y.yaml\n"), "y.yaml: no such file; `tuner init pose`", CONFIG),
    (CHECK, said("trian: {}\n"), "did you mean 'train'?", CONFIG),
    (CHECK, said("train: {learning_rat: 1}\n"), "did you mean 'learning_rate'?", CONFIG),
    (CHECK, said("train: {rank: 0}\n"), "found 0, allowed: a whole number from 1", CONFIG),
    (CHECK, said("train: {rank: '8'}\n"), "found '8', allowed: a whole number", CONFIG),
    (CHECK, said("train: {rank: [4, 8]}\n"), "allowed: {choices: [4, 8]}", CONFIG),
    (CHECK, said("train: {rank: {low: 9, high: 3}}\n"), "found 9, allowed: less than", CONFIG),
    (CHECK, said("train: {rank: {choices: []}}\n"), "a list of at least", CONFIG),
    (CHECK, said("train: {learning_rate: 1e-3f}\n"), "found '1e-3f'", CONFIG),
    (CHECK, said("train: {learning_rate: -1e-4}\n"), "allowed: a number in (0, 1]", CONFIG),
    (CHECK, said("train: {captions: genders}\n"), "allowed: all, content, gender", CONFIG),
    (CHECK, said("train: {captions: {drop: ['(']}}\n"), "train.captions", CONFIG),
    (CHECK, said("train: {alias: a toddler}\n"), "allowed: null or a made-up word", CONFIG),
    (CHECK, said("train: {resolution: 512}\n"), "allowed: 32 to 128 px", CONFIG),
    (CHECK, said("train: {resolution: 50}\n"), "train.resolution", CONFIG),
    (CHECK, said("train: {data: mine}\n"), "data is one folder", CONFIG),
    (CHECK, said("train: {steps: 0}\n"), "train.steps", CONFIG),
    (CHECK, said("suite: {name: people}\n"), "no shipped suite 'people'", CONFIG),
    (CHECK, said("suite: {prompts: []}\n"), "suite.prompts", CONFIG),
    (CHECK, said("suite: {prompts: [{text: a little girl}]}\n"), "names a child", CONFIG),
    (CHECK, said("suite: {seeds: 0}\n"), "suite.seeds: found 0", CONFIG),
    (CHECK, said("suite: {sampler: euler_z}\n"), "suite.sampler: found 'euler_z'", CONFIG),
    (CHECK, said("suite: {also_at: [50]}\n"), "allowed: a list of sizes, each train, or", CONFIG),
    (CHECK, said("suite: {also_at: 96}\n"), "suite.also_at: found 96", CONFIG),
    (CHECK, said("suite: {also_at: [96, 96x96]}\n"), "suite.also_at: found", CONFIG),
    (CHECK, said("suite: {also_at: [train, 512]}\n"), "suite.also_at[1]: found 512, allow", CONFIG),
    (CHECK, said("suite: {also_with_alias: 1}\n"), "allowed: true, false", CONFIG),
    (CHECK, said("also_sample_on: mannequin\n"), "allowed: a list of further bases", CONFIG),
    (CHECK, said("also_sample_on: [mannequin]\n"), "none of them twice", CONFIG),
    (CHECK, said("also_sample_on: [a/b]\n"), "suite.size: found 64, allowed: 256 to 102", CONFIG),
    (CHECK, said("also_sample_on: [./nowhere]\n"), "is not there", MISSING),
    (CHECK, said("objectives: []\n"), "objectives: found []", CONFIG),
    (CHECK, said("objectives: [pose, beauty]\n"), "allowed: a list of pose", CONFIG),
    (CHECK, said("constraints: {undressed_rate: 15}\n"), "limit in [0, 1]", CONFIG),
    (CHECK, said("constraints: {explict_rate: 0.1}\n"), "did you mean 'explicit_rate'?", CONFIG),
    (CHECK, said("start_from: [{rank: 17}]\n"), "found 17, allowed: 16 (fixed)", CONFIG),
    (
        CHECK,
        said("sampler: bayes\n"),
        "sampler: found 'bayes', allowed: tpe_strength, tpe, gp",
        CONFIG,
    ),
    (CHECK, said("sampler: grid\ntrain: {rank: {choices: [2, 4]}}\n"), "at most 2", CONFIG),
    (
        CHECK,
        said("sampler: grid\ntrain: {empty_prompt: {low: 0, high: 0.3}}\n"),
        "a range with step",
        CONFIG,
    ),
    (CHECK, said("train: {rank: {choices: [2, 4], when: {alias: x}}}\n"), "alias is not", CONFIG),
    (CHECK, said("train: {rank: {choices: [2, 4], when: {alais: x}}}\n"), "'alias'?", CONFIG),
    (
        CHECK,
        said("train: {rank: {low: 2, high: 8, prior: {centre: 9, width: 1}}}\n"),
        "a number of the range",
        CONFIG,
    ),
    (CHECK, instead("rungs: [5, 10]", "rungs: [10, 5]"), "ascending", CONFIG),
    (CHECK, instead("trials: 3", "trials: 0"), "budget.trials: found 0", CONFIG),
    (CHECK, instead("study: x", "study: ../x"), "study: found '../x'", CONFIG),
    (CHECK, instead("study: x\n", ""), "key 'study' is missing", CONFIG),
    ("check x.yaml --workers 0", fine, "allowed: auto, or a whole number from 1 to 64", CONFIG),
    ("run x.yaml --workers many", fine, "allowed: auto, or a whole number from 1 to 64", CONFIG),
    ("check x.yaml --set train.rank", fine, "train.rank", CONFIG),
    ("check x.yaml --set train.rnk=8", fine, "did you mean 'rank'?", CONFIG),
    # The base.
    (CHECK, based("./nowhere"), "nowhere", MISSING),
    (CHECK, based("/nowhere/at/all"), "is not there", MISSING),
    (CHECK, lambda: (file("w.ckpt")(), based("w.ckpt")()), "pickled weights", CONFIG),
    (CHECK, lambda: (file("w.txt")(), based("w.txt")()), "allowed: .safetensors", CONFIG),
    (CHECK, lambda: folder_of_kind("FluxPipeline"), "is a FluxPipeline", CONFIG),
    (CHECK, lambda: (Path("b").mkdir(), based("./b")()), "model_index", CONFIG),
    (CHECK, weights("lora_unet_x.alpha"), "is a part of a LoRA", CONFIG),
    (CHECK, weights("decoder.conv_in.weight"), "is a VAE", CONFIG),
    (
        CHECK,
        lambda: (file("w.safetensors")(), based("w.safetensors")()),
        "could not be opened",
        MISSING,
    ),
    (CHECK, said("judges: {gender_model: ./clip}\n"), "clip", MISSING),
    (CHECK, said("judges: {person_model: yolo.pt}\n"), "yolo.pt", MISSING),
    (CHECK, said("judges: {pose_model: pose.pt}\n"), "judges.pose_model", MISSING),
    (CHECK, said("judges: {vlm: ./vlm}\n"), "judges.vlm", MISSING),
    # The data.
    ("check x.yaml --data nowhere", fine, "is not there", CONFIG),
    ("check x.yaml --data x.yaml", fine, "name a folder of pictures", CONFIG),
    ("check x.yaml --data mannequin:matte", fine, "matted", CONFIG),
    (CHECK, no_pictures, "has no pictures", CONFIG),
    (CHECK, broken_pictures, "none of 4 pictures can be used", CONFIG),
    (CHECK, nested, "inner", CONFIG),
    (CHECK, lambda: Path("photos/1.txt").unlink(), "have no caption file (1.png)", CONFIG),
    (CHECK, lambda: all_captions("1girl, 8 years old"), "none of 4 pictures", CONFIG),
    (CHECK, caption("{}\n", "metadata.jsonl"), "metadata.jsonl, line 1", CONFIG),
    (CHECK, caption("nothing\n", "metadata.jsonl"), "line 1: no JSON", CONFIG),
    (CHECK, kohya("0_girl"), "0 repeats", CONFIG),
    (CHECK, kohya("99999_girl"), "99999 repeats", CONFIG),
    ("data audit nowhere", fine, "nowhere", CONFIG),
    ("data audit photos --space nowhere.yaml", fine, "nowhere.yaml", CONFIG),
    ("data prepare nowhere out", fine, "nowhere is not there", CONFIG),
    ("data prepare photos photos/out --crop none", fine, "overlap", CONFIG),
    ("data prepare photos out --crop body", fine, "needs a person detector", CONFIG),
    ("data prepare photos out --crop none --matte gray50x", fine, "not a colour", CONFIG),
    # The other verbs.
    ("status nowhere", fine, "no study 'nowhere'", CONFIG),
    ("report nowhere", fine, "no study 'nowhere'", CONFIG),
    ("export nowhere -o a.safetensors", fine, "no study 'nowhere'", CONFIG),
    ("dashboard nowhere", fine, "no study 'nowhere'", CONFIG),
    ("init psoe", fine, "pose", CONFIG),
    ("score nowhere", fine, "nowhere is not there", CONFIG),
    ("score photos --prompt 'a toddler'", fine, "names a child", CONFIG),
    ("label nowhere", fine, "nowhere", CONFIG),
    ("selfcheck --labels nowhere.csv", fine, "nowhere.csv", CONFIG),
    ("selfcheck --labels x.yaml", fine, "has other columns", CONFIG),
    ("selfcheck --data nowhere", fine, "nowhere", CONFIG),
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own working folder, with four captioned pictures and a good search space in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    Path("photos").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")
        Path(f"photos/{number}.txt").write_text("1girl, solo")
    Path("x.yaml").write_text(SPACE)
    return tmp_path


def written(desk: Path) -> dict[Path, int]:
    """Every file of the desk with when it was written, but for the cache."""
    return {path: path.stat().st_mtime_ns for path in desk.rglob("*") if path.parts[-1] != "home"}


def test_the_table_is_long_enough() -> None:
    assert len(MISTAKES) >= 60


def test_without_a_mistake_all_is_well(desk: Path) -> None:
    assert check_study(load_study(Path("x.yaml"))).lines


@pytest.mark.parametrize(
    ("command", "lay", "words", "code"),
    MISTAKES,
    ids=[f"{number:02d} {row[0]}: {row[2]}"[:60] for number, row in enumerate(MISTAKES)],
)
def test_a_mistake_ends_in_one_clear_line(
    desk: Path, command: str, lay: Lay, words: str, code: int
) -> None:
    lay()
    before = written(desk)
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.exit_code == code, done.output
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert len(lines[0]) < 400
    assert written(desk) == before
