"""The whole model of DreamBooth as one file, as a folder and as a LoRA that approximates it."""

from __future__ import annotations

import hashlib
import json
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from metrics.contract import Prompt, ScoredSample
from tests.tuner.export.test_header import header, unknown
from tests.tuner.export.test_lora import remember
from tests.tuner.generators import samples_of
from tests.tuner.models.test_dreambooth import WHOLE
from tests.tuner.training.test_loop import run
from tuner.data import TrainingSet
from tuner.errors import TunerError
from tuner.export import export_trial
from tuner.export.folder import write_configuration
from tuner.export.low_rank import Change, changes, extracted
from tuner.export.single_file import write_single_file
from tuner.export.written import Written
from tuner.models import BaseModel, adapter, dreambooth, read_file, sample_batches
from tuner.models.lora_file import payload_sha256
from tuner.results.confirmation import Choice
from tuner.space import StudyConfig, SuiteConfig, load_study, to_yaml
from tuner.space.config import BudgetConfig
from tuner.space.train_config import to_yaml as train_yaml
from tuner.storage import StudyFolder
from tuner.storage.files import write_text
from tuner.trial.keep import write_pictures


@pytest.fixture(scope="module")
def study(
    base: BaseModel,
    tiny_base: Path,
    training_set: TrainingSet,
    tmp_path_factory: pytest.TempPathFactory,
) -> StudyFolder:
    """A study of the tiny base with trial 4, a DreamBooth that changes the pictures clearly."""
    root = tmp_path_factory.mktemp("study")
    folder = StudyFolder(root / "small")
    prompts = tuple(Prompt(f"1girl, {word}") for word in ("red", "blue", "green"))
    suite = SuiteConfig(prompts=prompts, seeds=1, steps=1)
    config = StudyConfig(
        study="small",
        base=str(tiny_base),
        data=str(training_set.root),
        budget=BudgetConfig(rungs=(7,)),
        suite=suite,
    )
    write_text(folder.study_yaml, to_yaml(config))
    trial, hot = folder.trial(4), WHOLE.model_copy(update={"learning_rate": 0.02})
    write_text(trial.train_yaml, train_yaml(hot))
    (checkpoint,) = run(base, training_set, hot, trial.root, rungs=(7,))
    files = trial.rung(7)
    samples = samples_of(sample_batches(base, suite, checkpoint.path, files))
    bare = samples_of(sample_batches(base, suite, None, files))
    assert abs(samples[0].image.astype(int) - bare[0].image.astype(int)).max() > 30
    scored = write_pictures([ScoredSample(each, {}) for each in samples], files, base.name)
    remember(folder, scored, checkpoint.path, files.grid)
    return folder


def test_it_is_exported_as_one_file_in_the_original_layout(
    study: StudyFolder, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.safetensors"
    report = export_trial(study, Choice(4, None, ()), out)
    assert isinstance(report, Written)
    assert "3 samples drawn anew differ by at most 0.0" in report.lines[1]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    metadata = header(out)
    assert metadata["tuner.trial"] == "4"
    assert metadata["modelspec.hash_sha256"] == f"0x{payload_sha256(out)}"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1"
    assert not unknown(metadata)
    with pytest.raises(TunerError, match="exists"):
        export_trial(study, Choice(4, None, ()), out)


def test_it_is_exported_as_a_folder_that_diffusers_opens(
    study: StudyFolder, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    export_trial(study, Choice(4, None, ()), out)
    pipeline = StableDiffusionPipeline.from_pretrained(out, local_files_only=True)
    weights = dreambooth.read(study.trial(4).rung(7).weights)
    for name, tensor in pipeline.unet.state_dict().items():
        assert torch.equal(tensor.half(), weights["unet"][name])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    # What ComfyUI, kohya's trainer and older versions of transformers read.
    names = load_file(out / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names)
    vocabulary = json.loads((out / "tokenizer" / "vocab.json").read_text("utf-8"))
    assert vocabulary == pipeline.tokenizer.get_vocab()
    first, *merges = (out / "tokenizer" / "merges.txt").read_text("utf-8").splitlines()
    assert first.startswith("#version")
    assert all(merge.replace(" ", "") in vocabulary for merge in merges)
    assert len(merges) == len(vocabulary) - 512 - 2
    modes = {file.stat().st_mode for file in out.rglob("*") if file.is_file()}
    assert modes == {(out / "tuner.json").stat().st_mode}
    description = json.loads((out / "tuner.json").read_text("utf-8"))
    assert description["ss_output_name"] == "model"


def test_only_a_model_s_folder_is_replaced(study: StudyFolder, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (photographs / "1.png").touch()
    with pytest.raises(TunerError, match="holds no model; give another name"):
        export_trial(study, Choice(4, None, ()), photographs, force=True)
    assert [path.name for path in photographs.iterdir()] == ["1.png"]
    model = tmp_path / "model"
    model.mkdir()
    (model / "model_index.json").write_text("{}")
    export_trial(study, Choice(4, None, ()), model, force=True)
    assert (model / "unet").is_dir()


def test_a_base_that_is_one_file_needs_no_hub(
    study: StudyFolder, base: BaseModel, tmp_path: Path
) -> None:
    """HF_HUB_OFFLINE is set for all tests."""
    copied = StudyFolder(shutil.copytree(study.root, tmp_path / "small"))
    file = tmp_path / "tiny.safetensors"
    write_single_file(file, base.pipeline, {})
    write_configuration(tmp_path / "tiny", base.pipeline)
    config = load_study(copied.study_yaml, base=str(file))
    write_text(copied.study_yaml, to_yaml(config))
    out = tmp_path / "model.safetensors"
    assert "drawn anew" in export_trial(copied, Choice(4, None, ()), out).lines[1]
    assert header(out)["ss_sd_model_name"] == "tiny.safetensors"
    whole = hashlib.sha256(file.read_bytes()).hexdigest()
    assert header(out)["ss_new_sd_model_hash"] == whole


def test_it_is_exported_as_a_lora(study: StudyFolder, tmp_path: Path) -> None:
    small, large = (
        export_trial(study, Choice(4, None, ()), tmp_path / f"{rank}.safetensors", lora_rank=rank)
        for rank in (1, 64)
    )
    shares = [float(report.lines[0].split("holds ")[1].split("%")[0]) for report in (small, large)]
    assert 0 < shares[0] < shares[1] <= 100.1
    lora = read_file(tmp_path / "64.safetensors")
    assert {name.split("_")[1] for name in lora.modules} == {"unet", "te"}
    expected = {
        "ss_network_dim": "64",
        "ss_network_alpha": "64.0",
        "ss_network_args": '{"conv_dim": "64", "conv_alpha": "64.0"}',
        "ss_output_name": "64",
        "modelspec.title": "64",
        "modelspec.architecture": "stable-diffusion-v1/lora",
    }
    assert expected.items() <= lora.metadata.items()
    assert not unknown(dict(lora.metadata))
    with pytest.raises(TunerError, match="folder NAME"):
        export_trial(study, Choice(4, None, ()), tmp_path / "folder", lora_rank=4)


def test_weights_of_another_base_give_no_lora(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    name = adapter.targets(base.pipeline.unet, "unet", "attention")[0]
    save_file({f"unet.{name}.weight": torch.zeros(2, 3)}, path)
    with pytest.raises(dreambooth.WeightsError, match=r"\(2, 3\).*another base"):
        list(changes(base, path))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(dreambooth.WeightsError, match="no whole file"):
        list(changes(base, path))


def test_a_change_of_low_rank_is_held_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {
        "to_q": torch.randn(40, 30, generator=generator),
        "conv1": torch.randn(200, 50, 3, 3, generator=generator),  # by random projection
    }
    low = {
        name: weight
        + (torch.randn(len(weight), 3) @ torch.randn(3, weight[0].numel())).reshape(weight.shape)
        for name, weight in weights.items()
    }
    changed = [(f"lora_unet_{name}", low[name] - weight) for name, weight in weights.items()]
    lora, share = extracted(changed, 3, {})
    assert share == pytest.approx(1.0, abs=1e-4)
    for name, weight in weights.items():
        update = lora.modules[f"lora_unet_{name}"].update().reshape(weight.shape)
        torch.testing.assert_close(weight + update, low[name], atol=1e-3, rtol=1e-3)
    # One rank for all: diffusers confuses alphas where modules have several.
    padded, _ = extracted(changed, 35, {})
    assert {(module.rank, module.alpha) for module in padded.modules.values()} == {(35, 35.0)}
    _, part = extracted(changed, 1, {})
    assert 0 < part < 0.9
    nothing, none = extracted([("lora_unet_to_q", torch.zeros(4, 4))], 1, {})
    assert not nothing.modules
    assert np.isnan(none)


def test_one_layer_is_in_memory_at_a_time(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    parts = dreambooth.copies(base, WHOLE)
    for weight in parts["unet"].parameters():
        weight.data *= 1.5
    dreambooth.save(parts, path, {})
    alive: list[weakref.ref[torch.Tensor]] = []

    def watched() -> Iterator[Change]:
        for name, change in changes(base, path):
            assert sum(other() is not None for other in alive) <= 1
            alive.append(weakref.ref(change))
            yield name, change

    lora, share = extracted(watched(), 4, {})
    assert len(lora.modules) > 40
    assert 0 < share < 1
