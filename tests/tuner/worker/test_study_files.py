"""What a worker on another machine is sent for its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuner.tiny_space import write_space
from tuner.space import StudyConfig, load_study
from tuner.storage import StudyFolder
from tuner.trial.messages import JudgeWork
from tuner.worker.nodes.names import Names, pack, unpack
from tuner.worker.nodes.study_files import read_for


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return load_study(write_space(tmp_path))


def test_a_judged_file_goes_with_its_work(tmp_path: Path, config: StudyConfig) -> None:
    folder = StudyFolder(tmp_path / "study")
    file = folder.judged_file("ab12")
    assert read_for(config, folder, JudgeWork(3, file, 0.8, 100)).files == (file,)


def test_a_judged_folder_goes_as_a_whole(tmp_path: Path, config: StudyConfig) -> None:
    folder = StudyFolder(tmp_path / "study")
    whole = folder.judged_file("cd34").with_suffix("")
    names = ["model_index.json", "unet/config.json", "unet/weights.safetensors"]
    for name in names:
        (whole / name).parent.mkdir(parents=True, exist_ok=True)
        (whole / name).write_text(name, encoding="utf-8")
    work = JudgeWork(0, whole / "model_index.json", 1.0, 0, as_base=True)
    assert read_for(config, folder, work).files == tuple(whole / name for name in names)


def test_a_node_finds_the_judged_file_in_its_own_study(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    work = JudgeWork(0, StudyFolder(here).judged_file("ab12"), 1.0, 0)
    found = unpack(pack(work, Names(here, {})), Names(there, {}))
    assert isinstance(found, JudgeWork)
    assert found.path == StudyFolder(there).judged_file("ab12")
