from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from metrics.contract import Objective, Prompt, ScoredSample
from tests.tuner.export.test_header import header, unknown
from tests.tuner.generators import samples_of
from tests.tuner.test_read_only import contents
from tuner.errors import TunerError
from tuner.export.lora import Names, export, last_rung
from tuner.export.verify import (
    MOST_DIFFERENCE,
    MOST_MEAN_DIFFERENCE,
    ExportError,
    difference,
    reference,
    stored_cells,
)
from tuner.models import BaseModel, adapter, load_base, read_file, sample_batches
from tuner.models.lora_file import LoraFile, LoraModule, payload_sha256, write_file
from tuner.models.metadata import run_metadata
from tuner.space import StudyConfig, SuiteConfig, TrainConfig, to_yaml
from tuner.space.config import BudgetConfig
from tuner.space.load import load_recorded
from tuner.space.train_config import to_yaml as train_yaml
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text
from tuner.storage.rows import RungRow
from tuner.trial.keep import write_pictures

TRAIN = TrainConfig(rank=2, alpha=5.0, text_encoder_ratio=0.5, alias="mi_cv")
DORA = TrainConfig(rank=2, use_dora=True)
RUN = run_metadata(TRAIN, 7, 12, 0, "bf16")
PROMPTS = tuple(Prompt(f"1girl, {word}") for word in ("red", "blue", "green", "black", "white"))


@pytest.fixture
def study(made: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of that study."""
    return StudyFolder(shutil.copytree(made.root, tmp_path / "small"))


@pytest.fixture(scope="module")
def made(base: BaseModel, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study of the tiny base: LoRA 4 and DoRA 5 change the pictures clearly."""
    parent = tmp_path_factory.mktemp("made")
    folder = StudyFolder(parent / "small")
    suite = SuiteConfig(prompts=PROMPTS, seeds=1, steps=1)
    config = StudyConfig(
        study="small",
        base=str(tiny_base),
        data=str(parent),
        budget=BudgetConfig(rungs=(7,)),
        suite=suite,
    )
    write_text(folder.study_yaml, to_yaml(config))
    for number, train in ((4, TRAIN), (5, DORA)):
        trial = folder.trial(number)
        write_text(trial.train_yaml, train_yaml(train))
        files = trial.rung(7)
        adapter.attach(base, train, "strong")
        torch.manual_seed(0)
        for weight in adapter.parameters(base, "strong"):
            small = torch.randn(weight.shape) * 0.3
            weight.data = weight.data * (1 + small) if weight.ndim == 1 else small
        adapter.save(base, "strong", files.lora, RUN)
        adapter.detach(base, "strong")
        samples = samples_of(sample_batches(base, suite, files.lora, files))
        scored = write_pictures([ScoredSample(each, {}) for each in samples], files, base.name)
        remember(folder, scored, files.lora, files.grid, number)
    return folder


def remember(
    folder: StudyFolder, scored: list[ScoredSample], lora: Path, grid: Path, trial: int = 4
) -> None:
    pose = {"pose": Objective("pose", 0.5, 0.25, 0.75, 4, 5)}
    with Store(folder.results_db) as store:
        store.begin_trial(trial, {})
        row = RungRow(trial, 7, pose, {}, lora, grid)
        store.put_rung(row, scored)


@pytest.mark.parametrize("names", ["kohya", "diffusers"])
def test_the_exported_file_draws_what_the_study_drew(
    study: StudyFolder, tmp_path: Path, names: Names
) -> None:
    out = tmp_path / "out" / "pose.safetensors"
    before = contents(study.root)
    report = export(study, 4, out, names)
    assert contents(study.root) == before, "a study is only read"
    assert report.path == out
    assert (report.modules, report.cells) == (40, 4)
    assert report.diffusers_difference is not None
    assert report.merged_difference is not None
    assert max(report.diffusers_difference, report.merged_difference) <= MOST_DIFFERENCE
    assert "40 of 40" in report.lines[0]
    assert [path.name for path in out.parent.iterdir()] == ["pose.safetensors"]
    starts = {name.split(".layers")[0].split("_blocks")[0] for name in load_file(out)}
    if names == "diffusers":
        assert "ComfyUI" in report.lines[-1]
        assert starts == {
            "text_encoder.text_model.encoder",
            "unet.down",
            "unet.mid_block.attentions.0.transformer",
            "unet.up",
        }
    there, own = read_file(out).modules, read_file(study.trial(4).rung(7).lora).modules
    assert there.keys() == own.keys()
    for name, module in own.items():
        assert torch.equal(there[name].down, module.down)
        if names == "kohya":
            assert there[name].alpha == 5.0
            assert torch.equal(there[name].up, module.up)
        torch.testing.assert_close(there[name].update(), module.update(), atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("names", ["kohya", pytest.param("diffusers", marks=pytest.mark.slow)])
def test_a_fresh_base_with_the_file_draws_the_studys_samples(
    study: StudyFolder, tiny_base: Path, tmp_path: Path, names: Names
) -> None:
    """As a user would, with nothing of ours but the noise."""
    from tuner.models import draw

    out = tmp_path / "pose.safetensors"
    export(study, 4, out, names)
    fresh = load_base(str(tiny_base), "cpu")
    suite = SuiteConfig(prompts=PROMPTS, seeds=1, steps=1)
    without = draw(fresh.pipeline, suite, [2])[0].astype(int)
    fresh.pipeline.load_lora_weights(str(out))
    drawn = draw(fresh.pipeline, suite, [2])[0].astype(int)
    with Image.open(study.trial(4).rung(7).sample(2)) as picture:
        kept = np.asarray(picture).astype(int)
    # Half precision rounds merged and separate weights differently.
    assert np.abs(drawn - kept).mean() / 255 <= MOST_MEAN_DIFFERENCE / 4
    assert np.abs(without - kept).mean() / 255 > MOST_MEAN_DIFFERENCE


def test_the_metadata_say_what_other_programs_look_for(study: StudyFolder, tmp_path: Path) -> None:
    out = tmp_path / "pose.safetensors"
    export(study, 4, out)
    metadata = header(out)
    expected = {
        "ss_v2": "False",
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "2",
        "ss_network_alpha": "5.0",
        "ss_output_name": "pose",
        "ss_steps": "7",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.trigger_phrase": "mi_cv",
        "modelspec.hash_sha256": f"0x{payload_sha256(out)}",
        **RUN,
        "sshs_model_hash": payload_sha256(out),
        "tuner.trial": "4",
        "tuner.pose": "0.5000 [0.2500, 0.7500]",
    }
    assert expected.items() <= metadata.items()
    assert not any(str(tmp_path) in value or value.startswith("/") for value in metadata.values())
    assert metadata["ss_sd_model_name"] == "tiny"
    assert not unknown(metadata)
    # The words that A1111 and Lora-Manager show, and the time that A1111 shows.
    assert list(json.loads(metadata["ss_tag_frequency"]).values()) == [{"mi_cv": 12}]
    assert abs(float(metadata["ss_training_started_at"]) - time.time()) < 3600


def test_a_dora_says_what_programs_make_of_it(study: StudyFolder, tmp_path: Path) -> None:
    shutil.rmtree(study.trial(5).rung(7).samples)  # it is compared with them in the next test
    report = export(study, 5, tmp_path / "dora.safetensors")
    assert any("ComfyUI and Forge" in line and "A1111" in line for line in report.lines)
    assert any("--dora-for comfyui" in line for line in report.lines)
    metadata = header(tmp_path / "dora.safetensors")
    assert metadata["ss_network_module"] == "lycoris.kohya"
    assert json.loads(metadata["ss_network_args"])["dora_wd"] == "True"
    assert "kohya's trainer" in metadata["modelspec.usage_hint"]
    assert not unknown(metadata)


def test_a_dora_for_comfyui_draws_the_samples_as_comfyui_computes(
    study: StudyFolder, tmp_path: Path
) -> None:
    out = tmp_path / "comfy.safetensors"
    report = export(study, 5, out, dora_for="comfyui")
    assert report.diffusers_difference is None
    assert report.merged_difference is not None
    assert report.merged_difference <= MOST_DIFFERENCE
    assert "merged as ComfyUI computes" in report.lines[1]
    assert "base tiny alone" in report.lines[2]
    assert header(out)["tuner.dora_for"] == "comfyui, base tiny"
    scales, own = read_file(out).modules, read_file(study.trial(5).rung(7).lora).modules
    for name, module in own.items():
        assert module.magnitude is not None
        assert not torch.equal(scales[name].magnitude, module.magnitude)


@pytest.mark.parametrize(
    ("trial", "names", "words"), [(4, "kohya", "no DoRA"), (5, "diffusers", "kohya's names")]
)
def test_scales_for_comfyui_need_a_dora_in_kohyas_names(
    study: StudyFolder, tmp_path: Path, trial: int, names: Names, words: str
) -> None:
    with pytest.raises(TunerError, match=words):
        export(study, trial, tmp_path / "a.safetensors", names, dora_for="comfyui")
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_file_that_draws_something_else_is_not_written(
    study: StudyFolder, base: BaseModel, tmp_path: Path
) -> None:
    """The alpha lost on the way is what other exporters do."""
    own, spoilt = study.trial(4).rung(7).lora, tmp_path / "spoilt.safetensors"
    modules = read_file(own).modules.items()
    without = {name: LoraModule(m.down, m.up, float(m.rank)) for name, m in modules}
    write_file(spoilt, LoraFile(without))
    suite = load_recorded(study).suite
    stored = stored_cells(study, last_rung(study, 4), "tiny")
    expected = reference(base, suite, stored, own)
    with adapter.loaded(base, own):
        assert difference(base, suite, expected, "itself") < MOST_DIFFERENCE
    with adapter.loaded(base, spoilt), pytest.raises(ExportError, match="study's own file by"):
        difference(base, suite, expected, "spoilt")
    spoilt.replace(own)
    out = tmp_path / "out" / "pose.safetensors"
    with pytest.raises(ExportError, match="draws other pictures here than in the study"):
        export(study, 4, out)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_file_is_written_over_only_by_force(study: StudyFolder, tmp_path: Path) -> None:
    out = tmp_path / "pose.safetensors"
    out.write_text("precious")
    with pytest.raises(TunerError, match="--force"):
        export(study, 4, out)
    assert out.read_text() == "precious"
    export(study, 4, out, force=True)
    assert read_file(out).modules


def test_samples_that_are_gone_are_said_to_be_gone(study: StudyFolder, tmp_path: Path) -> None:
    for picture in study.trial(4).rung(7).samples.iterdir():
        picture.unlink()
    report = export(study, 4, tmp_path / "pose.safetensors")
    assert report.diffusers_difference is None
    assert "gone" in report.lines[1]


def test_a_trial_without_a_lora_is_reported_with_those_that_have_one(
    study: StudyFolder, tmp_path: Path
) -> None:
    with pytest.raises(TunerError, match=r"trials that have one: 4, 5"):
        export(study, 2, tmp_path / "pose.safetensors")
    with pytest.raises(TunerError, match=r"\.safetensors"):
        export(study, 4, tmp_path / "pose.ckpt")
