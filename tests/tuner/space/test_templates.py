"""Copying shipped search spaces out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.space import load_study
from tuner.space.templates import copy_out, shipped_spaces


def test_a_copy_loads_like_the_shipped_one(tmp_path: Path) -> None:
    for name, shipped in shipped_spaces().items():
        folder = tmp_path / name
        written = copy_out(name, folder)
        assert written[0] == folder / f"{name}.yaml"
        assert written[0].read_bytes() == shipped.read_bytes()
        load_study(written[0])


def test_what_it_extends_comes_along(tmp_path: Path) -> None:
    names = [path.name for path in copy_out("pose_sd15.yaml", tmp_path)]
    assert names == ["pose_sd15.yaml", "pose.yaml"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "pose.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        copy_out("pose", tmp_path)
    assert [path.name for path in copy_out("pose_sd15", tmp_path)] == ["pose_sd15.yaml"]
    assert (tmp_path / "pose.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["pos", "../pose", "", "/etc/passwd"])
def test_an_unknown_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match="known: anime_sdxl, hand_run, look, person_sdxl, pose, pose_sd15"
    ):
        copy_out(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
