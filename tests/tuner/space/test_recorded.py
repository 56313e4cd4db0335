"""A study is the same wherever its project lies, and finds its base and pictures there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuner.cli.app import app
from tuner.errors import ConfigError, MissingModelError
from tuner.space import StudyConfig, load_study, space_hash, to_yaml
from tuner.space.load import load_recorded
from tuner.storage import Store, StudyFolder
from tuner.storage.content import content_digest
from tuner.study.record import record_study

SPACE = """
study: photos
base: models/base.safetensors
data: photos
regularisation: others
budget: {trials: 1, rungs: [2]}
judges: {gender_model: models/clip, person_model: models/persons.pt}
train: {resolution: 512, prior_weight: 1.0}
suite: {size: 512}
"""
HASHES = {"data": "abc"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a study of the name of its data folder."""
    folder = tmp_path / "one"
    for name in ("photos", "others", "models/clip", "studies"):
        (folder / name).mkdir(parents=True)
    (folder / "models" / "base.safetensors").write_bytes(b"weights")
    (folder / "models" / "persons.pt").write_bytes(b"persons")
    (folder / "models" / "clip" / "open_clip_config.json").write_text("{}")
    (folder / "x.yaml").write_text(SPACE)
    study = study_of(folder)
    study.create()
    with Store(study.results_db) as store:
        record_study(load_study(folder / "x.yaml"), study, store, HASHES)
    return folder


def study_of(project: Path) -> StudyFolder:
    return StudyFolder(project / "studies" / "photos")


def places(config: StudyConfig) -> set[str]:
    judges = config.judges
    named = (config.base, config.data, config.regularisation, judges.gender_model)
    return set(map(str, (*named, judges.person_model)))


def test_a_moved_study_is_run_from_its_own_record(project: Path, tmp_path: Path) -> None:
    first = load_study(study_of(project).study_yaml)
    before = space_hash(first)
    assert before == space_hash(load_study(project / "x.yaml"))
    moved = shutil.move(project, tmp_path / "elsewhere")
    again = load_study(study_of(moved).study_yaml)
    assert places(again) == places(load_study(moved / "x.yaml"))
    assert space_hash(again) == before
    # The same file elsewhere is a search space: its paths are taken as they are written.
    copied = shutil.copy(study_of(moved).study_yaml, tmp_path / "study.yaml")
    assert places(load_study(copied)) == places(first)


def test_a_moved_project_is_the_same_study(project: Path, tmp_path: Path) -> None:
    first = load_study(project / "x.yaml")
    before = space_hash(first)
    two = project.rename(tmp_path / "deeper").rename(tmp_path / "two")
    assert space_hash(load_study(two / "x.yaml")) == before
    recorded = load_recorded(study_of(two), needs=("base", "data"))
    assert places(recorded) == places(load_study(two / "x.yaml"))
    assert space_hash(recorded) == before
    (two / "models" / "base.safetensors").rename(two / "models" / "other name.safetensors")
    moved = load_study(two / "x.yaml", base=str(two / "models" / "other name.safetensors"))
    assert space_hash(moved) == before


@pytest.mark.parametrize(
    "name", ["base.safetensors", "base.yaml", "persons.pt", "clip/open_clip_config.json"]
)
def test_another_model_in_the_same_place_is_another_study(project: Path, name: str) -> None:
    before = space_hash(load_study(project / "x.yaml"))
    (project / "models" / name).write_bytes(b"another")
    assert space_hash(load_study(project / "x.yaml")) != before


def test_what_no_model_depends_on_is_no_part_of_its_digest(project: Path) -> None:
    clip = project / "models" / "clip"
    before = content_digest(clip)
    (clip / "README.md").write_text("read me")
    (clip / ".DS_Store").write_bytes(b"0")
    assert content_digest(clip) == before
    (clip / "open_clip_model.safetensors").write_bytes(b"weights")
    assert content_digest(clip) != before
    assert content_digest(project / "nothing") is None


def test_each_part_of_a_large_file_counts(tmp_path: Path) -> None:
    file = tmp_path / "base.safetensors"
    size = 20 << 20
    file.write_bytes(bytes(size))
    digests = {content_digest(file)}
    for start in (0, size // 3, size - 200_000):
        with file.open("r+b") as raw:
            raw.seek(start)
            raw.write(b"\1" * 200_000)
        digests.add(content_digest(file))
    assert len(digests) == 4


def test_what_was_not_found_is_named_by_its_option(project: Path, tmp_path: Path) -> None:
    study, elsewhere = study_of(project), tmp_path / "elsewhere"
    shutil.move(project / "photos", elsewhere)
    with pytest.raises(ConfigError, match=r"one/photos is no longer there .* --data FOLDER"):
        load_recorded(study, needs=("base", "data"))
    assert load_recorded(study, data=[str(elsewhere)], needs=("data",)).data == str(elsewhere)
    shutil.move(project / "models" / "base.safetensors", tmp_path / "b.safetensors")
    with pytest.raises(MissingModelError, match=r"base.safetensors is no longer there .* --base"):
        load_recorded(study, needs=("base",))
    base = str(tmp_path / "b.safetensors")
    assert load_recorded(study, base=base, needs=("base",)).base == base
    shutil.rmtree(project / "models")
    with pytest.raises(MissingModelError, match=r"gender_model .* correct its place in"):
        load_recorded(study, base=base, data=[str(elsewhere)], needs=("base", "data"))


def test_one_of_several_data_folders_is_named_by_its_name(project: Path, tmp_path: Path) -> None:
    text = SPACE.replace("data: photos", "data: {a: photos, b: others}")
    (project / "x.yaml").write_text(text.replace("train: {", "train: {data: {choices: [a, b]}, "))
    config, study = load_study(project / "x.yaml"), study_of(project)
    study.study_yaml.write_text(to_yaml(config))
    shutil.move(project / "photos", tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"photos is no longer there .* --data a=FOLDER"):
        load_recorded(study, needs=("data",))
    moved = load_recorded(study, data=[f"a={tmp_path / 'elsewhere'}"], needs=("data",))
    assert moved.data == {"a": str(tmp_path / "elsewhere"), "b": str(project / "others")}
    assert space_hash(moved) == space_hash(config)
    for wrong in ("c=photos", str(tmp_path / "elsewhere")):
        with pytest.raises(ConfigError, match="allowed: NAME=FOLDER with a NAME of a, b"):
            load_recorded(study, data=[wrong])


def test_a_confirmation_names_the_options_in_one_line(project: Path, tmp_path: Path) -> None:
    study = study_of(project)
    shutil.move(project / "photos", tmp_path / "elsewhere")
    done = CliRunner().invoke(app, ["confirm", str(study.root)])
    assert (done.exit_code, done.stderr.count("error:")) == (3, 1), done.output
    assert "--data FOLDER" in done.stderr
    shutil.move(project / "models", tmp_path / "elsewhere too")
    done = CliRunner().invoke(app, ["confirm", str(study.root)])
    assert (done.exit_code, done.stderr.count("error:")) == (4, 1), done.output
    assert "--base" in done.stderr
    study.study_yaml.unlink()
    done = CliRunner().invoke(app, ["confirm", str(study.root)])
    assert done.exit_code == 3
    assert "study.yaml is not there; `tuner run`" in done.stderr
