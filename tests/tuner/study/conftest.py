"""A study that is really trained at the smallest size, for the tests of confirmations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import metrics
from tests.tuner.trained_study import bench_of, by_brightness, small_config
from tuner.data import TrainingSet
from tuner.models import BaseModel
from tuner.space import StudyConfig
from tuner.trial import Workbench


@pytest.fixture(scope="module")
def config(tiny_base: Path) -> StudyConfig:
    return small_config(tiny_base)


@pytest.fixture(scope="module")
def bench(base: BaseModel, training_set: TrainingSet) -> Iterator[Workbench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "score", by_brightness)
        yield bench_of(base, training_set)
