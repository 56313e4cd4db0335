from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import metrics
from metrics.contract import JudgeSettings, Prompt, Sample, Score, ScoredSample
from metrics.detectors import Detectors
from metrics.judges import JUDGES
from tuner import adapter
from tuner.base_model import BaseModel
from tuner.config import SuiteConfig, TrainConfig
from tuner.data.folder import TrainingSet
from tuner.errors import ConfigError
from tuner.events import Phase, Progress
from tuner.study_folder import TrialFolder
from tuner.train import DivergedError
from tuner.trial import (
    OutOfMemoryError,
    Rung,
    Workbench,
    is_out_of_memory,
    naming_memory_errors,
    read_yaml,
    run_trial,
    to_yaml,
)

CONFIG = TrainConfig(rank=2, batch_size=2, resolution=32, learning_rate=1e-3)
SUITE = SuiteConfig(
    prompts=(Prompt("1girl", "female", "full"), Prompt("1boy", "male")), seeds=2, steps=2
)


def by_brightness(samples: Sequence[Sample], detectors: Detectors) -> list[ScoredSample]:
    """Every judge's word is the picture's brightness: the judges have tests of their own."""
    return [
        ScoredSample(
            sample,
            {judge.name: Score(judge.name, float(sample.image.mean()) / 255) for judge in JUDGES},
        )
        for sample in samples
    ]


@pytest.fixture
def bench(base: BaseModel, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setattr(metrics, "score", by_brightness)
    return Workbench(base, {None: training_set}, SUITE, Detectors(JudgeSettings()))


def test_a_trial_is_trained_sampled_and_scored_at_every_rung(
    bench: Workbench, tmp_path: Path
) -> None:
    folder = TrialFolder(tmp_path / "0003")
    outcomes = list(run_trial(bench, 3, CONFIG, (1, 2), folder))
    phases = [outcome.name for outcome in outcomes if isinstance(outcome, Phase)]
    assert phases == ["train", "sample", "score", "train", "sample", "score"]
    assert {outcome.trial for outcome in outcomes if isinstance(outcome, Phase)} == {3}
    assert any(isinstance(outcome, Progress) for outcome in outcomes)
    rungs = [outcome for outcome in outcomes if isinstance(outcome, Rung)]
    assert [rung.step for rung in rungs] == [1, 2]
    for rung in rungs:
        files = folder.rung(rung.step)
        assert rung.lora == files.lora
        assert files.lora.is_file()
        assert files.grid.is_file()
        assert len(list(files.samples.glob("*.png"))) == len(rung.scored) == 4
        assert "gender" in rung.objectives
        assert set(rung.rates) == {"undressed_rate", "explicit_rate"}
    assert read_yaml(folder.train_yaml) == CONFIG
    assert not folder.done.exists()


def test_a_trial_takes_the_training_set_that_it_names(
    bench: Workbench, training_set: TrainingSet, tmp_path: Path
) -> None:
    fewer = replace(training_set, images=training_set.images[:1])
    bench = replace(bench, training_sets={"all": training_set, "one": fewer})
    loras = []
    for name in ("all", "one"):
        config = CONFIG.model_copy(update={"data": name})
        *_, rung = run_trial(bench, 0, config, (1,), TrialFolder(tmp_path / name))
        assert isinstance(rung, Rung)
        loras.append(rung.lora.read_bytes())
    assert loras[0] != loras[1]


def test_a_trial_that_is_left_leaves_the_base_bare(bench: Workbench, tmp_path: Path) -> None:
    names = [name for name, _ in bench.base.pipeline.unet.named_modules()]
    outcomes = run_trial(bench, 0, CONFIG, (1, 5), TrialFolder(tmp_path))
    while next(outcomes) != Phase("sample", 0):
        pass
    next(outcomes)
    outcomes.close()
    assert [name for name, _ in bench.base.pipeline.unet.named_modules()] == names
    assert adapter.active(bench.base) == ()


def test_a_trial_whose_pictures_are_no_numbers_says_so(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = bench.base.pipeline.vae
    monkeypatch.setattr(vae, "decode", lambda latents, **_: (latents * torch.nan,))
    with pytest.raises(DivergedError, match="not finite"):
        list(run_trial(bench, 0, CONFIG, (1,), TrialFolder(tmp_path)))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    ],
)
def test_memory_errors_get_their_name(error: Exception) -> None:
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemoryError, match="memory"), naming_memory_errors():
        raise error


def test_torch_without_memory_is_recognised() -> None:
    with pytest.raises(OutOfMemoryError), naming_memory_errors():
        torch.empty(2**60)


def test_other_errors_keep_their_name() -> None:
    with pytest.raises(RuntimeError, match="shape"), naming_memory_errors():
        raise RuntimeError("shape mismatch")


def test_parameters_survive_their_file(tmp_path: Path) -> None:
    config = TrainConfig(alias="mi_cv", learning_rate=3e-5, alpha=4.0, resolution="48x64")
    (tmp_path / "train.yaml").write_text(to_yaml(config))
    assert read_yaml(tmp_path / "train.yaml") == config


@pytest.mark.parametrize("text", ["rank: [", "rank: many", "no_such_key: 1", ""])
def test_a_spoilt_file_of_parameters_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"train\.yaml"):
        read_yaml(tmp_path / "train.yaml")
