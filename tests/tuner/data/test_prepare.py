"""Preparation of rendered figures and scenes with the real detectors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from skimage.data import astronaut
from typer.testing import CliRunner

from metrics.contract import Image as Picture
from metrics.judges import adult
from tests.tuner.data.raw_pictures import prepare, save, state, table
from tuner.cli.app import app
from tuner.data import read_folder
from tuner.data.folder import load_pixels
from tuner.data.preparing import prepare as module
from tuner.mannequin import draw
from tuner.mannequin.render import Figure, truth
from tuner.mannequin.scene import random_scene

SIZE = 256
WOMAN = Figure("female", top="sweater", top_colour="green", ground="cluttered", jitter=1)
MAN = Figure("male", long_hair=False, top_colour="blue", framing="half", jitter=2)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good pictures and one of everything that has to be set aside."""
    root = tmp_path_factory.mktemp("raw")
    woman = draw(WOMAN, SIZE)
    save(root, "a woman.png", woman)
    save(root, "b_man.png", draw(MAN, SIZE), "1boy, solo")
    (root / "c_copy.png").write_bytes((root / "a woman.png").read_bytes())
    (root / "c_copy.txt").write_text("1girl")
    smaller = cv2.resize(woman, (230, 230), interpolation=cv2.INTER_AREA)
    save(root, "d_again.jpg", smaller)
    other = draw(Figure("female", top_colour="red", jitter=8), SIZE)
    save(root, "e_soft.png", cv2.GaussianBlur(other, (0, 0), 4.0))
    save(root, "f_tiny.png", draw(Figure("female", top_colour="white", jitter=9), 64))
    save(root, "g_empty.png", np.full((SIZE, SIZE, 3), 120, np.uint8))
    save(root, "h_crowd.png", _crowd())
    save(root, "i_refused.png", draw(Figure("female", jitter=10), SIZE), "1girl, toddler")
    save(root, "j_child.png", draw(Figure("female", jitter=11), SIZE))
    save(root, "k_broken.png", other)
    (root / "k_broken.png").write_bytes(b"")
    save(root, "m_strip.png", np.zeros((2, 900, 3), np.uint8))
    (root / "l_phone.heic").write_bytes(b"something")
    (root / "l_phone.txt").write_text("1girl")
    return root


def _crowd() -> Picture:
    """Draw a scene whose figures are too close to be cut out alone."""
    random = np.random.default_rng(3)
    return next(image for image, boxes in (random_scene(random, SIZE) for _ in range(50))
                if len(boxes) == 3)  # fmt: skip


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """What became of all of them, for tests that only read, and what the command printed."""
    before, out = state(raw), tmp_path_factory.mktemp("prepared") / "out"
    done = prepare(raw, out)
    assert done.exit_code == 0, done.stderr
    assert state(raw) == before
    return out, done


def test_each_picture_is_prepared_or_set_aside_with_its_reason(
    raw: Path, prepared: tuple[Path, Result]
) -> None:
    out, done = prepared
    rows = table(out)
    assert list(rows) == sorted(path.name for path in raw.iterdir() if path.suffix != ".txt")
    reasons = {name: crops[0]["reason"].partition(":")[0] for name, crops in rows.items()}
    assert reasons == {
        "a woman.png": "",
        "b_man.png": "",
        "c_copy.png": "a copy",
        "d_again.jpg": "a near copy",
        "e_soft.png": "blurred",
        "f_tiny.png": "too small",
        "g_empty.png": "no person",
        "h_crowd.png": "several persons",
        "i_refused.png": "refused",
        "j_child.png": "refused",
        "k_broken.png": "an empty file",
        "l_phone.heic": "not read",
        "m_strip.png": "too long and thin",
    }
    assert "toddler" in rows["i_refused.png"][0]["reason"]
    assert f"{out / 'images'}: 2 pictures of 13" in done.stdout
    assert "refused 2" in done.stdout


def test_a_photograph_with_a_face_under_age_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = np.asarray(astronaut()[:256, 96:352], np.uint8)
    (tmp_path / "raw").mkdir()
    save(tmp_path / "raw", "astronaut.png", person, "1girl, solo")
    options = ("--crop", "none", "--captions", "own")
    adults = CliRunner().invoke(
        app,
        ["data", "prepare", str(tmp_path / "raw"), str(tmp_path / "a"), "--min-side=128", *options],
    )
    assert "images: 1 picture of 1" in adults.stdout, adults.output
    monkeypatch.setattr(adult, "ADULT", 60)  # everyone below sixty is a child
    young = CliRunner().invoke(
        app,
        ["data", "prepare", str(tmp_path / "raw"), str(tmp_path / "b"), "--min-side=128", *options],
    )
    assert "set aside: looks under age 1" in young.stdout, young.output
    assert "by hand" in table(tmp_path / "b")["astronaut.png"][0]["reason"]


def test_what_was_prepared_is_a_training_set_of_squares(
    raw: Path, prepared: tuple[Path, Result]
) -> None:
    out, _ = prepared
    data = read_folder(out / "images")
    assert {image.caption for image in data.images} == {"1girl, solo", "1boy, solo"}
    assert all(image.width == image.height >= 128 for image in data.images)
    assert [image.path.name[:7] for image in data.images] == ["a_woman", "b_man-" + image_hash(raw)]
    whole = read_folder(out / "regularisation")
    assert {image.sha256 for image in whole.images} == {
        hashlib.sha256((raw / name).read_bytes()).hexdigest()
        for name in ("a woman.png", "b_man.png")
    }


def image_hash(raw: Path) -> str:
    return hashlib.sha256((raw / "b_man.png").read_bytes()).hexdigest()[:1]


def test_a_body_crop_holds_the_whole_body(tmp_path: Path) -> None:
    raw, wide = tmp_path / "raw", np.full((SIZE, 2 * SIZE, 3), 150, np.uint8)
    wide[:, 100 : 100 + SIZE] = draw(WOMAN, SIZE)
    path = save(raw, "wide.png", wide)
    assert prepare(raw, tmp_path / "out").exit_code == 0
    (image,) = read_folder(tmp_path / "out" / "images").images
    crop, photograph = np.asarray(load_pixels(image)), np.asarray(Image.open(path))
    _, _, (left, top), _ = cv2.minMaxLoc(cv2.matchTemplate(photograph, crop, cv2.TM_SQDIFF))
    assert np.array_equal(photograph[top : top + len(crop), left : left + len(crop)], crop)
    for name, (x, y) in truth(WOMAN).joints.items():
        assert left <= 100 + x * SIZE <= left + image.width, name
        assert top <= y * SIZE <= top + image.height, name


def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_been_stopped(
    raw: Path,
    prepared: tuple[Path, Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (straight, _), stopped = prepared, tmp_path / "stopped"
    prepare_source, calls = module.prepare_source, []

    def stops(source, *others):  # type: ignore[no-untyped-def]
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(source.name)
        return prepare_source(source, *others)

    monkeypatch.setattr(module, "prepare_source", stops)
    assert prepare(raw, stopped).exit_code == 130
    assert sum(len(crops) for crops in table(stopped).values()) == 4
    monkeypatch.setattr(module, "prepare_source", prepare_source)
    with (stopped / "prepared.jsonl").open("a") as file:
        file.write('{"source": "e_so')  # a line that the machine's end cut off
    again = prepare(raw, stopped)
    assert again.exit_code == 0, again.stderr
    assert "prepared before: 4 pictures" in again.stderr
    hashes = [{n: sha for n, (sha, _) in state(each).items()} for each in (straight, stopped)]
    assert hashes[0] == hashes[1]
    times = state(stopped)
    # Pictures that were done before, or cannot even be hashed, are not done again.
    assert "prepared before: 13 pictures" in prepare(raw, stopped).stderr
    unchanged = {name: time for name, time in times.items() if name != "prepared.csv"}
    assert {n: t for n, t in state(stopped).items() if n != "prepared.csv"} == unchanged


def test_a_changed_picture_is_done_again_and_a_deleted_crop_stays_deleted(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw, "a.png", draw(WOMAN, SIZE))
    save(raw, "b.png", draw(MAN, SIZE))
    prepare(raw, out)
    first = sorted(path.name for path in (out / "images").glob("*.png"))
    (out / "images" / first[1]).unlink()
    save(raw, "a.png", draw(Figure("female", top_colour="purple", jitter=5), SIZE))
    assert prepare(raw, out).exit_code == 0
    (left,) = (out / "images").glob("*.png")
    assert left.name.startswith("a-")
    assert left.name not in first
    assert len(list((out / "regularisation").glob("a-*.png"))) == 1


def test_other_settings_another_folder(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw, "a.png", draw(WOMAN, SIZE))
    prepare(raw, out, "--captions", "none")
    other = prepare(raw, out, "--captions", "none", "--min-side", "64", "--crop", "face")
    assert (other.exit_code, other.stdout) == (3, "")
    assert "was begun with another crop, min_side" in other.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["RAW", "RAW"], "overlap"),
        (["RAW", "RAW/out"], "overlap"),
        (["RAW", "PARENT"], "overlap"),
        (["nowhere", "OUT"], "is not there"),
        (["RAW", "FULL", "--crop", "none"], "is not empty"),
        (["RAW", "OUT", "--crop", "body"], "needs a person detector"),
        (["RAW", "OUT", "--crop=none", "--max-side=100"], "--min-side 512 is more than"),
        (["RAW", "OUT", "--crop", "none", "--matte", "sky"], "--matte sky is not a colour"),
        (["BARE", "OUT", "--crop", "none"], "1 of 1 picture has no caption of their own"),
        (["FULL", "OUT", "--crop", "none"], "has no pictures"),
    ],
)
def test_wrong_folders_and_options_are_refused_in_a_line(
    raw: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    before = state(raw)
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.md").write_text("mine")
    bare = save(tmp_path / "bare", "a.png", draw(WOMAN, 64), None).parent
    words = {"RAW": raw, "OUT": tmp_path / "out", "FULL": full, "BARE": bare}
    words["PARENT"] = raw.parent
    given = [str(words.get(word, word.replace("RAW/", f"{raw}/"))) for word in options]
    done = CliRunner().invoke(app, ["data", "prepare", *given])
    assert (done.exit_code, done.stdout) == (3, ""), done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert state(raw) == before


def test_faces_on_plain_ground(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw, "a.png", draw(WOMAN, 384))
    done = prepare(raw, out, "--crop", "face", "--min-side", "48", "--matte", "#0ac81e")
    assert done.exit_code == 0, done.stderr
    (image,) = read_folder(out / "images").images
    assert 48 <= image.width == image.height < 192
    pixels = np.asarray(load_pixels(image)).astype(int)
    corners = np.concatenate([pixels[:6, :6], pixels[:6, -6:]]).reshape(-1, 3)
    assert (np.abs(corners - (10, 200, 30)).max(axis=1) <= 3).all()
    middle = pixels[image.height // 2 - 3 : image.height // 2 + 3, image.width // 2]
    assert np.abs(middle - (10, 200, 30)).max(axis=1).min() > 40


def test_large_crops_are_scaled_down(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw, "a.png", draw(WOMAN, 512))
    assert prepare(raw, out, "--max-side", "160").exit_code == 0
    (image,) = read_folder(out / "images").images
    assert (image.width, image.height) == (160, 160)
    (whole,) = read_folder(out / "regularisation").images
    assert whole.width == 512


def test_whole_pictures_need_no_detector_and_the_output_says_so(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw, "deep/a.png", draw(WOMAN, 96))
    (raw / "deep" / "a.txt").unlink()
    (raw / "deep" / "metadata.jsonl").write_text(
        json.dumps({"file_name": "a.png", "text": "1girl, smile"})
    )
    done = CliRunner().invoke(
        app,
        ["data", "prepare", str(raw), str(out), "--crop", "none", "--min-side=64", "--recursive"],
    )
    assert done.exit_code == 0, done.stderr
    assert "no persons were detected" in done.stdout
    (image,) = read_folder(out / "images").images
    assert (image.width, image.caption) == (96, "1girl, smile")
    assert not (out / "regularisation").exists()


@pytest.mark.slow
def test_the_mannequins_own_pictures_are_prepared_without_an_option(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "prepare", "mannequin:original", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    data = read_folder(tmp_path / "out" / "images")
    assert len(data.images) + len(data.held_out) > 300
