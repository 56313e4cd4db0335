from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from metrics.contract import JudgeSettings, Objective, Prompt, Sample, Score, ScoredSample
from metrics.scoring import JUDGES
from metrics.version import judge_version
from tuner.cli.app import app
from tuner.errors import ConfigError
from tuner.judging import Trust, calibration
from tuner.judging.calibration import (
    Calibration,
    Cut,
    known_calibrations,
    read_calibrations,
    study_marks,
    write_calibrations,
)
from tuner.judging.keep_calibration import selfcheck_options
from tuner.judging.models import judge_settings, model_names
from tuner.judging.selfcheck import best_cut
from tuner.mannequin import draw
from tuner.mannequin.figure import random_figure
from tuner.report.summary import print_front
from tuner.report.tables import front_table
from tuner.results import read_results
from tuner.storage import Store, StudyFolder, shipped
from tuner.storage.rows import RungRow, StudyRow

LIMBS = Calibration(
    judge="limbs",
    version="aa",
    models={},
    base="mannequin",
    group="figures",
    sides=(64, 64),
    auc=0.9,
    found=Objective("found", 0.8, 0.7, 0.9, 40, 40),
    false_alarms=Objective("false alarms", 0.05, 0.01, 0.2, 20, 20),
    cut=Cut(0.4, 0.85, 0.05),
    abstained=0,
    pictures=60,
    about="figures",
    data="00",
    measured="2026-01-01T00:00:00+00:00",
    libraries={"numpy": "2"},
)
GENDER = replace(LIMBS, judge="gender", models={"gender_model": "clip@1"})
MODELS = {"gender_model": "clip@1", "person_model": None}
TRUST = Trust((LIMBS, GENDER), "mannequin", MODELS)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in arguments])


def test_a_selfcheck_holds_for_its_version_base_model_and_size() -> None:
    assert TRUST.calibrated("limbs", "aa", 64)
    assert TRUST.calibrated("gender", "aa", 64)
    assert not TRUST.calibrated("limbs", "bb", 64)
    assert not TRUST.calibrated("limbs", None, 64)
    assert not TRUST.calibrated("sharp", "aa", 64)
    assert not replace(TRUST, base=None).calibrated("limbs", "aa", 64)
    other = replace(TRUST, models={**MODELS, "gender_model": "clip@2"})
    assert other.calibrated("limbs", "aa", 64)
    assert not other.calibrated("gender", "aa", 64)


@pytest.mark.parametrize(("side", "holds"), [(42, False), (43, True), (96, True), (97, False)])
def test_a_selfcheck_holds_near_its_size(side: int, holds: bool) -> None:
    assert TRUST.calibrated("limbs", "aa", side) == holds


def test_a_handful_of_pictures_is_no_selfcheck() -> None:
    few = replace(LIMBS, false_alarms=replace(LIMBS.false_alarms, n=9))
    assert not Trust((few,), "mannequin").calibrated("limbs", "aa", 64)


def test_only_judges_that_gave_a_value_are_uncalibrated() -> None:
    sample = Sample(Prompt("1girl"), 0, np.zeros((64, 80, 3), np.uint8))
    scores = {
        "limbs": Score("limbs", 0.5, version="aa"),
        "sharp": Score("sharp", 0.5, version="aa"),
        "clean": Score("clean", None, "nothing", version="aa"),
    }
    assert TRUST.uncalibrated_judges(ScoredSample(sample, scores)) == ["sharp"]


def test_selfchecks_come_back_and_a_later_one_takes_the_place(tmp_path: Path) -> None:
    file = tmp_path / "new" / "calibration.json"
    write_calibrations([LIMBS, GENDER], file)
    assert read_calibrations(file) == [LIMBS, GENDER]
    again = replace(LIMBS, auc=None, cut=None, measured="later")
    write_calibrations([again, replace(LIMBS, sides=(256, 256))], file)
    assert read_calibrations(file) == [GENDER, again, replace(LIMBS, sides=(256, 256))]


@pytest.mark.parametrize("text", ["rubbish", "[]", '{"format": 9}', '{"format": 1}'])
def test_another_kind_of_file_is_skipped_with_a_warning(text: str, tmp_path: Path) -> None:
    file = calibration.home_file()
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"holds no selfchecks .* run tuner selfcheck again"):
        write_calibrations([LIMBS], file)
    assert file.read_text() == text
    with pytest.warns(UserWarning, match="holds no selfchecks"):
        assert known_calibrations() == tuple(read_calibrations(shipped.CALIBRATION))


@pytest.mark.parametrize(
    ("faulty", "sound", "cut"),
    [
        ([0.1, 0.2], [0.8, 0.9], Cut(0.5, 1.0, 0.0)),
        ([0.6, 0.7], [0.8, 0.9], Cut(0.75, 1.0, 0.0)),
        ([0.1, 0.9], [0.5, 0.8], Cut(0.3, 0.5, 0.0)),
        ([0.5], [0.5], None),
        ([], [0.5], None),
    ],
)
def test_the_best_cut_by_hand(faulty: list[float], sound: list[float], cut: Cut | None) -> None:
    best = best_cut(faulty, sound)
    assert (best is None) == (cut is None)
    if best and cut:
        assert (best.below, best.found, best.false_alarms) == pytest.approx(
            (cut.below, cut.found, cut.false_alarms)
        )


def test_models_are_known_by_name_and_content(tmp_path: Path) -> None:
    names = model_names(judge_settings("mannequin", "mannequin", domain="drawn"))
    assert [str(name).split("@")[0] for name in names.values()] == ["clip", "yolo", "None"]
    files = {}
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "person.pt"
        file.write_bytes(content)
        files[folder] = model_names(JudgeSettings(None, str(file)))["person_model"]
    assert files["a"] == files["b"] != files["c"]
    assert model_names(JudgeSettings("ViT-L-14/openai"))["gender_model"] == "ViT-L-14/openai"


def test_the_shipped_selfchecks_are_of_these_judges_and_models() -> None:
    """When this fails, a judge has changed: `shipped.CALIBRATION` says what to run."""
    known = read_calibrations(shipped.CALIBRATION)
    names = model_names(judge_settings("mannequin", "mannequin", domain="drawn"))
    trust = Trust(tuple(known), "mannequin", names)
    for judge in (judge for judge in JUDGES if judge.name != "adult"):  # judges no drawings
        for side in (64, 256) if judge.name != "no_red_eyes" else (256,):  # too small to see at 64
            assert trust.calibrated(judge.name, judge_version(judge, "drawn"), side), judge.name
    for check in known:
        if check.auc is None:  # no fault is drawn, or it is too small to see at 64 px
            assert check.judge in ("no_explicit_parts", "no_red_eyes", "adult")
        else:
            assert check.auc >= 0.75, check.judge


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A study of the mannequin whose base was scored by all judges of today."""
    folder = StudyFolder(tmp_path / "pose")
    folder.create()
    names = model_names(judge_settings("mannequin", "mannequin", domain="drawn"))
    study = StudyRow(
        "pose", "mannequin", "ab", 12, ("pose", "quality"), {}, {}, "", side=64, models=names
    )
    scores = {j.name: Score(j.name, 0.9, version=judge_version(j, "drawn")) for j in JUDGES}
    scores["no_red_eyes"] = replace(scores["no_red_eyes"], value=None, reason="too small to see")
    scores["adult"] = replace(scores["adult"], value=None, reason="only photographs are judged")
    sample = Sample(Prompt("1girl"), 0, np.zeros((64, 64, 3), np.uint8), folder.base / "0.png")
    numbers = {name: Objective(name, 0.5, 0.4, 0.6, 9, 9) for name in ("pose", "quality")}
    with Store(folder.results_db) as store:
        store.put_study(study)
        row = RungRow(None, 0, numbers, {}, None, folder.base / "grid.png")
        store.put_rung(row, [ScoredSample(sample, scores)])
    return folder


def test_a_study_of_the_mannequin_stands_on_what_is_shipped(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study_marks(folder) == frozenset()
    print_front(folder, read_results(folder), study_marks(folder))
    assert "*" not in capsys.readouterr().out


def test_a_judge_of_another_version_marks_what_it_has_a_part_in(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(folder.results_db) as store:
        store._db.execute("update scores set version = 'old' where judge = 'limbs'")
        store._db.conn.commit()
    assert study_marks(folder) == {"pose"}
    print_front(folder, read_results(folder), study_marks(folder))
    out = capsys.readouterr().out
    assert "pose *" in out
    assert "quality *" not in out
    assert "* uncalibrated: no selfcheck of this judge" in out
    assert f"tuner selfcheck --study {folder.root} makes one" in out


def test_a_size_that_was_not_measured_marks_all(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        study = store.study()
        assert study is not None
        store.put_study(replace(study, side=128))
    assert {"pose", "quality", "undressed_rate"} <= study_marks(folder)


def test_the_studys_own_selfcheck_counts(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(folder.results_db) as store:
        study = store.study()
        assert study is not None
        store.put_study(replace(study, base="owner/model"))
    assert "pose" in study_marks(folder)
    print_front(folder, read_results(folder), study_marks(folder))
    assert f"tuner selfcheck --study {folder.root} --labels TABLE" in capsys.readouterr().out
    checks = [
        replace(LIMBS, judge=j.name, version=judge_version(j, "drawn"), base="owner/model")
        for j in JUDGES
    ]
    write_calibrations(checks, folder.calibration)
    assert study_marks(folder) == frozenset()


def test_a_database_of_an_older_tuner_is_read_and_marked(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        for table, column in (("scores", "version"), ("studies", "side"), ("studies", "models")):
            store._db.execute(f"alter table {table} drop column {column}")
    with Store(folder.results_db) as store:
        study = store.study()
    assert study is not None
    assert (study.side, study.models) == (0, {})
    assert "pose" in study_marks(folder)
    assert (
        front_table(read_results(folder), marks=frozenset({"pose"})).columns[1].header == "pose *"
    )


def test_figures_say_nothing_about_another_base(folder: StudyFolder) -> None:
    folder.study_yaml.write_text(
        "study: pose\nbase: owner/model\ndata: photos\nbudget: {trials: 1, rungs: [10]}\n"
        "suite: {name: persons, seeds: 1, size: 512}\ntrain: {}\n"
    )
    with pytest.raises(ConfigError, match="rendered figures say nothing about it; give pictures"):
        selfcheck_options(True, folder, (None, None))
    options = selfcheck_options(False, folder, (None, "mine.pt"))
    assert (options.base, options.size, options.file) == ("owner/model", 512, folder.calibration)
    assert (options.gender_model, options.person_model) == ("ViT-L-14/openai", "mine.pt")


@pytest.mark.slow
def test_pictures_lose_their_marks_once_they_were_checked(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(3)
    for number in range(12):
        figure = random_figure(rng, framing="full")
        Image.fromarray(draw(figure, 128)).save(photos / f"{number:02d}.png")
        (photos / f"{number:02d}.txt").write_text(figure.tags[0])
    models = ("--gender-model", "mannequin", "--person-model", "mannequin")
    before = run("score", photos, *models)
    assert "limbs *" in before.stdout
    done = run("selfcheck", "--data", photos, *models)
    assert done.exit_code == 0, done.output
    assert f"saved in {calibration.home_file()}" in done.stderr
    kept = json.loads(calibration.home_file().read_text("utf-8"))["calibrations"]
    assert {row["judge"] for row in kept} == {judge.name for judge in JUDGES}
    assert {tuple(row["sides"]) for row in kept} == {(128, 128)}
    out = tmp_path / "scores.json"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        after = run("score", photos, *models, "--json", out)
    assert after.exit_code == 0, after.output
    assert "*" not in after.stdout
    whole = json.loads(out.read_text("utf-8"))
    assert all(row["calibrated"] for row in whole["objectives"].values())
