"""The files of a recipe: the configuration, the pictures beside it, the list for people."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from metrics.contract import Objective
from tuner.cli.app import app
from tuner.data.folder import load_pixels, read_folder
from tuner.errors import TunerError
from tuner.export.recipe import SUFFIXES, Trainer, write_recipe
from tuner.models import dreambooth
from tuner.models.lora_file import LoraFile, LoraModule, write_file
from tuner.results.confirmation import Choice
from tuner.space import StudyConfig, SuiteConfig, TrainConfig, to_yaml
from tuner.space.config import BudgetConfig
from tuner.space.parameters import Fixed
from tuner.space.train_config import to_yaml as train_yaml
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text
from tuner.storage.rows import RungRow

CHOICE = Choice(4, None, ("trial 4 is the strongest",))
TRAIN: dict[str, Any] = {"captions": "gender", "alias": "mi_cv", "prior_weight": 1.0}


def picture(path: Path, shade: int, caption: str, mode: str = "RGB", turn: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.full((6, 8, 3), shade, np.uint8)
    pixels[:2] = 255 - shade  # so that a turn shows
    Image.fromarray(pixels).convert(mode).save(path, exif=exif)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")


def study(parent: Path, metadata: dict[str, str] | None = None, **train: Any) -> StudyFolder:
    """A study with one rung of trial 4, whose data are in kohya's folders."""
    for number in range(20):
        repeats = "4_b" if number < 5 else "2_a"
        picture(parent / "data" / repeats / f"{number}.png", number, "1girl, solo, red dress")
    picture(parent / "data" / "2_a" / "empty.png", 40, "")
    picture(parent / "data" / "2_a" / "aside.png", 41, "1girl, 12 years old")
    picture(parent / "data" / "2_a" / "turned.jpg", 42, "1boy", turn=6)
    picture(parent / "data" / "2_a" / "clear.png", 43, "1boy", mode="RGBA")
    picture(parent / "data" / "2_a" / "old.bmp", 44, "1boy")
    for number in range(3):
        picture(parent / "prior" / f"{number}.png", 100 + number, "1girl, park")
    folder = StudyFolder(parent / "studies" / "small")
    fixed = {name: Fixed(value) for name, value in train.items() if name == "prior_weight"}
    config = StudyConfig(
        study="small",
        base="owner/base@fp16",
        data=str(parent / "data"),
        regularisation=str(parent / "prior") if fixed else None,
        budget=BudgetConfig(rungs=(50, 100)),
        suite=SuiteConfig(size=512),
        train={"resolution": Fixed(512), **fixed},
    )
    write_text(folder.study_yaml, to_yaml(config))
    trial = folder.trial(4)
    settings = TrainConfig.model_validate({"resolution": 512, "batch_size": 2, **train})
    write_text(trial.train_yaml, train_yaml(settings))
    rung = trial.rung(50)
    rung.root.mkdir()
    file = rung.trained(settings.method)
    if settings.method == "lora":
        module = LoraModule(torch.zeros(2, 3), torch.zeros(3, 2), 2.0)
        write_file(file, LoraFile({"lora_unet_x": module}, metadata or {}))
    else:
        dreambooth.save({"unet": torch.nn.Linear(2, 2)}, file, metadata or {})
    with Store(folder.results_db) as store:
        store.begin_trial(4, {})
        pose = {"pose": Objective("pose", 0.5, 0.25, 0.75, 4, 5)}
        store.put_rung(RungRow(4, 50, pose, {}, file, rung.grid), [])
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Such a study whose captions are changed, with regularisation pictures."""
    return study(tmp_path_factory.mktemp("full"), **TRAIN)


def out_of(parent: Path, trainer: Trainer) -> Path:
    return parent / "out" / f"pose{SUFFIXES[trainer][0]}"


@pytest.mark.parametrize("trainer", SUFFIXES)
def test_pictures_and_captions_are_those_of_the_training(
    full: StudyFolder, tmp_path: Path, trainer: Trainer
) -> None:
    source = full.root.parents[1] / "data"
    before = read_folder(source)
    out = out_of(tmp_path, trainer)
    report = write_recipe(full, CHOICE, trainer, out)
    assert report.path == out
    assert read_folder(source) == before, "the user's folder is only read"
    data = out.with_name("pose_data")
    # 2 of the 24 pictures are held out, and one is set aside.
    own = sorted(path for path in data.rglob("*_own/*") if path.suffix != ".txt")
    assert len(before.images) == len(own) == 22
    assert {path.parent.name for path in own} == {"1_own", "2_own"}, "repeats in lowest terms"
    captions = {path.with_suffix(".txt").read_text("utf-8") for path in own}
    assert captions == {"mi_cv, 1girl, solo\n", "mi_cv\n", "mi_cv, 1boy\n"}
    prior = [path.read_text("utf-8") for path in data.rglob("*_prior/*.txt")]
    assert prior == ["1girl\n"] * 3, "without the alias"
    written = {load_pixels(image).tobytes() for image in read_folder(data / "1_own").images}
    assert written <= {load_pixels(image).tobytes() for image in before.images}
    for path in own:
        with Image.open(path) as image:
            assert (image.mode, image.getexif().get(0x0112, 1)) == ("RGB", 1), "read alike by all"
        assert path.suffix != ".bmp", "ai-toolkit does not read it"


@pytest.mark.parametrize("trainer", SUFFIXES)
def test_the_list_is_printed_and_written(
    full: StudyFolder, tmp_path: Path, trainer: Trainer
) -> None:
    out = out_of(tmp_path, trainer)
    report = write_recipe(full, CHOICE, trainer, out)
    text = (out.with_suffix(".txt") if trainer == "onetrainer" else out).read_text("utf-8")
    listed = report.lines[report.lines.index("what does not translate:") :]
    assert len(listed) > 5
    assert all(line in text for line in listed)
    assert "trial 4 is the strongest" in text
    starts = ("base: its revision fp16", "data: 22 pictures to train on; left out: 2 held out")
    assert all(any(line.startswith(start) for line in report.lines) for start in starts)


def test_a_captions_empty_line_is_kept_for_kohya(tmp_path: Path) -> None:
    """kohya's trainer stops at a file without a line."""
    folder = study(tmp_path, captions="none")
    out = out_of(tmp_path, "kohya")
    write_recipe(folder, CHOICE, "kohya", out)
    files = list(out.with_name("pose_data").rglob("*_own/*.txt"))
    assert {path.read_text("utf-8") for path in files} == {"\n"}


def test_each_file_names_the_others(full: StudyFolder, tmp_path: Path) -> None:
    kohya, toolkit, onetrainer = (out_of(tmp_path / name, name) for name in SUFFIXES)
    for trainer, out in zip(SUFFIXES, (kohya, toolkit, onetrainer), strict=True):
        write_recipe(full, CHOICE, trainer, out)
    keys = tomllib.loads(kohya.read_text("utf-8"))
    dataset = tomllib.loads(Path(keys["dataset_config"]).read_text("utf-8"))
    folders = [subset["image_dir"] for subset in dataset["datasets"][0]["subsets"]]
    (process,) = yaml.safe_load(toolkit.read_text("utf-8"))["config"]["process"]
    folders += [each["folder_path"] for each in process["datasets"]]
    training = json.loads(onetrainer.read_text("utf-8"))
    folders += [each["path"] for each in training["concepts"]]
    assert len(folders) == 9
    assert all(os.path.isdir(each) for each in folders)
    assert json.loads(Path(training["concept_file_name"]).read_text()) == training["concepts"]
    assert {keys["pretrained_model_name_or_path"], training["base_model_name"]} == {"owner/base"}
    assert keys["max_train_steps"] == 50


def test_a_cosine_ends_where_the_trials_did(tmp_path: Path) -> None:
    folder = study(tmp_path, schedule="cosine")
    out = out_of(tmp_path, "kohya")
    report = write_recipe(folder, CHOICE, "kohya", out)
    keys = tomllib.loads(out.read_text("utf-8"))
    assert (keys["max_train_steps"], keys["save_every_n_steps"]) == (100, 50)
    assert any(line.startswith("steps:") for line in report.lines)


def test_data_that_were_changed_after_the_study_are_reported(tmp_path: Path) -> None:
    folder = study(tmp_path)
    text = folder.study_yaml.read_text("utf-8")
    for number, (sha256, is_reported) in enumerate(
        [(read_folder(tmp_path / "data").sha256, False), ("0" * 64, True)]
    ):
        write_text(folder.study_yaml, f"# data data: sha256 {sha256}\n{text}")
        report = write_recipe(folder, CHOICE, "kohya", tmp_path / f"pose{number}.toml")
        assert any("were changed" in line for line in report.lines) is is_reported


def test_a_base_that_predicts_the_velocity_and_long_captions(tmp_path: Path) -> None:
    header = {
        "ss_v2": "True",
        "modelspec.prediction_type": "v",
        "ss_zero_terminal_snr": "True",
        "ss_max_token_length": "225",
    }
    folder = study(tmp_path, header)
    for trainer in SUFFIXES:
        write_recipe(folder, CHOICE, trainer, out_of(tmp_path / trainer, trainer))
    keys = tomllib.loads(out_of(tmp_path / "kohya", "kohya").read_text("utf-8"))
    assert keys["v2"] is keys["v_parameterization"] is keys["zero_terminal_snr"] is True
    assert keys["max_token_length"] == 225
    job = yaml.safe_load(out_of(tmp_path / "ai-toolkit", "ai-toolkit").read_text("utf-8"))
    assert job["config"]["process"][0]["model"]["is_v_pred"] is True
    training = json.loads(out_of(tmp_path / "onetrainer", "onetrainer").read_text("utf-8"))
    assert training["model_type"] == "STABLE_DIFFUSION_21"
    assert training["rescale_noise_scheduler_to_zero_terminal_snr"] is True


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    folder = study(tmp_path)
    out = out_of(tmp_path, "ai-toolkit")
    write_recipe(folder, CHOICE, "ai-toolkit", out)
    with pytest.raises(TunerError, match="exists; give another name"):
        write_recipe(folder, CHOICE, "ai-toolkit", out)
    (out.with_name("pose_data") / "1_own" / "cache.npz").touch()
    write_recipe(folder, CHOICE, "ai-toolkit", out, force=True)
    assert not list(out.parent.rglob("*.npz"))
    other = tmp_path / "other" / "pose.yaml"
    picture(other.with_name("pose_data") / "mine.png", 1, "1girl")
    with pytest.raises(TunerError, match="was not written by tuner"):
        write_recipe(folder, CHOICE, "ai-toolkit", other, force=True)
    assert [path.name for path in sorted(other.parent.rglob("*"))] == [
        *("pose_data", "mine.png", "mine.txt")
    ]


@pytest.mark.parametrize("trainer", SUFFIXES)
def test_a_dreambooths_recipe(tmp_path: Path, trainer: Trainer) -> None:
    header = {"ss_v2": "True", "modelspec.prediction_type": "v"}
    folder = study(tmp_path, header, method="dreambooth")
    out = out_of(tmp_path, trainer)
    report = write_recipe(folder, CHOICE, trainer, out)
    text = out.read_text("utf-8")
    if trainer == "kohya":
        assert any("train_db.py --config_file" in line for line in report.lines)
        keys = tomllib.loads(text)
        assert keys["v2"] is keys["v_parameterization"] is True, "from the weights' header"
        assert "network_module" not in keys
    elif trainer == "ai-toolkit":
        (process,) = yaml.safe_load(text)["config"]["process"]
        assert process["model"]["is_v_pred"] is True
        assert "network" not in process
    else:
        training = json.loads(text)
        assert training["model_type"] == "STABLE_DIFFUSION_21"
        assert training["training_method"] == "FINE_TUNE"
    assert len([line for line in report.lines if line.startswith("precision:")]) == 1


def test_a_broken_file_of_whole_weights(tmp_path: Path) -> None:
    folder = study(tmp_path, method="dreambooth")
    folder.trial(4).rung(50).weights.write_bytes(b"no weights")
    with pytest.raises(dreambooth.WeightsError, match="no whole file"):
        write_recipe(folder, CHOICE, "kohya", tmp_path / "pose.toml")
    assert not list(tmp_path.glob("pose*"))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = study(tmp_path)
    with pytest.raises(TunerError, match=r"ends in \.json"):
        write_recipe(folder, CHOICE, "onetrainer", tmp_path / "pose.toml")
    assert not list(tmp_path.glob("pose*"))


def test_the_command(tmp_path: Path) -> None:
    study(tmp_path)
    options = ["--trial", "4", "--recipe", "kohya", "-o", str(tmp_path / "pose.toml")]
    run = CliRunner().invoke(
        app, ["export", "small", "--studies", str(tmp_path / "studies"), *options]
    )
    assert run.exit_code == 0, run.output
    assert run.stdout.strip() == str(tmp_path / "pose.toml")
    assert "target_modules: networks.lora also trains" in run.stderr
    command = ["export", "small", "--studies", str(tmp_path / "studies"), *options]
    again = CliRunner().invoke(app, [*command, "--force", "--json"])
    assert (again.exit_code, again.stderr) == (0, "")
    written = json.loads(again.stdout)
    assert list(written) == ["trial", "step", "reasons", "path", "lines"]
    assert (written["trial"], written["path"]) == (4, str(tmp_path / "pose.toml"))
    assert "\n".join(written["lines"]) in run.stderr
