from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.contract import Prompt, Sample, Score, ScoredSample
from tests.tuner.generators import samples_of
from tuner.models import BaseModel, adapter, sample_batches
from tuner.models.sampling import noise
from tuner.space import SuiteConfig, TrainConfig
from tuner.storage.folder import RungFolder
from tuner.trial.alias_leak import MAX_CELLS, cells, leak_measures, picture_distance, with_alias

SUITE = SuiteConfig(
    prompts=(Prompt("1girl", "female", "full"), Prompt("1boy", "male")), seeds=3, size=32, steps=2
)


def drawn(base: BaseModel, lora: Path | None, folder: Path) -> list[Sample]:
    return samples_of(sample_batches(base, SUITE, lora, RungFolder(folder)))


def judged(samples: list[Sample], cloth: float = 1.0) -> list[ScoredSample]:
    score = Score("cloth_share", cloth)
    return [ScoredSample(sample, {"cloth_share": score}) for sample in samples]


@pytest.fixture
def lora(base: BaseModel, tmp_path: Path) -> Path:
    config = TrainConfig(rank=2)
    adapter.attach(base, config, "made")
    torch.manual_seed(1)
    with torch.no_grad():
        for part in adapter.parameters(base, "made"):
            part.copy_(torch.randn_like(part))
    adapter.save(base, "made", tmp_path / "made.safetensors", {})
    adapter.detach(base, "made")
    return tmp_path / "made.safetensors"


def test_an_untouched_base_leaks_nothing(base: BaseModel, tmp_path: Path) -> None:
    samples = drawn(base, None, tmp_path)
    leak, effect = leak_measures(base, SUITE, "mi_cv", None, (samples, judged(samples)))
    assert (leak.name, leak.value, leak.low, leak.high, leak.n) == ("alias_leak", 0, 0, 0, 2)
    assert (effect.name, effect.value) == ("alias_effect", 0)


def test_a_lora_that_changes_all_it_draws_leaks(
    base: BaseModel, lora: Path, tmp_path: Path
) -> None:
    before, after = drawn(base, None, tmp_path), drawn(base, lora, tmp_path)
    leak, effect = leak_measures(base, SUITE, "mi_cv", lora, (after, judged(before)))
    apart = [picture_distance(after[i].image, before[i].image) for i in cells(SUITE)]
    assert leak.value == pytest.approx(np.mean(apart))
    assert (leak.value or 0) > 0.001
    assert (effect.value or 0) > 0.001
    kept, _ = leak_measures(base, SUITE, "mi_cv", lora, (before, judged(before)))
    assert kept.value == 0.0, "pictures without the alias are the samples that there are"


def test_pixelated_pictures_of_the_base_are_left_out(base: BaseModel, tmp_path: Path) -> None:
    samples = drawn(base, None, tmp_path)
    black = [replace(sample, image=np.zeros_like(sample.image)) for sample in samples]
    kept = judged(samples)
    first, second = cells(SUITE)
    kept[first] = judged(black, cloth=0.1)[first]
    leak, _ = leak_measures(base, SUITE, "mi_cv", None, (samples, kept))
    assert (leak.value, leak.n) == (0.0, 1)
    kept[second] = judged(black, cloth=0.1)[second]
    assert leak_measures(base, SUITE, "mi_cv", None, (samples, kept)) == []


@pytest.mark.parametrize(("seeds", "count"), [(1, 4), (2, 8), (4, MAX_CELLS), (100, MAX_CELLS)])
def test_no_more_than_a_third_of_the_suite_is_drawn_again(seeds: int, count: int) -> None:
    suite = SuiteConfig(seeds=seeds)
    chosen = cells(suite)
    assert len(chosen) == len(set(chosen)) == count <= len(suite.cells()) / 3
    prompts = {suite.cells()[index][0] for index in chosen}
    assert len(prompts) >= min(count, 4)
    assert cells(SuiteConfig(prompts=(Prompt("1girl"),), seeds=2)) == []


def test_the_alias_is_put_as_in_training_and_the_noise_stays(base: BaseModel) -> None:
    aliased = with_alias(SUITE, "mi_cv")
    assert [prompt.text for prompt in aliased.prompts] == ["mi_cv, 1girl", "mi_cv, 1boy"]
    assert aliased.prompts[0].sex == "female"
    for index in range(len(SUITE.cells())):
        assert torch.equal(noise(base.pipeline, SUITE, index), noise(base.pipeline, aliased, index))


def test_distance_of_pictures_by_hand() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert picture_distance(black, white) == 1.0
    assert picture_distance(black, black) == 0.0
    white[0] = 0
    assert picture_distance(black, white) == pytest.approx(0.5**0.5)
