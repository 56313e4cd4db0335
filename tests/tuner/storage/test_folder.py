from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.storage import StudyFolder, replacing
from tuner.storage.files import write_text
from tuner.storage.folder import all_studies, existing_study, study_folder


def test_every_path_has_its_place(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "pose")
    rung = folder.trial(7).rung(160)
    assert folder.relative(rung.lora) == "trials/0007/rung_0160/lora.safetensors"
    assert folder.relative(rung.sample(3)) == "trials/0007/rung_0160/samples/0003.png"
    assert folder.relative(rung.grid) == "trials/0007/rung_0160/grid.png"
    assert folder.relative(folder.trial(7).done) == "trials/0007/done"
    assert folder.absolute("base/grid.png") == folder.base / "grid.png"
    assert not folder.root.exists()


def test_a_path_outside_the_study_has_no_relative_form(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in the subpath"):
        StudyFolder(tmp_path / "pose").relative(tmp_path / "other" / "grid.png")


@pytest.mark.parametrize(
    "name", ["", "..", "../up", "a/b", "/abs", "a\0b", "-dash", ".hidden", "ä", "x" * 65, "a\n"]
)
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a folder"):
        study_folder(tmp_path, name)


def test_a_study_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    folder = study_folder(tmp_path, "pose")
    with pytest.raises(ConfigError, match="there: none yet"):
        existing_study(tmp_path, "pose")
    folder.create()
    folder.results_db.touch()
    assert existing_study(tmp_path, "pose") == folder
    assert existing_study(Path("elsewhere"), str(folder.root)) == folder
    assert all_studies(tmp_path) == [folder]
    with pytest.raises(ConfigError, match="there: pose"):
        existing_study(tmp_path, "hands")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.yaml"
    write_text(path, "old")

    def fail_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail_halfway()
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [one.name for one in path.parent.iterdir()] == ["study.yaml"]


def test_a_temporary_file_keeps_its_suffix(tmp_path: Path) -> None:
    # Pillow and safetensors choose the format by it.
    with replacing(tmp_path / "grid.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.touch()
