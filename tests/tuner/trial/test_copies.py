from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from metrics.contract import Image
from tuner.data import TrainingSet
from tuner.trial.copies import Floats, remembered

SIZE = (32, 32)


def colours(images: Sequence[Image]) -> Floats:
    """Four mean colours as a unit vector: an embedding that needs no network."""
    rows = np.stack([image.reshape(4, -1, 3).mean(axis=1).ravel() for image in images])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def never(images: Sequence[Image]) -> Floats:
    raise AssertionError("embedded again")


def test_a_training_set_is_embedded_once(training_set: TrainingSet, tmp_path: Path) -> None:
    file = tmp_path / "embeddings" / "data.safetensors"
    images = training_set.images
    halved = replace(training_set, images=images[:9], held_out=images[9:])
    first = remembered(halved, colours, "m", SIZE, file)
    assert first is not None
    assert first.training.shape == (9, 12)
    assert first.held_out == 3
    again = remembered(halved, never, "m", SIZE, file)
    assert again is not None
    assert np.array_equal(again.training, first.training)
    assert (again.threshold, again.control) == (first.threshold, first.control)


def test_other_data_another_model_or_size_are_embedded_anew(
    training_set: TrainingSet, tmp_path: Path
) -> None:
    batches: list[int] = []

    def counted(images: Sequence[Image]) -> Floats:
        batches.append(len(images))
        return colours(images)

    file = tmp_path / "data.safetensors"
    for data, model, size in (
        (training_set, "m", SIZE),
        (training_set, "n", SIZE),
        (training_set, "n", (16, 16)),
        (replace(training_set, sha256="other"), "n", (16, 16)),
    ):
        assert remembered(data, counted, model, size, file) is not None
    assert batches == [12] * 4
    file.write_bytes(b"spoilt")
    assert remembered(training_set, counted, "m", SIZE, file) is not None
    assert len(batches) == 5


def test_too_few_pictures_are_nothing_to_go_by(training_set: TrainingSet, tmp_path: Path) -> None:
    few = replace(training_set, images=training_set.images[:3])
    assert remembered(few, colours, "m", SIZE, tmp_path / "data.safetensors") is None
