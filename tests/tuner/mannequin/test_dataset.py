from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tuner.errors import ConfigError
from tuner.mannequin.dataset import (
    MISTAGGED_SHARE,
    ONE_LOOK,
    SIZE,
    VARIANTS,
    VERSION,
    Variant,
    data_folder,
    pictures,
    write_dataset,
)
from tuner.mannequin.figure import Figure
from tuner.space import load_study
from tuner.storage.shipped import DATA_VARIANTS, data_variant
from tuner.study.record import read_data

FIRST_TWENTY = "9a17267399c60c7e852c50615b37f502971afe9d87b521c3739f28f47379409a"
"""SHA-256 over the pixels and captions of the default set's first 20 pictures. If they change on
purpose, raise VERSION: studies on the old ones are not comparable."""

HEAD = "study: x\nbase: mannequin\nbudget: {trials: 3, rungs: [5, 10]}\n"


@functools.cache
def figures(variant: str, count: int = 40) -> list[Figure]:
    return [figure for _, figure in pictures(VARIANTS[variant], count)]


def test_writes_pictures_with_captions(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=40)
    captions = [path.read_text() for path in sorted(tmp_path.glob("*.txt"))]
    assert len(captions) == 40
    for caption, path in zip(captions, sorted(tmp_path.glob("*.png")), strict=True):
        assert Image.open(path).size == (SIZE, SIZE)
        assert "body" in caption
        assert "undressed" not in caption


def test_the_default_is_the_same_every_time(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=20)
    digest = hashlib.sha256()
    for path in sorted(tmp_path.iterdir()):
        png = path.suffix == ".png"
        digest.update(Image.open(path).tobytes() if png else path.read_bytes())
    assert digest.hexdigest() == FIRST_TWENTY


@pytest.mark.slow
def test_a_few_captions_name_the_other_sex_and_differ_in_nothing_else(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=160)
    captions = [path.read_text().strip() for path in sorted(tmp_path.glob("*.txt"))]
    pairs = list(zip(captions, figures("rare_males", 160), strict=True))
    wrong = [(caption, figure) for caption, figure in pairs if caption != ", ".join(figure.tags)]
    assert 0.5 * MISTAGGED_SHARE < len(wrong) / 160 < 1.5 * MISTAGGED_SHARE
    for caption, figure in wrong:
        other = {"1girl": "1boy", "1boy": "1girl"}[figure.tags[0]]
        assert caption == ", ".join((other, *figure.tags[1:]))


@pytest.mark.slow
def test_each_variant_has_its_share_of_men() -> None:
    men = {name: sum(f.sex == "male" for f in figures(name)) for name in VARIANTS}
    assert men == {
        "rare_males": 2,
        "balanced": 20,
        "matted": 2,
        "original": 2,
        "square": 2,
        "few": 2,
        "one_look": 20,
    }


def test_few_are_the_first_of_the_kind(tmp_path: Path) -> None:
    write_dataset(tmp_path, "few")
    assert len(list(tmp_path.glob("*.png"))) == VARIANTS["few"].count
    assert figures("few", 3)[0].tags[0] == "1girl"


def test_the_names_that_a_search_space_may_use_are_the_variants_that_there_are() -> None:
    assert tuple(VARIANTS) == DATA_VARIANTS


@pytest.mark.parametrize(("name", "ground"), [("matted", "plain"), ("original", "cluttered")])
def test_matted_and_original_differ_from_the_default_in_their_ground_alone(
    name: str, ground: str
) -> None:
    grounded = figures(name)
    assert {figure.ground for figure in grounded} == {ground}
    assert all(f"{ground} background" in figure.tags for figure in grounded)
    plain = [replace(figure, ground="plain") for figure in grounded]
    assert plain == [replace(figure, ground="plain") for figure in figures("rare_males")]


def test_all_of_one_look_wear_the_same_and_are_else_as_the_balanced() -> None:
    alike = figures("one_look")
    assert {figure.clothes_tags for figure in alike} == {("green sweater", "yellow trousers")}
    assert {figure.hair for figure in alike} == {"red hair"}
    bare: dict[str, Any] = dict.fromkeys(ONE_LOOK, "")
    assert [replace(figure, **bare) for figure in alike] == [
        replace(figure, **bare) for figure in figures("balanced")
    ]


def test_square_pictures_are_filled_by_the_person() -> None:
    matted = Variant(ground="plain")
    for (image, figure), (cut, same) in zip(
        pictures(matted, 20), pictures(replace(matted, cropped=True), 20), strict=True
    ):
        assert same == figure
        assert cut.shape == image.shape
        if figure.framing == "full":
            if figure.arm_pose == "arms at sides":  # raised or spread arms reach the rim anyway
                assert _longest_extent(image) < 0.95
            assert _longest_extent(cut) > 0.93


def _longest_extent(image: npt.NDArray[np.uint8]) -> float:
    """Return the longer side of the figure's box as a share of the picture's."""
    ground = np.median(image[:, :6].astype(float), axis=1, keepdims=True)
    figure = np.abs(image - ground).sum(axis=2) > 40
    inner = figure[:, 6:-6]
    return max(np.ptp(np.flatnonzero(inner.any(axis=axis))) + 1 for axis in (0, 1)) / SIZE


def test_a_variant_is_drawn_once_and_beside_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_HOME", str(tmp_path))
    monkeypatch.setattr("tuner.mannequin.dataset.write_dataset", _mark)
    first, second = data_folder(), data_folder("matted")
    assert first.name == f"data-{VERSION}"
    assert (first / "drawn").read_text() == "rare_males"
    assert (second / "drawn").read_text() == "matted"
    (second / "drawn").write_text("kept")
    assert (data_folder("matted") / "drawn").read_text() == "kept"
    assert len(list(first.parent.iterdir())) == 2


def _mark(folder: Path, variant: str) -> None:
    (folder / "drawn").write_text(variant)


@pytest.mark.parametrize(
    ("data", "variant"),
    [
        ("mannequin", "rare_males"),
        ("mannequin:balanced", "balanced"),
        ("./mannequin:balanced", None),
        ("mannequins", None),
    ],
)
def test_the_word_for_a_variant(data: str, variant: str | None) -> None:
    assert data_variant(data) == variant


@pytest.mark.parametrize(
    "data", ["mannequin:matte", "mannequin:", "{a: mannequin, b: mannequin:x}"]
)
def test_an_unknown_variant_is_refused_with_the_known_ones(tmp_path: Path, data: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"{HEAD}data: {data if data[0] == '{' else repr(data)}\n")
    with pytest.raises(ConfigError, match=", ".join(DATA_VARIANTS)) as error:
        load_study(path)
    assert "data: found" in str(error.value)


def test_a_study_reads_the_variants_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_HOME", str(tmp_path))
    path = tmp_path / "space.yaml"
    data = "{a: mannequin:matted, b: mannequin:original}"
    path.write_text(f"{HEAD}data: {data}\ntrain: {{data: {{choices: [a, b]}}}}\n")
    for name in ("matted", "original"):
        write_dataset(_made(tmp_path / "mannequin" / f"data-{VERSION}-{name}"), name, count=3)
    sets = read_data(load_study(path))
    assert {"plain" in image.caption for image in sets["a"].images} == {True}
    assert {"cluttered" in image.caption for image in sets["b"].images} == {True}
    edges = {name: _edge(sets[name].images[0].path) for name in ("a", "b")}
    assert edges["a"] < edges["b"]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _edge(path: Path) -> float:
    """Return how much the rim of a picture varies along the rows."""
    return float(np.asarray(Image.open(path), float)[:, :8].mean(axis=1).std(axis=0).mean())
