from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from metrics.contract import JudgeSettings
from metrics.detectors.models import dlib_weights
from metrics.detectors.weights import BUNDLES, LIBRARY_MODELS, WEIGHT_FILES
from tuner.models.catalogue import STABLE_DIFFUSION, ModelFile, model_files, model_lines
from tuner.space.file import parse
from tuner.space.templates import shipped_spaces
from tuner.storage import shipped


def files() -> dict[str, ModelFile]:
    return {one.name: one for one in model_files()}


def test_each_says_all_that_is_asked_of_it() -> None:
    for one in model_files():
        assert all([one.name, one.used_for, one.licence, one.source, one.offline])
        assert one.path is None or one.path.exists()
    assert {*BUNDLES, *(one.name for one in LIBRARY_MODELS)} <= set(files())
    assert JudgeSettings().gender_model in files()


def test_what_comes_with_the_tool_is_here_with_its_size() -> None:
    base = files()["mannequin: base"]
    assert base.path == shipped.BASE
    assert base.size == sum(path.stat().st_size for path in base.path.rglob("*.safetensors"))
    nudenet = files()["NudeNet 320n"]
    assert nudenet.path is not None
    assert nudenet.path.stat().st_size == nudenet.size


def test_the_big_base_is_that_of_the_search_space() -> None:
    values, _ = parse(shipped_spaces()["pose_sd15"].read_text("utf-8"), "pose_sd15")
    assert values["base"] == STABLE_DIFFUSION.hub


def test_missing_models_say_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(shipped, "YOLO", tmp_path / "yolo")
    for variable in (model.variable for model in (*BUNDLES.values(), *WEIGHT_FILES.values())):
        monkeypatch.delenv(variable, raising=False)
    found = files()
    pose = found["pose_landmarker"]
    assert pose.path is None
    assert str(tmp_path / "models" / "pose_landmarker.task") in pose.offline
    assert "TUNER_POSE_LANDMARKER" in pose.offline
    assert str(tmp_path / "hub") in found["ViT-L-14/openai"].offline
    yolo = found["mannequin: YOLO"]
    assert yolo.path is None
    assert str(tmp_path / "yolo") in yolo.offline
    assert str(tmp_path / "models") in found["face_detection_yunet_2023mar.onnx"].offline
    assert "TUNER_SFACE" in found["face_recognition_sface_2021dec.onnx"].offline
    missing = 12 + (dlib_weights() is None)
    assert sum(line == "  here     no" for line in model_lines()) == missing


def test_a_model_of_the_hub_is_found_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--timm--vit_large_patch14_clip_224.openai"
    weights = repo / "snapshots" / "abc" / "open_clip_model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    assert files()["ViT-L-14/openai"].path == weights
