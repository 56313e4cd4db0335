"""Samples beside the suite: drawn, scored and stored, and never used to choose anything.

Bases, LoRAs and pictures are real and tiny; every score is the picture's brightness.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import metrics
from metrics.contract import JudgeSettings, Prompt
from metrics.detectors import Detectors
from tests.tuner.trained_study import by_brightness, pixels
from tuner.data import TrainingSet
from tuner.errors import ConfigError
from tuner.models import BaseModel, load_base
from tuner.space import StudyConfig, SuiteConfig, TrainConfig
from tuner.space.config import BudgetConfig
from tuner.space.parameters import Fixed
from tuner.storage import Store, StudyFolder
from tuner.storage.extra_rows import Extra
from tuner.storage.folder import RungFolder
from tuner.trial import Rung, Workbench, run_trial
from tuner.trial.extra import Extras, extras_of, sample_bases, sample_extras
from tuner.trial.messages import ExtraScored

TRAIN = TrainConfig(rank=2, batch_size=2, resolution=32, learning_rate=1e-2, alias="mi_cv")
SUITE = SuiteConfig(
    prompts=(Prompt("1girl", "female"), Prompt("1boy", "male")),
    seeds=1,
    steps=1,
    also_at=("train", "48x64"),
    also_with_alias=True,
)


@pytest.fixture
def other_base(tiny_base: Path, tmp_path: Path) -> Path:
    """A base of the same architecture that draws other pictures."""
    return changed(tiny_base, tmp_path / "other", 1.5)


def changed(base: Path, folder: Path, factor: float) -> Path:
    shutil.copytree(base, folder)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_out.weight"] = weights["conv_out.weight"] * factor
    save_file(weights, file, {"format": "pt"})
    return folder


@pytest.fixture
def bench(base: BaseModel, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setattr(metrics, "score", by_brightness)
    few = replace(training_set, images=training_set.images[:4])
    return Workbench(base, {None: few}, SUITE, Detectors(JudgeSettings(domain="drawn")))


def study(base: BaseModel, *others: Path, suite: SuiteConfig = SUITE) -> StudyConfig:
    return StudyConfig(
        study="x",
        base=base.name,
        data="mannequin",
        budget=BudgetConfig(rungs=(1,)),
        suite=suite,
        also_sample_on=tuple(map(str, others)),
        train={"resolution": Fixed(32)},
    )


def extra_outcomes(outcomes: Iterable[object]) -> list[ExtraScored]:
    return [outcome for outcome in outcomes if isinstance(outcome, ExtraScored)]


def trained(bench: Workbench, folder: StudyFolder, config: TrainConfig = TRAIN) -> RungFolder:
    *_, rung = run_trial(bench, 0, config, (1,), folder.trial(0))
    assert isinstance(rung, Rung)
    return folder.trial(0).rung(1)


def kept(folder: StudyFolder, outcomes: Iterable[object]) -> list[ExtraScored]:
    """Store extras as a study does, and return them."""
    extras = extra_outcomes(outcomes)
    with Store(folder.results_db) as store:
        for extra in extras:
            store.put_extra(extra.row, extra.scored)
    return extras


def new_folder(parent: Path) -> StudyFolder:
    folder = StudyFolder(parent / "study")
    folder.create()
    return folder


def test_a_trial_is_sampled_at_other_sizes_on_other_bases_and_with_its_alias(
    bench: Workbench, other_base: Path, tmp_path: Path
) -> None:
    folder = new_folder(tmp_path)
    extras = Extras(study(bench.base, other_base), folder)
    own, other = bench.base.name, str(other_base)
    at_start = kept(folder, sample_bases(bench, extras))
    assert [extra.row.extra for extra in at_start] == [Extra(own, "48x64"), Extra(other, "64")]
    assert all(extra.row.rung.trial is None for extra in at_start)
    rung = trained(bench, folder)
    of_trial = kept(folder, sample_extras(bench, extras, 0, TRAIN, (1, rung)))
    expected = [
        Extra(own, "32"),
        Extra(own, "48x64"),
        Extra(other, "64"),
        Extra(own, "64", "mi_cv"),
    ]
    assert [extra.row.extra for extra in of_trial if extra.row.rung.trial == 0] == expected
    # What depends on the trial is drawn with the base when it first comes up.
    of_base = [extra.row.extra for extra in of_trial if extra.row.rung.trial is None]
    assert of_base == [Extra(own, "32"), Extra(own, "64", "mi_cv")]
    assert len({extra.row.rung.grid.parent for extra in (*at_start, *of_trial)}) == 8
    for extra in (*at_start, *of_trial):
        width, height = {"32": (32, 32), "48x64": (48, 64)}.get(extra.row.extra.size, (64, 64))
        assert len(extra.scored) == 2
        assert extra.row.reason is None
        assert "gender" in extra.row.rung.objectives
        assert extra.row.rung.grid.is_file()
        for scored in extra.scored:
            assert scored.sample.path is not None
            with Image.open(scored.sample.path) as picture:
                assert picture.size == (width, height)
            text = scored.sample.prompt.text
            assert text.startswith("mi_cv, ") == bool(extra.row.extra.alias)


def test_pictures_are_those_of_the_other_base_with_the_lora(
    bench: Workbench, other_base: Path, tmp_path: Path
) -> None:
    folder = new_folder(tmp_path)
    suite = SUITE.model_copy(update={"also_at": (), "also_with_alias": False})
    extras = Extras(study(bench.base, other_base, suite=suite), folder)
    rung = trained(bench, folder)
    outcomes = extra_outcomes(sample_extras(bench, extras, 0, TRAIN, (1, rung)))
    before, after = (pixels(extra.scored[0]) for extra in outcomes)
    assert (before != after).any()
    other = replace(bench, base=load_base(str(other_base), "cpu"))
    alone = extra_outcomes(
        sample_bases(other, Extras(study(bench.base, other_base, suite=suite), folder))
    )
    assert (pixels(alone[0].scored[0]) == before).all()


@pytest.mark.slow
def test_the_base_is_sampled_once_for_a_study(bench: Workbench, tmp_path: Path) -> None:
    folder, config = new_folder(tmp_path), study(bench.base)
    extras = Extras(config, folder)
    kept(folder, sample_bases(bench, extras))
    rung = trained(bench, folder)
    first = kept(folder, sample_extras(bench, extras, 0, TRAIN, (1, rung)))
    again = extra_outcomes(sample_extras(bench, extras, 1, TRAIN, (1, rung)))
    with Store(folder.results_db) as store:
        later = extras_of(config, folder, store)
    resumed = extra_outcomes(sample_extras(bench, later, 2, TRAIN, (1, rung)))
    numbers = [[extra.row.rung.trial for extra in extras] for extras in (first, again, resumed)]
    assert numbers == [[None, 0, 0, None, 0], [1, 1, 1], [2, 2, 2]]
    assert extra_outcomes(sample_bases(bench, later)) == []
    measures = [extra.row.rung.measures for extra in (*again, *resumed)]
    assert measures[:3] == measures[3:], "the stored samples of the base count as the drawn ones"


def test_the_suites_own_size_and_a_trial_without_alias_ask_for_nothing(
    bench: Workbench, tmp_path: Path
) -> None:
    suite = SUITE.model_copy(update={"also_at": ("train", 64)})
    extras = Extras(study(bench.base, suite=suite), StudyFolder(tmp_path))
    plain = TRAIN.model_copy(update={"alias": None, "resolution": "64x64"})
    assert extras.common() == extras.of_trial(plain) == []
    silent = SUITE.model_copy(update={"also_at": (), "also_with_alias": False})
    assert Extras(study(bench.base, suite=silent), StudyFolder(tmp_path)).of_trial(TRAIN) == []


def test_what_cannot_be_drawn_is_a_row_with_its_reason(
    bench: Workbench, tiny_base: Path, tmp_path: Path
) -> None:
    broken = changed(tiny_base, tmp_path / "broken", float("nan"))
    folder = new_folder(tmp_path)
    suite = SUITE.model_copy(update={"also_at": (), "also_with_alias": False})
    extras = Extras(study(bench.base, broken, suite=suite), folder)
    (of_base,) = kept(folder, sample_bases(bench, extras))
    assert "not finite" in (of_base.row.reason or "")
    (row,) = [
        extra.row
        for extra in kept(
            folder, sample_extras(bench, extras, 0, TRAIN, (1, trained(bench, folder)))
        )
        if extra.row.rung.trial == 0
    ]
    assert "not finite" in (row.reason or "")
    assert row.rung.objectives == {}
    with Store(folder.results_db) as store:
        assert [row.reason is None for row in store.extras()] == [False, False]
        assert extras_of(extras.config, folder, store).of_base == {}


def test_memory_that_is_out_beside_the_suite_does_not_end_the_trial(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_folder(tmp_path)
    rung = trained(bench, folder)
    suite = SUITE.model_copy(update={"also_at": ("48x64",), "also_with_alias": False})
    extras = Extras(study(bench.base, suite=suite), folder)

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(metrics, "score", full)
    outcomes = extra_outcomes(sample_extras(bench, extras, 0, TRAIN, (1, rung)))
    assert [extra.row.reason for extra in outcomes] == ["no memory left"] * 2


def test_whole_weights_are_not_put_on_another_base(
    bench: Workbench, other_base: Path, tmp_path: Path
) -> None:
    folder = new_folder(tmp_path)
    suite = SUITE.model_copy(update={"also_at": (), "also_with_alias": False})
    extras = Extras(study(bench.base, other_base, suite=suite), folder)
    config = TRAIN.model_copy(update={"method": "dreambooth"})
    rung = trained(bench, folder, config)
    (outcome,) = extra_outcomes(sample_extras(bench, extras, 0, config, (1, rung)))
    assert "DreamBooth" in (outcome.row.reason or "")


def test_a_base_of_another_architecture_is_refused_at_the_start(
    bench: Workbench, tmp_path: Path
) -> None:
    config = study(bench.base).model_copy(update={"also_sample_on": ("mannequin",)})
    with pytest.raises(ConfigError, match=r"also_sample_on mannequin: its UNet differs.*leave it"):
        list(sample_bases(bench, Extras(config, StudyFolder(tmp_path))))


def test_the_alias_and_the_base_make_names_of_their_own() -> None:
    extras = [
        Extra(base, size, alias)
        for base in ("mannequin", "a/x", "b/x", "C:\\x\\ü y")
        for size in ("64", "48x64")
        for alias in ("", "mi_cv")
    ]
    names = {extra.folder_name for extra in extras}
    assert len(names) == len(extras)
    assert all(name.isascii() and " " not in name for name in names)
