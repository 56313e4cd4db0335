"""Benchmarks are scripts: their folder is on the path when they run, and so it is here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metrics.detectors.models import cache_folder
from tuner.mannequin.dataset import VERSION, write_dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture
def few_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TUNER_HOME with the judges' models of this machine and 40 pictures of the mannequin's."""
    models, home = cache_folder(), tmp_path / "home"
    models.mkdir(parents=True, exist_ok=True)
    data = home / "mannequin" / f"data-{VERSION}"
    data.mkdir(parents=True)
    (home / "models").symlink_to(models)
    write_dataset(data, count=40)
    monkeypatch.setenv("TUNER_HOME", str(home))
