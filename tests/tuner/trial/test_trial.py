from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

import metrics
from metrics import open_detectors
from metrics.contract import JudgeSettings, Measure, Prompt, ScoredSample
from metrics.detectors import Detectors
from metrics.sets import measures
from tests.tuner.generators import samples_of
from tests.tuner.trained_study import by_brightness, pixels
from tuner.data import TrainingSet
from tuner.errors import ConfigError, DivergedError, OutOfMemoryError
from tuner.events import Phase, Progress
from tuner.models import BaseModel, adapter, read_file, sample_batches
from tuner.models.memory_errors import is_out_of_memory, naming_memory_errors
from tuner.space import SuiteConfig, TrainConfig
from tuner.space.train_config import read_yaml, to_yaml
from tuner.storage import shipped
from tuner.storage.folder import RungFolder, TrialFolder
from tuner.trial import Rung, Workbench, run_trial
from tuner.trial.copies import remembered

CONFIG = TrainConfig(rank=2, batch_size=2, resolution=32, learning_rate=1e-3)
SUITE = SuiteConfig(
    prompts=(Prompt("1girl", "female", "full"), Prompt("1boy", "male")), seeds=2, steps=1
)


@pytest.fixture
def few(training_set: TrainingSet) -> TrainingSet:
    """Four of its pictures: the loss is measured on each."""
    return replace(training_set, images=training_set.images[:4])


@pytest.fixture
def bench(base: BaseModel, few: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setattr(metrics, "score", by_brightness)
    return Workbench(base, {None: few}, SUITE, Detectors(JudgeSettings(domain="drawn")))


@pytest.fixture
def clip_judges(tmp_path: Path) -> Iterator[Detectors]:
    """Judges with an open_clip model of random weights."""
    folder = tmp_path / "clip"
    folder.mkdir()
    config = json.loads((shipped.CLIP / "open_clip_config.json").read_text("utf-8"))
    tiny = config | {"embed_dim": 32}
    (folder / "open_clip_config.json").write_text(json.dumps(tiny))
    named = folder / "tiny-of-trial.json"
    named.write_text(json.dumps(tiny))
    open_clip.add_model_config(named)
    torch.manual_seed(0)
    weights = open_clip.create_model("tiny-of-trial").state_dict()
    save_file(weights, str(folder / "open_clip_model.safetensors"))
    with open_detectors(JudgeSettings(gender_model=str(folder), domain="drawn")) as opened:
        yield opened


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
        assert rung.device == bench.base.device_name
        assert "gender" in rung.objectives
        assert set(rung.rates) == {"undressed_rate", "explicit_rate", "under_age_rate"}
    assert read_yaml(folder.train_yaml) == CONFIG
    assert not folder.done.exists()


def test_dreambooth_goes_the_same_way_and_leaves_the_base_as_it_was(
    bench: Workbench, few: TrainingSet, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"method": "dreambooth", "alias": "mi_cv"})
    before = {
        name: weight.clone() for name, weight in bench.base.pipeline.unet.state_dict().items()
    }
    bare = samples_of(sample_batches(bench.base, SUITE, None, RungFolder(tmp_path / "base")))
    images = few.images
    halved = {None: replace(few, images=images[2:], held_out=images[:2])}
    known = replace(bench, training_sets=halved, base_scored=by_brightness(bare, bench.judges))
    folder = TrialFolder(tmp_path / "0004")
    outcomes = run_trial(known, 4, config, (1, 3), folder)
    rungs = [outcome for outcome in outcomes if isinstance(outcome, Rung)]
    assert [rung.lora for rung in rungs] == [folder.rung(step).weights for step in (1, 3)]
    assert rungs[-1].measures["alias_leak"].value is not None
    assert rungs[-1].measures["held_out_loss"].value not in (None, 1.0)
    drawn = pixels(rungs[-1].scored[0]).astype(int)
    assert abs(drawn - bare[0].image.astype(int)).max() > 0
    assert not folder.rung(3).lora.exists()
    after = bench.base.pipeline.unet.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


ALWAYS = {"copies", "copies_held_out", "held_out_loss", "train_loss", "loss_gap"}


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("mi_cv", ALWAYS | {"alias_leak", "alias_effect"}),
        pytest.param(None, ALWAYS, marks=pytest.mark.slow),
    ],
)
def test_over_fitting_is_measured_at_every_rung(
    bench: Workbench,
    training_set: TrainingSet,
    tmp_path: Path,
    clip_judges: Detectors,
    alias: str | None,
    expected: set[str],
) -> None:
    images = training_set.images
    halved = replace(training_set, images=images[2:], held_out=images[:2])
    assert clip_judges.embedding is not None
    file = tmp_path / "data.safetensors"
    memory = remembered(halved, clip_judges.embedding, "tiny", SUITE.image_size, file)
    bench = replace(bench, training_sets={None: halved}, judges=clip_judges)
    samples = samples_of(sample_batches(bench.base, SUITE, None, RungFolder(tmp_path / "base")))
    scored = by_brightness(samples, clip_judges)
    bench = replace(bench, memories={None: memory}, base_scored=scored)
    config = CONFIG.model_copy(update={"alias": alias})
    outcomes = run_trial(bench, 0, config, (1, 2), TrialFolder(tmp_path / "t"))
    rungs = [outcome for outcome in outcomes if isinstance(outcome, Rung)]
    assert len(rungs) == 2
    for rung in rungs:
        assert set(rung.measures) >= expected
        assert all(rung.measures[name].value is not None for name in expected)


def cells(scored: Sequence[ScoredSample]) -> list[tuple[str, int]]:
    return [picture.sample.cell for picture in scored]


def test_low_rungs_draw_fewer_seeds_of_the_same_noise(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = samples_of(sample_batches(bench.base, SUITE, None, RungFolder(tmp_path / "base")))
    whole = by_brightness(samples, bench.judges)
    bench = replace(bench, base_scored=whole, low_rung_seeds=1)
    against = []

    def look(scored: object, base: Sequence[ScoredSample], *_: object) -> dict[str, Measure]:
        against.append(cells(base))
        return {}

    monkeypatch.setattr(measures, "measures", look)
    config = CONFIG.model_copy(update={"alias": "mi_cv"})
    folder = TrialFolder(tmp_path / "t")
    outcomes = list(run_trial(bench, 0, config, (1, 2), folder))
    low, last = (outcome for outcome in outcomes if isinstance(outcome, Rung))
    assert (low.seeds, last.seeds) == (1, None)
    progress = [outcome for outcome in outcomes if isinstance(outcome, Progress)]
    assert [event.total for event in progress if event.loss is None] == [2, 4]
    assert cells(low.scored) == [("1girl", 0), ("1boy", 0)]
    assert cells(last.scored) == cells(whole)
    # Each is compared with the base's samples of its own cells.
    assert against == [cells(rung.scored) for rung in (low, last)]
    # Files are named by the place in the whole suite, and hold the cell that is there.
    assert sorted(folder.rung(1).samples.iterdir()) == [folder.rung(1).sample(n) for n in (0, 2)]
    again = RungFolder(tmp_path / "again")
    all_of_it = samples_of(sample_batches(bench.base, SUITE, low.lora, again))
    for place, drawn in zip((0, 2), low.scored, strict=True):
        assert drawn.sample.path == folder.rung(1).sample(place)
        gap = pixels(drawn).astype(int) - all_of_it[place].image
        assert np.abs(gap).max() <= 1
    assert {"alias_leak", "alias_effect"} <= last.measures.keys()


def test_a_trial_takes_the_training_set_that_it_names(
    bench: Workbench, few: TrainingSet, tmp_path: Path
) -> None:
    fewer = replace(few, images=few.images[:1])
    bench = replace(bench, training_sets={"all": few, "one": fewer})
    loras = []
    for name in ("all", "one"):
        config = CONFIG.model_copy(update={"data": name})
        *_, rung = run_trial(bench, 0, config, (1,), TrialFolder(tmp_path / name))
        assert isinstance(rung, Rung)
        assert rung.lora is not None
        loras.append(read_file(rung.lora).modules)
    of_all, of_one = loras
    assert not all(torch.equal(module.up, of_one[name].up) for name, module in of_all.items())


def test_a_trial_that_is_closed_leaves_the_base_bare(bench: Workbench, tmp_path: Path) -> None:
    names = [name for name, _ in bench.base.pipeline.unet.named_modules()]
    outcomes = run_trial(bench, 0, CONFIG, (1, 5), TrialFolder(tmp_path))
    while next(outcomes) != Phase("sample", 0):
        pass
    next(outcomes)
    outcomes.close()
    assert [name for name, _ in bench.base.pipeline.unet.named_modules()] == names
    assert adapter.active(bench.base) == ()


def test_a_trial_whose_pictures_are_not_finite_raises(
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
        RuntimeError("could not create a primitive"),
    ],
)
def test_memory_errors_get_their_name(error: Exception) -> None:
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemoryError, match=r"memory|primitive"), naming_memory_errors():
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
def test_a_spoilt_file_of_parameters_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"train\.yaml"):
        read_yaml(tmp_path / "train.yaml")


def test_parameters_that_are_gone_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.yaml is not there: .*published study"):
        read_yaml(tmp_path / "train.yaml")
