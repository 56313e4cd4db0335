"""Regularisation pictures from a folder, from the originals of crops, from the base."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrics.contract import Prompt
from tuner.data import TrainingSet, read_folder
from tuner.data.regularisation import PRIOR_PICTURES, with_regularisation
from tuner.errors import ConfigError
from tuner.events import Progress
from tuner.models import BaseModel
from tuner.space import SuiteConfig, load_study, space_hash, to_yaml
from tuner.trial import Workbench
from tuner.trial.prior_pictures import _cells, prior_pictures

SPACE = """
study: a
base: mannequin
data: mannequin
budget: {trials: 1, rungs: [1]}
"""


def write(folder: Path, names: list[str], seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for name in names:
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / name)
        (folder / name).with_suffix(".txt").write_text("1girl")
    return folder


def test_a_folder_lies_beside_the_own_pictures_and_counts_in_the_hash(tmp_path: Path) -> None:
    own = read_folder(write(tmp_path / "own", [f"{n}.png" for n in range(20)]))
    prior = write(tmp_path / "prior", [f"{n}.png" for n in range(30)], seed=1)
    shutil.copy(own.held_out[0].path, prior / "copy.png")
    (prior / "copy.txt").write_text("1boy")
    both = with_regularisation(own, prior)
    assert both.regularisation is not None
    # All 30 are trained on, none held out; what is held out of the own pictures stays unseen.
    assert len(both.regularisation.images) == 30
    assert both.images == own.images
    assert both.sha256 != own.sha256
    (prior / "0.txt").write_text("1boy")
    assert with_regularisation(own, prior).sha256 != both.sha256


def test_originals_are_those_that_prepare_wrote_but_not_of_held_out_crops(tmp_path: Path) -> None:
    crops = [f"photo{n:02d}-aaaa.png" for n in range(20)] + ["two-bbbb-1.png", "two-bbbb-2.png"]
    own = read_folder(write(tmp_path / "out" / "images", crops))
    originals = [f"photo{n:02d}-aaaa.png" for n in range(20)] + ["two-bbbb.png"]
    write(tmp_path / "out" / "regularisation", originals, seed=1)
    images = with_regularisation(own, None).regularisation
    assert images is not None
    held_out = {image.path.stem.removesuffix("-1").removesuffix("-2") for image in own.held_out}
    assert len(held_out) == 2
    stems = {image.path.stem for image in images.images}
    assert stems == {Path(name).stem for name in originals} - held_out


def test_data_without_originals_are_refused(tmp_path: Path) -> None:
    own = read_folder(write(tmp_path / "own", ["a.png"]))
    with pytest.raises(ConfigError, match="tuner data prepare"):
        with_regularisation(own, None)


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + text)
    return load_study(path)


def test_a_weight_needs_pictures_and_pictures_a_weight(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.prior_weight.* set regularisation: base"):
        load(tmp_path, "train: {prior_weight: {low: 0.0, high: 1.0}}\n")
    with pytest.raises(ConfigError, match=r"regularisation.* no trial uses it"):
        load(tmp_path, "regularisation: base\n")


def test_the_key_is_read_kept_and_hashed(tmp_path: Path) -> None:
    weight = "train: {prior_weight: 1.0}\n"
    hashes = set()
    for word in ("base", "originals", "mannequin:balanced", "photos"):
        config = load(tmp_path, f"regularisation: {word}\n{weight}")
        expected = str(tmp_path / "photos") if word == "photos" else word
        assert config.regularisation == expected  # type: ignore[attr-defined]
        (tmp_path / "again.yaml").write_text(to_yaml(config))  # type: ignore[arg-type]
        assert load_study(tmp_path / "again.yaml") == config
        hashes.add(space_hash(config))  # type: ignore[arg-type]
    assert len(hashes) == 4
    with pytest.raises(ConfigError, match=r"regularisation.*mannequin:what"):
        load(tmp_path, f"regularisation: 'mannequin:what'\n{weight}")


def test_pictures_of_the_base_are_of_other_noise_than_the_suites() -> None:
    dressed = Prompt("1girl, red shirt", "female", names_clothes=True)
    suite = SuiteConfig(prompts=(Prompt("1girl"), dressed, Prompt("1boy")), seeds=4)
    longer, chosen = _cells(suite)
    cells = [longer.cells()[index] for index in chosen]
    assert len(cells) == len(set(cells)) == PRIOR_PICTURES
    assert {prompt.text for prompt, _ in cells} == {"1girl", "1boy"}
    assert min(seed for _, seed in cells) == suite.seeds


def test_the_base_draws_them_once(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.trial.prior_pictures.PRIOR_PICTURES", 3)
    monkeypatch.setattr(
        "metrics.score", lambda samples, judges: [_scored(sample) for sample in samples]
    )
    suite = SuiteConfig(prompts=(Prompt("1girl"), Prompt("1boy")), seeds=1, steps=2, size=32)
    bench = Workbench(base, {None: training_set}, suite, judges=None)  # type: ignore[arg-type]
    folder = tmp_path / "regularisation"
    *progress, images = prior_pictures(bench, folder)
    assert isinstance(progress[-1], Progress)
    assert isinstance(images, TrainingSet)
    assert [image.caption for image in images.images] == ["1girl", "1boy"]  # one was flagged
    assert len(list(folder.iterdir())) == 4
    assert list(prior_pictures(bench, folder)) == [images]  # read, not drawn


def _scored(sample: object) -> object:
    from metrics.contract import Score, ScoredSample

    explicit = 0.0 if sample.seed == 2 else 1.0  # type: ignore[attr-defined]
    return ScoredSample(
        sample,  # type: ignore[arg-type]
        {"no_explicit_parts": Score("no_explicit_parts", explicit)},
    )
