"""Which storage a study has: by its file, by the option, by what its folder recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuner.plain_trials import SPACE
from tuner.errors import ConfigError
from tuner.space import StudyConfig, load_study, space_hash, to_yaml
from tuner.space.server import choose_storage, storage_of
from tuner.storage import StudyFolder

PLACE = "postgresql://team@db/lora"
GIVEN = "postgres://team:s3cret@db/lora"


def load(folder: Path, key: str = "") -> StudyConfig:
    (folder / "pose.yaml").write_text(SPACE + key)
    return load_study(folder / "pose.yaml")


def begun(parent: Path, storage: str | None) -> StudyFolder:
    """A study's folder as far as its storage is concerned."""
    folder = StudyFolder(parent / "pose")
    folder.create()
    folder.study_yaml.write_text(to_yaml(load(parent).model_copy(update={"storage": storage})))
    if storage is None:
        folder.optuna_db.write_bytes(b"SQLite")
    return folder


def test_the_storage_changes_no_result_and_is_recorded_without_its_password(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "pose")
    config, address = choose_storage(load(tmp_path), folder, GIVEN)
    assert address is not None
    assert address.password == "s3cret"
    assert space_hash(config) == space_hash(load(tmp_path))
    text = to_yaml(config)
    assert f"storage: {PLACE}\n" in text
    assert "s3cret" not in text
    assert load(tmp_path, f"storage: {PLACE}\n").storage == PLACE


def test_the_recorded_storage_is_that_of_the_study(tmp_path: Path) -> None:
    config, folder = load(tmp_path), begun(tmp_path, PLACE)
    again, address = choose_storage(config, folder, None)
    assert (str(address), again.storage) == (PLACE, PLACE)
    assert str(storage_of(folder, None)) == PLACE
    of_other_user = storage_of(folder, "postgresql://me:s3cret@DB:5432/lora")
    assert of_other_user is not None
    assert of_other_user.password == "s3cret"
    for given in ("postgresql://team:s3cret@other/lora", "postgresql://team:s3cret@db/other"):
        with pytest.raises(ConfigError, match=f"keeps Optuna's study in {PLACE}, not") as caught:
            choose_storage(config, folder, given)
        assert "s3cret" not in str(caught.value)
        with pytest.raises(ConfigError, match="keeps Optuna's study in"):
            storage_of(folder, given)
    renamed = config.model_copy(update={"study": "other"})
    with pytest.raises(ConfigError, match="is called pose on the server"):
        choose_storage(renamed, folder, GIVEN)


def test_a_study_with_optuna_db_stays_with_it(tmp_path: Path) -> None:
    config, folder = load(tmp_path), begun(tmp_path, None)
    assert choose_storage(config, folder, None) == (config, None)
    assert storage_of(folder, GIVEN) is None
    with pytest.raises(
        ConfigError, match=r"begun with optuna\.db .* without the variable"
    ) as caught:
        choose_storage(config, folder, GIVEN)
    assert "s3cret" not in str(caught.value)


def test_a_password_in_a_setting_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "pose.yaml").write_text(SPACE)
    for setting in (f"storage={GIVEN}", f" storage = {GIVEN}", "storage=[s3cret"):
        with pytest.raises(ConfigError, match=r"--set storage=\.\.\.: ") as caught:
            load_study(tmp_path / "pose.yaml", set_values=[setting])
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        f"storage: {GIVEN}",
        "storage: mysql://u:s3cret@h/d",
        "storage: [s3cret]",
        "storage: 's3cret'",
    ],
)
def test_a_password_in_a_file_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=r"pose\.yaml:\d+: storage: ") as caught:
        load(tmp_path, f"{key}\n")
    assert "s3cret" not in str(caught.value)
