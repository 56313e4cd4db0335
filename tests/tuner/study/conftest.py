"""A study that is really trained at the smallest size, for the tests of confirmations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import metrics
from tests.tuner.trained_study import (
    begun,
    bench_of,
    by_brightness,
    confirming,
    small_config,
    train_study,
)
from tuner.data import TrainingSet
from tuner.events import Event
from tuner.models import BaseModel, load_base
from tuner.space import StudyConfig
from tuner.storage import Store, StudyFolder
from tuner.trial import Workbench


@pytest.fixture(scope="module")
def config(tiny_base: Path) -> StudyConfig:
    return small_config(tiny_base)


@pytest.fixture(scope="module")
def bench(base: BaseModel, training_set: TrainingSet) -> Iterator[Workbench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "score", by_brightness)
        yield bench_of(base, training_set)


@pytest.fixture
def benches(bench: Workbench, tiny_base: Path, training_set: TrainingSet) -> list[Workbench]:
    """The benches of two workers, each with a base of its own."""
    return [bench, bench_of(load_base(str(tiny_base), device="cpu"), training_set)]


@pytest.fixture(scope="module")
def trained(
    config: StudyConfig, bench: Workbench, tmp_path_factory: pytest.TempPathFactory
) -> StudyFolder:
    """A study of two complete trials, really trained."""
    return train_study(config, bench, tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def confirmed(
    trained: StudyFolder,
    config: StudyConfig,
    bench: Workbench,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[StudyFolder, list[Event]]:
    """A copy that is confirmed to its end, for tests that only read, and the events of it."""
    folder = StudyFolder(shutil.copytree(trained.root, tmp_path_factory.mktemp("ended") / "small"))
    with Store(folder.results_db) as store:
        return folder, list(confirming(bench, folder, store, begun(store, folder, config)))


@pytest.fixture
def ended(confirmed: tuple[StudyFolder, list[Event]]) -> Iterator[Store]:
    with Store(confirmed[0].results_db, read_only=True) as opened:
        yield opened
