from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metrics.contract import Measure
from tuner.data import TrainingSet, read_folder
from tuner.mannequin.dataset import data_folder
from tuner.models import BaseModel, adapter, load_base
from tuner.space import TrainConfig
from tuner.storage import shipped
from tuner.training import Checkpoint, held_out_loss, loss_measures, losses, train
from tuner.training.held_out_loss import TIMESTEPS, timesteps

SIZE = (32, 32)
CONFIG = TrainConfig(rank=2, resolution=32)


@pytest.fixture
def halved(training_set: TrainingSet) -> TrainingSet:
    """The twelve pictures, four of them held out."""
    images = training_set.images
    return replace(training_set, images=images[4:], held_out=images[:4])


def lora(base: BaseModel, path: Path, strength: float) -> Path:
    """A LoRA file whose weights are random, of the given strength; 0 changes nothing."""
    adapter.attach(base, CONFIG, "made")
    torch.manual_seed(1)
    with torch.no_grad():
        for part in adapter.parameters(base, "made"):
            part.copy_(torch.randn_like(part) * strength)
    adapter.save(base, "made", path, {})
    adapter.detach(base, "made")
    return path


def by_name(measures: list[Measure]) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


def test_the_base_has_the_loss_of_the_base(
    base: BaseModel, halved: TrainingSet, tmp_path: Path
) -> None:
    for file in (None, lora(base, tmp_path / "zero.safetensors", 0.0)):
        measures = by_name(loss_measures(base, halved, CONFIG, SIZE, file))
        for name in ("held_out_loss", "train_loss"):
            loss = measures[name]
            assert loss.value == loss.low == loss.high == 1.0
            assert loss.n == 4
        assert measures["loss_gap"].value == 0.0


def test_the_same_question_has_the_same_answer(
    base: BaseModel, halved: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = lora(base, tmp_path / "a.safetensors", 0.3)
    first = loss_measures(base, halved, CONFIG, SIZE, file)
    torch.manual_seed(99)
    shuffled = replace(halved, images=halved.images[::-1], held_out=halved.held_out[::-1])
    assert loss_measures(base, shuffled, CONFIG, SIZE, file) == first
    monkeypatch.setattr(held_out_loss, "_LARGEST_BATCH", 3)
    for measure, other in zip(loss_measures(base, halved, CONFIG, SIZE, file), first, strict=True):
        assert measure.value == pytest.approx(other.value, rel=1e-4)
    assert by_name(first)["held_out_loss"].value != 1.0


def test_a_loss_that_is_no_number_is_none(
    base: BaseModel, halved: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss_measures(base, halved, CONFIG, SIZE, None)
    goal = losses.target
    monkeypatch.setattr(losses, "target", lambda *about: goal(*about) * torch.inf)
    monkeypatch.setattr(adapter, "loaded", lambda *_: contextlib.nullcontext())
    lost = by_name(loss_measures(base, halved, CONFIG, SIZE, Path("any.safetensors")))
    assert lost["held_out_loss"].value is None
    assert lost["loss_gap"].value is None
    assert lost["train_loss"].note == "the loss is not finite"


def test_the_captions_are_those_of_the_run(
    base: BaseModel, halved: TrainingSet, tmp_path: Path
) -> None:
    file = lora(base, tmp_path / "d.safetensors", 0.3)
    configs = [CONFIG, CONFIG.model_copy(update={"captions": "none", "alias": "mi_cv"})]
    plain, aliased = (
        by_name(loss_measures(base, halved, config, SIZE, file)) for config in configs
    )
    assert plain["held_out_loss"].value != aliased["held_out_loss"].value


def test_without_held_out_pictures_only_the_training_side_is_known(
    base: BaseModel, training_set: TrainingSet
) -> None:
    measures = by_name(loss_measures(base, training_set, CONFIG, SIZE, None))
    assert (measures["train_loss"].value, measures["train_loss"].n) == (1.0, 12)
    for name in ("held_out_loss", "loss_gap"):
        assert measures[name].value is None
        assert measures[name].note == "no image was held out"


def test_few_pictures_cover_the_whole_schedule() -> None:
    steps = timesteps(20, 1000)
    assert steps.shape == (20, TIMESTEPS)
    for part in range(TIMESTEPS):
        column = steps[:, part]
        assert int(column.min()) >= 250 * part
        assert int(column.max()) < 250 * (part + 1)
        gaps = column.sort().values.diff()
        assert int(gaps.max()) <= 40, "no hole much wider than 250 / 20"
    assert torch.equal(timesteps(3, 1000), steps[:3])


@pytest.mark.slow
@pytest.mark.skipif(not (shipped.BASE / "model_index.json").is_file(), reason="no weights here")
def test_a_lora_that_learned_three_pictures_by_heart_knows_no_others(tmp_path: Path) -> None:
    base, whole = load_base("mannequin", device="cpu"), read_folder(data_folder())
    three = replace(whole, images=whole.images[:3])
    config = TrainConfig(rank=16, learning_rate=3e-3, batch_size=3)
    gaps = []
    for outcome in train(base, three, config, (5, 60), tmp_path):
        if isinstance(outcome, Checkpoint):
            found = by_name(loss_measures(base, three, config, (64, 64), outcome.path))
            gaps.append(found["loss_gap"].value or 0.0)
    assert (found["held_out_loss"].low or 0) > 1.0
    assert (found["train_loss"].value or 9) < 1.0
    assert (found["loss_gap"].low or 0) > 0.0
    assert gaps[1] > gaps[0]
