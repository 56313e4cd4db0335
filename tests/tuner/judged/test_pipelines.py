"""Bases that are not trained: a tiny SDXL-Turbo, SD3 and Flux, each judged with a LoRA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tuner.judged.pipelines import FAMILIES, save_lora, save_pipeline
from tests.tuner.tiny_space import write_clip
from tuner.errors import ConfigError
from tuner.judged import JudgeOptions, find_files, judged_study, run_judged
from tuner.models.lora_file import LoraFileError
from tuner.models.method import Weighted
from tuner.models.pipelines import has_family, load_pipeline
from tuner.models.sampling import draw_cells
from tuner.results.judged import read_judged
from tuner.space import SuiteConfig
from tuner.storage import StudyFolder

pytestmark = pytest.mark.slow

SUITE = """
suite:
  prompts: [{text: 1girl, sex: female}, {text: 1boy, sex: male}]
  seeds: 1
  size: 32
  steps: 2
  guidance_scale: 3.0
  negative: blurry
objectives: [pose, quality]
judges: {gender_model: clip, domain: drawn}
"""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pipelines")
    return {family: save_pipeline(family, folder / family) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_changes_its_pictures_with_the_strength_and_leaves_no_trace(
    bases: dict[str, Path], family: str, tmp_path: Path
) -> None:
    base = bases[family]
    path = save_lora(base, tmp_path / "lora.safetensors", 0.3)
    suite = SuiteConfig(seeds=2, size=32)
    opened = load_pipeline(str(base), "cpu", steps=2)

    def draw(file: Weighted | None, indices: tuple[int, ...] = (0, 1)) -> np.ndarray:  # type: ignore[type-arg]
        batches = draw_cells(opened, suite, file, indices)
        return np.stack([image for batch in batches for image in batch]).astype(float)

    before = draw(None)
    half, whole = draw(Weighted(path, 0.5)), draw(Weighted(path, 1.0))
    assert 0 < np.abs(half - before).mean() < np.abs(whole - before).mean()
    assert np.array_equal(draw(None), before)
    # A picture depends neither on its batch nor on what was drawn before.
    assert np.abs(draw(None, (1,))[0] - before[1]).max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_judged_from_end_to_end(
    bases: dict[str, Path], family: str, tmp_path: Path
) -> None:
    write_clip(tmp_path / "clip")
    # Flux' transformer says no size: that of the latents is taken for 128.
    size = 128 if family == "flux" else 32
    (tmp_path / "suite.yaml").write_text(SUITE.replace("size: 32", f"size: {size}"))
    path = save_lora(bases[family], tmp_path / "lora.safetensors", 0.3)
    found = find_files([path])
    options = JudgeOptions(str(bases[family]), suite=str(tmp_path / "suite.yaml"))
    study, folder = judged_study(options, found), StudyFolder(tmp_path / "study")
    list(run_judged(study.config, folder, found.files, (0.5, 1.0)))
    judged = read_judged(folder)
    assert [row.file.strength for row in judged.rows] == [0.5, 1.0]
    assert {row.reason for row in judged.rows if row.state == "failed"} == set()
    effects = [row.measures["effect"].value for row in judged.rows]
    assert all(effects)


def test_a_lora_of_another_family_is_refused_with_the_base_that_it_wants(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    path = save_lora(bases["flux"], tmp_path / "flux.safetensors", 0.1)
    opened, suite = load_pipeline(str(bases["turbo"]), "cpu", steps=2), SuiteConfig(size=32)
    with pytest.raises(LoraFileError, match="flux"):
        list(draw_cells(opened, suite, Weighted(path, 1.0), [0]))


def test_a_pipeline_that_needs_more_than_a_prompt_is_refused(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    assert not any(has_family(str(base)) for base in bases.values())
    index = (bases["turbo"] / "model_index.json").read_text()
    copy = tmp_path / "other"
    copy.mkdir()
    for part in bases["turbo"].iterdir():
        if part.is_dir():
            (copy / part.name).symlink_to(part)
    (copy / "model_index.json").write_text(
        index.replace("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline")
    )
    with pytest.raises(ConfigError, match="from a prompt alone"):
        load_pipeline(str(copy), "cpu")
