"""The optional judges in `tuner score` and `tuner selfcheck`, with tiny networks."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from metrics.contract import Image as Pixels, JudgeSettings, Prompt, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.scoring import JUDGES, OPTIONAL_JUDGES
from metrics.version import judge_version
from tests.metrics.hub_models import qwen, segformer, vit_pose
from tuner.cli.app import app
from tuner.errors import MissingModelError
from tuner.judging import score_folder
from tuner.judging.cases import ALL_JUDGES, SOUND, Case, with_fault
from tuner.judging.keep_calibration import make_calibrations
from tuner.judging.labelled_cases import LabelledPicture, labelled_cases
from tuner.judging.labelling.labels import Label
from tuner.judging.models import judge_settings, model_names, place_of
from tuner.judging.selfcheck import CaseScore, judge_reports
from tuner.judging.truth import Truths
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure

FIGURE: Pixels = draw(Figure("female", jitter=1), 128)
SOUND_CASE = Case("g", 0, SOUND, ALL_JUDGES, Sample(Prompt("1girl", "female"), 0, FIGURE))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    Image.fromarray(FIGURE).save(file)
    return file


def test_a_missing_model_is_taken_out_of_the_settings(tmp_path: Path) -> None:
    named = {"pose_model": "owner/missing", "parser_model": segformer(tmp_path), "vlm": None}
    with contextlib.ExitStack() as opened:
        with pytest.warns(UserWarning, match="pose_model is not used: pose model 'owner/missing'"):
            judges = opened.enter_context(
                score_folder.open_judges(False, None, None, "drawn", named)
            )
        assert judges.settings.pose_model is None
        assert judges.pose_model is None
        assert judges.settings.parser_model == str(tmp_path)
        assert judges.parser_model is not None


@pytest.mark.slow
def test_a_missing_model_ends_its_judge_only(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    parser = segformer(tmp_path / "parser", always="Dress")
    models = ("--pose-model", "owner/missing", "--parser-model", parser)
    done = run("score", picture, *models, "--json", out)
    assert done.exit_code == 0, done.output
    assert re.search("^warning: pose_model is not used: pose model 'owner/miss", done.stderr, re.M)
    assert "parsed_clothes *" in done.stdout
    assert not re.search("second_pose|vlm", done.stdout)
    (row,) = json.loads(out.read_text("utf-8"))["images"]
    assert set(row["scores"]) == {*(judge.name for judge in JUDGES), "parsed_clothes"}
    clothes = row["scores"]["parsed_clothes"]
    assert (clothes["value"], clothes["calibrated"]) == (1.0, False)


def test_optional_judges_have_to_find_the_faults_of_others() -> None:
    assert with_fault(SOUND_CASE, "f", "limbs").judges == ("limbs", "second_pose", "vlm")
    bare = with_fault(SOUND_CASE, "f", "cloth_share")
    assert bare.judges == ("cloth_share", "parsed_clothes", "vlm")
    assert with_fault(SOUND_CASE, "f", "sharp").judges == ("sharp",)
    assert {judge.name for judge in OPTIONAL_JUDGES} < set(SOUND_CASE.judges)


@pytest.mark.parametrize(
    ("faults", "kinds"),
    [
        ([], [SOUND]),
        (["picture_fault"], [SOUND]),
        (["undressed"], ["undressed"]),
        (["wrong_limbs", "undressed"], ["wrong_limbs", "undressed"]),
    ],
)
def test_a_picture_is_sound_for_the_vlm_without_any_fault_that_it_is_asked_about(
    picture: Path, faults: list[str], kinds: list[str]
) -> None:
    row = LabelledPicture(picture, Prompt("a person"), Label(frozenset(faults)))
    cases = [case for case in labelled_cases([row]) if "vlm" in case.judges]
    assert [case.kind for case in cases] == kinds


def test_calibrations_hold_for_the_model_that_was_measured(tmp_path: Path) -> None:
    settings = judge_settings(None, None, optional={"parser_model": segformer(tmp_path / "one")})
    judge = next(judge for judge in OPTIONAL_JUDGES if judge.name == "parsed_clothes")
    score = judge.score(SOUND_CASE.sample, _nobody(settings))
    reports = judge_reports([CaseScore("g", 0, SOUND, 0.0, judge.name, score, 0.1)])
    (check,) = make_calibrations(reports, Truths(2, 64, labelled=(_row(tmp_path),)), None, settings)
    assert check.version == judge_version(judge, "photographic")
    assert check.models == {"parser_model": model_names(settings)["parser_model"]}
    assert re.fullmatch("one@[0-9a-f]{12}", str(check.models["parser_model"]))
    assert "vlm" not in model_names(settings)


def _nobody(settings: JudgeSettings) -> Evidence:
    evidence = Evidence(SOUND_CASE.sample, Detectors(settings))
    evidence.__dict__["people"] = ()
    return evidence


def _row(folder: Path) -> LabelledPicture:
    return LabelledPicture(folder / "x.png", Prompt("a person"), Label(frozenset()))


def test_models_are_looked_for_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place_of("parser_model", segformer(tmp_path / "parser")) == "a folder"
    (tmp_path / "pose.pt").write_text("x")
    assert place_of("pose_model", str(tmp_path / "pose.pt")) == "a file"
    (tmp_path / "parser" / "model.safetensors").unlink()
    for model, line in (
        (tmp_path / "parser", r"judges.vlm .*: the folder lacks \.safetensors"),
        (tmp_path, "the folder lacks config.json"),
        (tmp_path / "none", "no such folder"),
        (tmp_path / "none.pt", "no such file"),
    ):
        with pytest.raises(MissingModelError, match=line):
            place_of("vlm", str(model))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModelError, match="owner/missing is not in the hub's cache and HF_"):
        place_of("vlm", "owner/missing")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert place_of("vlm", "owner/missing").startswith("will be downloaded")


@pytest.mark.slow
def test_a_selfcheck_measures_them(tmp_path: Path) -> None:
    saved, out = tmp_path / "saved.json", tmp_path / "judges.json"
    models = (
        *("--pose-model", vit_pose(tmp_path / "pose")),
        *("--parser-model", segformer(tmp_path / "parser", always="Dress")),
        *("--vlm", qwen(tmp_path / "vlm", "yes", "no", says="yes")),
    )
    done = run("selfcheck", "--count", 2, "--size", 96, *models, "--save", saved, "--json", out)
    assert done.exit_code == 0, done.output
    measures = json.loads(out.read_text("utf-8"))["measures"]
    assert len(measures) == 2 * len(ALL_JUDGES)
    vlm = next(row for row in measures if row["judge"] == "vlm")
    assert {fault["kind"] for fault in vlm["faults"]} >= {"missing arm", "undressed"}
    assert vlm["found"]["value"] == 0.0
    checks = json.loads(saved.read_text("utf-8"))["calibrations"]
    assert {row["judge"] for row in checks} == set(ALL_JUDGES)
