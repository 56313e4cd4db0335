from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from metrics.contract import Prompt, Sample, Score, ScoredSample
from tuner.data.picture_file import pixelated
from tuner.errors import ConfigError
from tuner.storage.folder import RungFolder
from tuner.trial.keep import is_flagged, write_pictures


def scored(explicit: float, cloth: float | None) -> ScoredSample:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    scores = {
        "no_explicit_parts": Score("no_explicit_parts", explicit),
        "cloth_share": Score("cloth_share", cloth, None if cloth is not None else "no torso"),
    }
    return ScoredSample(Sample(Prompt("1girl", "female"), 0, image), scores)


@pytest.mark.parametrize(
    ("explicit", "cloth", "flagged"),
    [(1.0, 1.0, False), (0.3, 1.0, True), (1.0, 0.1, True), (1.0, None, False), (0.5, 0.5, False)],
)
def test_flags_explicit_parts_and_bare_torsos(
    explicit: float, cloth: float | None, flagged: bool
) -> None:
    assert is_flagged(scored(explicit, cloth).scores) is flagged


def test_a_flagged_picture_of_a_real_base_never_reaches_the_disk(tmp_path: Path) -> None:
    good, bad = scored(1.0, 1.0), scored(0.1, 1.0)
    folder = RungFolder(tmp_path)
    kept = write_pictures([good, bad], folder, base="runwayml/stable-diffusion-v1-5")
    on_disk = [np.asarray(Pictures.open(folder.sample(index))) for index in range(2)]
    assert np.array_equal(on_disk[0], good.sample.image)
    assert np.array_equal(on_disk[1], pixelated(bad.sample.image))
    assert np.array_equal(kept[1].sample.image, on_disk[1])
    assert kept[1].scores == bad.scores
    with Pictures.open(folder.grid) as grid:
        colours = grid.convert("RGB").getcolors(maxcolors=2**20)
    assert colours is not None


@pytest.mark.parametrize("place", ["grid.png", "samples/0001.png"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    folder = RungFolder(tmp_path)
    assert tmp_path / place in (folder.grid, folder.sample(1))
    (tmp_path / place).mkdir(parents=True)
    with pytest.raises(ConfigError, match=place):
        write_pictures([scored(1.0, 1.0)] * 2, folder, base="mannequin")


def test_the_mannequin_is_never_pixelated(tmp_path: Path) -> None:
    bad = scored(0.1, 0.0)
    write_pictures([bad], RungFolder(tmp_path), base="mannequin")
    on_disk = np.asarray(Pictures.open(RungFolder(tmp_path).sample(0)))
    assert np.array_equal(on_disk, bad.sample.image)


def test_pixelated_pictures_have_few_colours_and_the_same_size() -> None:
    image = scored(1.0, 1.0).sample.image
    blocks = pixelated(image)
    assert blocks.shape == image.shape
    assert len(np.unique(blocks.reshape(-1, 3), axis=0)) <= 12 * 9
