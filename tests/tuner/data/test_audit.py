"""The audit on rendered figures whose captions, sizes and copies are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tuner.cli.app import app
from tuner.cli.data import read_wanted
from tuner.data import TrainingSet, read_folder
from tuner.data.audit import Audit, Look, Wanted, audit, framing_of, sex_of
from tuner.data.audit_report import lines, warnings
from tuner.data.contact_sheet import contact_sheet
from tuner.data.folder import TrainingImage
from tuner.errors import ConfigError
from tuner.mannequin import draw
from tuner.mannequin.render import random_figure
from tuner.space.suite import PERSONS

SPACE = """
study: s
base: mannequin
data: nowhere
budget: {rungs: [1]}
train: {resolution: {choices: [64, 96x64]}}
"""


def _set(captions: list[str], size: tuple[int, int] = (64, 64), held: int = 0) -> TrainingSet:
    images = tuple(
        TrainingImage(Path(f"/data/{index:03d}.png"), caption, str(index), *size)
        for index, caption in enumerate(captions)
    )
    split = len(images) - held
    return TrainingSet(Path("/data"), images[:split], images[split:], (), "0")


def _audit(
    data: TrainingSet, wanted: Wanted | None = None, looks: list[Look] | None = None
) -> Audit:
    return audit(data, wanted or Wanted(PERSONS, ()), looks or [], {})


def _warned(data: TrainingSet, wanted: Wanted | None = None) -> str:
    return "\n".join(warnings(_audit(data, wanted)))


@pytest.mark.parametrize(
    ("caption", "sex", "framing"),
    [
        ("1girl:0.98, solo, full_body", "woman", "full"),
        ("1boy, cowboy shot", "man", "half"),
        ("a woman in a hat", "woman", "unnamed"),
        ("a full body photo of a man", "man", "full"),
        ("1girl, 1boy, upper body", "several", "half"),
        ("2girls, portrait", "several", "face"),
        ("solo, close-up", "unnamed", "face"),
        ("", "unnamed", "unnamed"),
    ],
)
def test_sex_and_framing_are_read_from_captions(caption: str, sex: str, framing: str) -> None:
    assert (sex_of(caption), framing_of(caption)) == (sex, framing)


def test_prompts_that_the_data_lack_are_warned_of() -> None:
    half = ["1girl, upper body"] * 29 + ["1girl, full body"]
    text = _warned(_set(half))
    assert "prompts for a man, but only 0 of 30" in text
    assert "prompts for full-body pictures, but only 1 of 30" in text
    assert "half-body" not in text
    both = ["1girl, upper body", "1boy, full body"] * 20
    assert _warned(_set(both)) == ""
    assert "no caption says how much" in _warned(_set(["1girl", "1boy"] * 20))
    assert _warned(_set(["1girl"] * 30), Wanted((), ())) == ""


def test_tags_bound_to_a_sex_and_always_present() -> None:
    women = ["1girl, solo, skirt, plain background"] * 30 + ["1girl, plain background, hat"] * 3
    men = ["1boy, solo, beard, plain background"] * 15
    result = _audit(_set(women + men))
    assert result.always == ("plain background",)
    # Three hats among the larger sex may well be chance; thirty skirts are not.
    assert result.bound == (("skirt", "woman", 30), ("beard", "man", 15))
    rare = ["1girl, skirt"] * 60 + ["1boy, tie"] * 2
    assert _audit(_set(rare)).bound == ()


def test_sizes_are_held_against_those_of_the_space(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    wanted = read_wanted(space)
    assert wanted.sizes == ((64, 64), (96, 64))
    assert wanted.prompts == PERSONS
    captions = ["1girl, upper body", "1boy, full body"] * 20
    square, wide = _audit(_set(captions, (48, 96)), wanted).fits
    assert (square.enlarged, square.most, square.cut) == (40, pytest.approx(64 / 48), 0.5)
    assert wide.cut == pytest.approx(1 - 32 / 96)
    text = _warned(_set(captions, (48, 96)), wanted)
    assert "at 64 x 64 40 of 40 pictures must be enlarged" in text
    assert "at 64 x 64 the centre cut loses 50%" in text
    assert _warned(_set(captions, (96, 96)), Wanted((), ((64, 64),))) == ""
    with pytest.raises(ConfigError):
        read_wanted(tmp_path / "none.yaml")


def test_copies_across_the_held_out_are_reported() -> None:
    data = _set(["1girl"] * 22, held=2)
    random = np.random.default_rng(0)
    prints = list(random.integers(0, 256, (22, 32), dtype=np.uint8))
    prints[21] = prints[4]
    everyone = (*data.images, *data.held_out)
    looks = [Look(image, each, False) for image, each in zip(everyone, prints, strict=True)]
    result = _audit(data, Wanted((), ()), looks)
    assert result.copies == ((Path("/data/004.png"), Path("/data/021.png")),)
    assert "1 held-out picture is a near copy of training pictures" in warnings(result)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve figures, one of them twice, one refused, one broken."""
    root, random = tmp_path_factory.mktemp("figures"), np.random.default_rng(0)
    for index in range(12):
        figure = random_figure(random, sex="male" if index % 4 == 0 else "female")
        picture = Image.fromarray(draw(figure, 96))
        picture.save(root / f"{index:02d}.png")
        (root / f"{index:02d}.txt").write_text(", ".join(figure.tags))
    picture.save(root / "copy.jpg", quality=80)
    (root / "copy.txt").write_text("1girl")
    picture.save(root / "refused.png")
    (root / "refused.txt").write_text("1girl, toddler")
    # At 300 to 1 MediaPipe would end the process: such a picture is looked at in its middle.
    Image.fromarray(random.integers(0, 256, (2, 900, 3), dtype=np.uint8)).save(root / "strip.png")
    (root / "strip.txt").write_text("1girl")
    (root / "broken.png").write_bytes(b"")
    (root / "broken.txt").write_text("1girl")
    return root


def test_the_command_prints_warns_and_writes(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    sheet, table = tmp_path / "out" / "sheet.png", tmp_path / "audit.json"
    done = CliRunner().invoke(
        app,
        ["data", "audit", str(folder), f"--space={space}", f"--sheet={sheet}", f"--json={table}"],
    )
    assert done.exit_code == 0, done.stderr
    assert "14 pictures to train on, 0 held out, 2 set aside" in done.stdout
    assert "near copies: 1 (copy.jpg)" in done.stdout
    assert "warning: set aside: 2 pictures (" in done.stdout
    written = json.loads(table.read_text())
    assert written["near_copies"] == [{"file": "copy.jpg", "of": "11.png"}]
    assert written["refused"] == 1
    assert sum(row["pictures"] for row in written["people"]) == 14
    assert [row["size"] for row in written["sizes"]] == ["64x64", "96x64"]
    assert written["explicit"] == []
    with Image.open(sheet) as picture:
        assert picture.width > 1000
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_explicit_pictures_are_reported_and_never_shown(folder: Path) -> None:
    data = read_folder(folder)
    prints = [np.full(32, index * 19, np.uint8) for index in range(len(data.images))]
    looks = [Look(image, each, True) for image, each in zip(data.images, prints, strict=True)]
    hidden = _audit(data, looks=looks)
    assert any("14 pictures show explicit parts" in line for line in warnings(hidden))
    assert "with explicit parts: 14 (00.png, " in "\n".join(lines(hidden))
    young = _audit(data, looks=[Look(looks[3].image, looks[3].fingerprint, False, True)])
    assert any("look under age: 1 (03.png); remove every" in line for line in warnings(young))
    assert "with a face that looks under age: 1 (03.png)" in lines(young)
    shown = _audit(data, looks=[Look(each.image, each.fingerprint, False) for each in looks])
    blurred, clear = (np.asarray(contact_sheet(each), float)[:, 150:] for each in (hidden, shown))
    detail = [np.abs(np.diff(picture, axis=1)).mean() for picture in (blurred, clear)]
    assert detail[0] < 0.7 * detail[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere"],
        ["mannequin:no"],
        ["FOLDER", "--space", "nowhere.yaml"],
        ["FOLDER", "--sheet", "sheet.jpg"],
        ["FOLDER", "--json", "audit.csv"],
    ],
)
def test_wrong_arguments_are_refused_in_a_line(folder: Path, arguments: list[str]) -> None:
    given = [str(folder) if word == "FOLDER" else word for word in arguments]
    done = CliRunner().invoke(app, ["data", "audit", *given])
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
