"""`tuner check`: what can run passes with estimates, what cannot is told with its exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from tests.tuner.written_base import write_folder
from tuner.errors import ConfigError, DiskError, MissingModelError
from tuner.space import StudyConfig, load_study
from tuner.space.templates import shipped_spaces
from tuner.storage import shipped
from tuner.study import check_study


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A diffusers folder of 64 pixels; check reads no more of its weights than few numbers."""
    return write_folder(tmp_path / "base")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(20):
        pixels = np.full((16, 16, 3), number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text("1girl, child" if number == 3 else "1girl")
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text("{}")
    save_file({}, folder / "open_clip_model.safetensors")
    return folder


def _study(base: object, data: object, clip: object, *settings: str) -> StudyConfig:
    values = [f"judges.gender_model={clip}", *settings]
    space = shipped_spaces()["pose"]
    return load_study(space, base=str(base), data=str(data), set_values=values)


def test_a_study_that_can_run_is_reported_with_its_cost(
    tmp_path: Path, base: Path, data: Path, clip: Path
) -> None:
    report = check_study(_study(base, data, clip), tmp_path / "new" / "studies")
    text = "\n".join(report.lines)
    assert "study pose: 12 trials scored at steps 50, 120" in text
    assert "13 prompts x 4 seeds = 52 samples" in text
    assert "19 pictures to train on, 0 held out, 1 set aside, 1 of them for naming a child" in text
    assert "two processor cores" in text
    assert 300 < report.seconds < 2400
    assert 2**20 < report.disk_bytes < 2**30
    assert 2**30 < report.vram_bytes < 6 * 2**30
    assert not (tmp_path / "new").exists()


def test_what_is_not_used_of_the_data_is_reported_below_its_line(
    tmp_path: Path, base: Path, data: Path, clip: Path
) -> None:
    (data / "more").mkdir()
    shutil.copy(data / "00.png", data / "more")
    (data / "07.txt").write_text("red ribbon, " * 100)
    report = check_study(_study(base, data, clip), tmp_path)
    first, second, third = report.data_lines
    assert first.startswith(f"data {data}: 19 pictures to train on")
    assert second == "  not used: pictures in folders that are not searched: 1 (more)"
    assert "captions that are cut: 1 (07.png: 299 tokens)" in third
    assert set(report.data_lines) <= set(report.lines)


def test_all_that_has_to_be_mended_is_reported_at_once(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "weights.ckpt").write_text("pickle")
    config = _study(
        "owner/name",
        tmp_path / "none",
        clip,
        f"base={tmp_path}/weights.ckpt",
        "train.resolution=512",
        "suite.size=512",
    )
    with pytest.raises(ConfigError) as caught:
        check_study(config, tmp_path)
    first, second = str(caught.value).splitlines()
    assert "pickled weights can run code" in first
    assert "is not there" in second


def test_persons_are_counted_only_where_a_detector_is_set(
    tmp_path: Path, base: Path, data: Path, clip: Path
) -> None:
    for domain, line in (
        ("drawn", "persons: not counted, judges.person_model is not set"),
        (
            "photographic",
            "persons: counted by poses and faces; judges.person_model adds a detector",
        ),
    ):
        report = check_study(_study(base, data, clip, f"judges.domain={domain}"), tmp_path)
        assert line in report.lines
    for name in ("yolo.yaml", "yolo.safetensors"):
        (clip / name).write_text("x")
    for model in (clip, clip / "detector.pt"):
        if model.suffix:
            model.write_text("x")
        report = check_study(_study(base, data, clip, f"judges.person_model={model}"), tmp_path)
        assert f"persons: counted by {model}" in report.lines


@pytest.mark.parametrize(
    ("name", "message"),
    [("clip", "clip lacks yolo.yaml, yolo.safetensors"), ("none.pt", "none.pt: no such file")],
)
def test_a_missing_person_detector_is_reported_beside_a_missing_gender_judge(
    tmp_path: Path, base: Path, data: Path, clip: Path, name: str, message: str
) -> None:
    (clip / "open_clip_config.json").unlink()
    with pytest.raises(MissingModelError) as caught:
        check_study(_study(base, data, clip, f"judges.person_model={tmp_path / name}"), tmp_path)
    gender, person = str(caught.value).splitlines()
    assert gender.endswith("lacks open_clip_config.json")
    assert person.startswith("person judge ")
    assert message in person


def test_a_missing_model_for_copies_is_reported(
    tmp_path: Path, base: Path, data: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for model in ("facebook/dinov2-small", str(clip)):
        check_study(_study(base, data, clip, f"judges.copy_model={model}"), tmp_path)
    with pytest.raises(MissingModelError, match=r"sscd\.safetensors: no such file or folder"):
        check_study(
            _study(base, data, clip, f"judges.copy_model={tmp_path}/sscd.safetensors"), tmp_path
        )


def test_models_of_optional_judges_are_looked_for(
    tmp_path: Path, base: Path, data: Path, clip: Path
) -> None:
    (clip / "config.json").write_text("{}")
    report = check_study(_study(base, data, clip, f"judges.parser_model={clip}"), tmp_path)
    line = f"judges.parser_model {clip}: a folder; not measured until tuner selfcheck"
    assert line in report.lines
    assert not any("vlm" in line for line in report.lines)
    named = (f"judges.pose_model={tmp_path}/none.pt", "judges.vlm=owner/missing")
    with pytest.raises(MissingModelError) as caught:
        check_study(_study(base, data, clip, *named), tmp_path)
    pose, vlm = str(caught.value).splitlines()
    assert pose == f"judges.pose_model {tmp_path}/none.pt: no such file"
    assert vlm.startswith("judges.vlm owner/missing is not in the hub's cache")


@pytest.mark.parametrize(
    ("kind", "message"),
    [("StableDiffusion3Pipeline", "is a StableDiffusion3Pipeline"), (None, "no readable")],
)
def test_a_folder_that_is_no_base_is_refused(
    tmp_path: Path, base: Path, data: Path, clip: Path, kind: str | None, message: str
) -> None:
    index = base / "model_index.json"
    index.write_text(json.dumps({"_class_name": kind})) if kind else index.unlink()
    with pytest.raises(ConfigError, match=message):
        check_study(_study(base, data, clip), tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, data: Path, clip: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    sizes = ("train.resolution=512", "suite.size=512")
    config = _study(f"{tmp_path}/notes.txt", data, clip, *sizes)
    with pytest.raises(ConfigError, match=r"found a .txt file, allowed: .safetensors"):
        check_study(config, tmp_path)


def test_a_base_that_is_not_there_is_a_missing_model(
    tmp_path: Path, data: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ("train.resolution=512", "suite.size=512")
    config = _study(f"{tmp_path}/none", data, clip, *sizes)
    with pytest.raises(MissingModelError, match="is not there"):
        check_study(config, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModelError, match="HF_HUB_OFFLINE"):
        check_study(_study("owner/no-such-name", data, clip, *sizes), tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    report = check_study(_study("owner/no-such-name", data, clip, *sizes), tmp_path)
    assert "will be downloaded from the hub" in "\n".join(report.lines)
    assert any(line.startswith("the base is not here: time, disk") for line in report.lines)


def test_a_revision_of_a_hub_id_is_looked_for_in_the_cache(
    tmp_path: Path,
    base: Path,
    data: Path,
    clip: Path,
    hub_cache: Callable[[Path, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub_cache(base, "owner/name", "v1")
    sizes = ("train.resolution=512", "suite.size=512")
    report = check_study(_study("owner/name@v1", data, clip), tmp_path)
    assert "base owner/name@v1: in the hub's cache" in report.lines
    with pytest.raises(MissingModelError, match="base owner/name@v2 is not in the hub's cache"):
        check_study(_study("owner/name@v2", data, clip, *sizes), tmp_path)


def test_the_mannequin_without_weights_is_a_missing_model(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "BASE", tmp_path / "no-base")
    monkeypatch.setattr(shipped, "CLIP", tmp_path / "no-clip")
    monkeypatch.setattr(shipped, "YOLO", tmp_path / "no-yolo")
    config = load_study(shipped_spaces()["pose"], data=str(data))
    with pytest.raises(MissingModelError) as caught:
        check_study(config, tmp_path)
    first, second, third = str(caught.value).splitlines()
    assert "tuner build-mannequin" in first
    assert "lacks open_clip_config.json, open_clip_model.safetensors" in second
    assert "lacks yolo.yaml, yolo.safetensors" in third


def test_no_room_on_the_disk_is_reported_with_numbers(
    tmp_path: Path, base: Path, data: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskError, match=r"1 MiB free, the study needs about \d+ MiB") as caught:
        check_study(_study(base, data, clip), tmp_path)
    assert caught.value.exit_code == 74


def test_studies_below_a_file_are_refused(
    tmp_path: Path, base: Path, data: Path, clip: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file; give another folder with --studies"):
        check_study(_study(base, data, clip), tmp_path / "file" / "studies")


def test_eight_bits_without_a_gpu_are_reported_before_the_run(
    tmp_path: Path, base: Path, data: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = _study(base, data, clip, "train.optimizer={choices: [adamw, adamw8bit]}")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="adamw8bit needs an NVIDIA GPU"):
        check_study(both, tmp_path)
    lines = check_study(_study(base, data, clip, "train.optimizer=lion"), tmp_path).lines
    assert "optimizer: lion" in lines


def test_regularisation_pictures_are_counted(
    tmp_path: Path, base: Path, data: Path, clip: Path
) -> None:
    weight = "train.prior_weight=1.0"
    prior = tmp_path / "prior"
    shutil.copytree(data, prior)
    for path in prior.glob("*.png"):
        path.write_bytes(path.read_bytes() + b" ")  # other pictures than the held-out ones
    for source, line in (
        (str(prior), f"regularisation {prior}: 19 pictures"),
        ("base", "regularisation: pictures of the base, drawn at the first run"),
    ):
        study = _study(base, data, clip, f"regularisation={source}", weight)
        assert line in check_study(study, tmp_path).lines
    with pytest.raises(ConfigError, match=r"regularisation originals: .* is not there"):
        check_study(_study(base, data, clip, "regularisation=originals", weight), tmp_path)
    with pytest.raises(ConfigError, match="mannequin's data have none"):
        check_study(_study(base, "mannequin", clip, "regularisation=originals", weight), tmp_path)


@pytest.mark.parametrize(
    ("rungs", "line"),
    [
        ("[150, 300]", "if only the share 0.5 goes on at each rung below the last (150)"),
        ("[300]", "stops no trial"),
    ],
)
def test_what_stopping_saves_is_reported(
    tmp_path: Path, base: Path, data: Path, clip: Path, rungs: str, line: str
) -> None:
    config = _study(base, data, clip, "budget.keep=1.0")
    budget = config.budget.model_copy(update={"keep": 0.5, "rungs": tuple(json.loads(rungs))})
    lines = check_study(config.model_copy(update={"budget": budget}), tmp_path).lines
    assert line in "\n".join(lines)
    assert "time: at most about" in "\n".join(lines)
    assert not any(line.startswith("rungs:") for line in check_study(config, tmp_path).lines)
