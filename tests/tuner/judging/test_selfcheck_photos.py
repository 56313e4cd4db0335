from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from metrics import open_detectors
from metrics.detectors import Detectors
from metrics.preprocess import lab
from tuner.cli.app import app
from tuner.errors import ConfigError
from tuner.judging import find_pictures, score_cases
from tuner.judging.cases import ALL_JUDGES, BLOCK, BLUR, SOUND, Case
from tuner.judging.labelled_cases import JUDGES_OF_FAULT, labelled_cases, labelled_pictures
from tuner.judging.labelling.labels import COLUMNS, FAULTS
from tuner.judging.models import judge_settings
from tuner.judging.painting.torso import STRENGTHS
from tuner.judging.photo_cases import photo_cases
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure

SPREAD = Figure("female", arm_pose="arms spread", jitter=4)
LIMBS = (
    *("forearm removed", "lower leg removed"),
    *("arm added", "forearm added", "leg added"),
)
PAINTED = ("torso in skin", *LIMBS)


def selfcheck(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["selfcheck", *map(str, arguments)])


def save(figure: Figure, path: Path, prompt: str = "") -> None:
    Image.fromarray(draw(figure, 256)).save(path)
    if prompt:
        path.with_suffix(".txt").write_text(prompt)


@pytest.fixture(scope="module")
def judges() -> Iterator[Detectors]:
    with open_detectors(judge_settings("mannequin", None, domain="drawn")) as opened:
        yield opened


@pytest.fixture
def photos(drawn: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(drawn, tmp_path / "photos"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole figure whose prompt names its sex, and one of which only the bust shows."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    folder.mkdir()
    save(SPREAD, folder / "a.png", "1girl")
    bust = draw(Figure("male", framing="half", long_hair=False, jitter=2), 256)[:120]
    Image.fromarray(bust).save(folder / "b.png")
    return folder


@pytest.fixture(scope="module")
def cases(drawn: Path, judges: Detectors) -> list[Case]:
    return list(photo_cases(find_pictures(drawn), judges))


@pytest.fixture(scope="module")
def of_first(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.source == 0]


def test_faults_are_painted_where_the_pose_shows_where(cases: list[Case]) -> None:
    kinds = [[case.kind for case in cases if case.source == source] for source in (0, 1)]
    shared = [SOUND, *["blur"] * len(BLUR), *["colour block"] * len(BLOCK)]
    torso, spoilt = ["torso in skin"] * len(STRENGTHS), ["figure bent", "figure mixed up"]
    assert kinds[0] == [*shared, "wrong sex", *torso, *LIMBS, *spoilt]
    assert kinds[1][: len(shared)] == shared
    assert not {*LIMBS, "torso in skin"} & {*kinds[1]}  # nothing of it is in the frame
    assert {case.group for case in cases} == {"photos"}
    assert all(case.sample.prompt.text for case in cases)


def test_what_is_painted_stays_where_it_belongs(of_first: list[Case]) -> None:
    sound, *faulty = of_first
    for case in (case for case in faulty if case.kind in PAINTED):
        changed = (case.sample.image != sound.sample.image).any(axis=-1)
        assert 0.001 < changed.mean() < 0.15, case.kind


def test_the_torso_takes_the_colour_of_the_face_step_by_step(of_first: list[Case]) -> None:
    sound, *faulty = of_first
    torsos = [case for case in faulty if case.kind == "torso in skin"]
    changed = (torsos[-1].sample.image != sound.sample.image).any(axis=-1)
    colours = [np.median(lab(case.sample.image)[changed], axis=0) for case in torsos]
    far = [float(np.linalg.norm(colour[1:] - colours[-1][1:])) for colour in colours]
    assert [case.strength for case in torsos] == list(STRENGTHS)
    assert far == sorted(far, reverse=True)
    assert far[0] > 10


def test_the_judges_see_what_was_painted(of_first: list[Case], judges: Detectors) -> None:
    shown = ((SOUND, 0.0), ("arm added", 0.0), ("torso in skin", 1.0))
    values = {
        (score.kind, score.strength, score.judge): score.score.value
        for score in score_cases(
            [case for case in of_first if (case.kind, case.strength) in shown], judges
        )
    }
    pasted, bare = values["arm added", 0.0, "limbs"], values["torso in skin", 1.0, "cloth_share"]
    assert pasted is not None
    assert pasted < 0.5 < (values[SOUND, 0.0, "limbs"] or 0.0)
    assert bare is not None
    assert bare < 0.5 < (values[SOUND, 0.0, "cloth_share"] or 0.0)


def test_irises_are_painted_where_a_face_is_large_enough(tmp_path: Path, judges: Detectors) -> None:
    save(Figure("male", framing="half", long_hair=False, jitter=3), tmp_path / "a.png")
    cases = list(photo_cases(find_pictures(tmp_path), judges))
    (red,) = (case for case in cases if case.kind == "red eyes")
    changed = (red.sample.image != cases[0].sample.image).any(axis=-1)
    assert 5 <= changed.sum() <= 60
    values = {
        score.kind: score.score.value
        for score in score_cases([cases[0], red], judges)
        if score.judge == "no_red_eyes"
    }
    red_value = values["red eyes"]
    assert red_value is not None
    assert red_value < 0.5 < (values[SOUND] or 0.0)


def test_a_large_photograph_is_made_smaller(tmp_path: Path, judges: Detectors) -> None:
    Image.fromarray(draw(SPREAD, 1000)).save(tmp_path / "a.png")
    first = next(photo_cases(find_pictures(tmp_path), judges))
    assert first.sample.image.shape == (768, 768, 3)


def test_the_folder_stays_as_it_is_and_what_names_a_child_is_left_out(
    photos: Path, tmp_path: Path
) -> None:
    save(SPREAD, photos / "c.png", "a little girl")
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in photos.iterdir()}
    file = tmp_path / "judges.json"
    done = selfcheck("--data", photos, "--gender-model", "mannequin", "--json", file)
    assert done.exit_code == 0, done.output
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in photos.iterdir()} == before
    assert "1 left out: the prompt names a child" in done.stderr
    assert "renders" not in done.stdout
    whole = {row["judge"]: row for row in json.loads(file.read_text("utf-8"))["measures"]}
    assert whole["sharp"]["false_alarms"]["total"] == 2
    assert [ladder["kind"] for ladder in whole["cloth_share"]["ladders"]] == ["torso in skin"]
    assert whole["one_person"]["reasons"]["no person detector set"] == 1


HEAD = ",".join(COLUMNS) + "\n"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    save(SPREAD, tmp_path / "a.png")
    save(Figure("male", limbs="missing arm", long_hair=False, jitter=2), tmp_path / "b.png")
    file = tmp_path / "labels.csv"
    file.write_text(f"{HEAD}a.png,0,0,0,0,female\nb.png,1,0,0,1,\n")
    return file


def test_labels_say_what_each_judge_has_to_say(labelled: Path) -> None:
    cases = list(labelled_cases(labelled_pictures(labelled)))
    assert [(case.source, case.kind, case.judges) for case in cases] == [
        (0, SOUND, ("limbs", "second_pose")),
        (0, SOUND, ("pose_readable",)),
        (0, SOUND, ("cloth_share", "parsed_clothes")),
        (0, SOUND, ("sharp", "clean")),
        (0, SOUND, ("vlm",)),
        (0, SOUND, ("gender",)),
        (0, "wrong sex", ("gender",)),
        (1, "wrong_limbs", ("limbs", "second_pose")),
        (1, SOUND, ("pose_readable",)),
        (1, SOUND, ("cloth_share", "parsed_clothes")),
        (1, "picture_fault", ("sharp", "clean")),
        (1, "wrong_limbs", ("vlm",)),
    ]
    assert [case.sample.prompt.sex for case in cases[5:7]] == ["female", "male"]


def test_every_fault_that_can_be_labelled_has_its_judges() -> None:
    assert tuple(JUDGES_OF_FAULT) == FAULTS
    assert {name for judges in JUDGES_OF_FAULT.values() for name in judges} <= set(ALL_JUDGES)


def test_a_label_of_the_sex_alone_is_for_the_gender_judge_only(labelled: Path) -> None:
    labelled.write_text(f"{HEAD}a.png,,,,,female\n")
    cases = list(labelled_cases(labelled_pictures(labelled)))
    assert [case.judges for case in cases] == [("gender",), ("gender",)]


def test_labelled_pictures_are_measured(labelled: Path) -> None:
    done = selfcheck("--labels", labelled, "--gender-model", "mannequin")
    assert done.exit_code == 0, done.output
    assert "labelled pictures" in done.stdout
    assert "wrong sex" in done.stdout
    assert "renders" not in done.stdout


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{HEAD}a.png,2,0,0,0,\n", "line 2: is not a label"),
        (f"{HEAD}a.png,0,0,0,0,woman\n", "line 2: is not a label"),
        (f"{HEAD}c.png,0,0,0,0,\n", "c.png is not there"),
        (f"{HEAD}.,0,0,0,0,\n", "is not there"),
        (f"{HEAD}labels.csv,0,0,0,0,\n", "no picture in a known format"),
        ("file,labels\na.png,sound\n", "has other columns than file,wrong_limbs"),
        (HEAD, "labels no picture"),
    ],
)
def test_an_unusable_row_is_one_line(text: str, line: str, labelled: Path) -> None:
    labelled.write_text(text)
    with pytest.raises(ConfigError) as caught:
        labelled_pictures(labelled)
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_missing_pictures_are_reported_together(labelled: Path) -> None:
    labelled.write_text(f"{HEAD}c.png,0,0,0,0,\na.png,0,0,0,0,\nd.png,0,0,0,0,\n")
    with pytest.raises(ConfigError) as caught:
        labelled_pictures(labelled)
    assert [each.split("/")[-1] for each in str(caught.value).splitlines()] == [
        "c.png is not there",
        "d.png is not there",
    ]


def test_a_picture_whose_prompt_names_a_child_is_refused(labelled: Path) -> None:
    labelled.with_name("a.txt").write_text("a little girl")
    with pytest.raises(ConfigError, match="names a child"):
        labelled_pictures(labelled)
