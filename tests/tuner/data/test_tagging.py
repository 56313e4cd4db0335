"""Captioner and tagger on tiny models in the files that the published ones come as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Image
from tests.tuner.data.tiny_captioners import save_tiny_blip, save_tiny_tagger
from tuner.data.preparing.tagging import Captioner, Tagger, chosen_tags, doubtful_tags
from tuner.errors import MissingModelError


def _plain(red: int, green: int, blue: int, shape: tuple[int, int] = (20, 30)) -> Image:
    return np.full((*shape, 3), (red, green, blue), np.uint8)


def test_blip_says_its_sentence(tmp_path: Path) -> None:
    captioner = Captioner(str(save_tiny_blip(tmp_path / "blip", "woman")))
    said = captioner(_plain(200, 30, 30))
    assert set(said.split()) == {"woman"}
    assert captioner(_plain(200, 30, 30)) == said


def test_the_tagger_sees_colours_in_their_right_order(tmp_path: Path) -> None:
    tagger = Tagger(str(save_tiny_tagger(tmp_path / "wd14")))
    red, blue = tagger(_plain(255, 0, 0, (16, 16))), tagger(_plain(0, 0, 255, (16, 16)))
    assert red["red shirt"] == pytest.approx(1, abs=1e-6)
    assert red["blue shirt"] == pytest.approx(0, abs=1e-6)
    assert blue["blue shirt"] == pytest.approx(1, abs=1e-6)
    assert blue["red shirt"] == pytest.approx(0, abs=1e-6)


def test_a_long_picture_is_padded_with_white(tmp_path: Path) -> None:
    tagger = Tagger(str(save_tiny_tagger(tmp_path / "wd14")))
    square, long = (tagger(_plain(255, 255, 255, shape)) for shape in ((64, 64), (8, 64)))
    assert long == pytest.approx(square)
    assert long["white background"] > 0.9


def test_who_is_there_comes_first_and_ratings_and_characters_never(tmp_path: Path) -> None:
    tags = Tagger(str(save_tiny_tagger(tmp_path / "wd14")))(_plain(255, 0, 0, (16, 16)))
    assert chosen_tags(tags) == ["solo", "1girl", "red shirt", "^_^"]
    assert "general" not in tags
    assert "saber (fate)" not in tags


def test_a_tag_that_is_only_possible_is_doubtful(tmp_path: Path) -> None:
    folder = save_tiny_tagger(tmp_path / "wd14", {"toddler": -1.5})
    tags = Tagger(str(folder))(_plain(0, 0, 0))
    assert 0.1 < tags["toddler"] < 0.35
    assert "toddler" not in chosen_tags(tags)
    assert "toddler" in doubtful_tags(tags)


@pytest.mark.parametrize("kind", [Captioner, Tagger])
def test_a_missing_model_is_reported_in_a_line(
    kind: type[Captioner] | type[Tagger], tmp_path: Path
) -> None:
    """Try a hub id without a network (the tests run offline), then an empty folder."""
    (tmp_path / "empty").mkdir()
    for model in ("someone/not-there", str(tmp_path / "empty")):
        with pytest.raises(MissingModelError, match="does not load") as caught:
            kind(model)
        assert "\n" not in str(caught.value)
        assert model in str(caught.value)


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    folder = save_tiny_blip(tmp_path / "blip", "woman")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingModelError, match="safetensors"):
        Captioner(str(folder))


def test_a_tagger_whose_tags_do_not_fit_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_tagger(tmp_path / "wd14")
    table = folder / "selected_tags.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(MissingModelError, match="9 outputs for 8 tags"):
        Tagger(str(folder))
