from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from metrics import open_detectors
from metrics.contract import Image, JudgeSettings, Prompt, Sample, ScoredSample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.scoring import with_features
from tuner.mannequin import draw
from tuner.mannequin.render import random_figure
from tuner.storage import shipped

TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip model of random weights, saved as the mannequin's is."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "open_clip_config.json").write_text(json.dumps(TINY_CLIP))
    named = folder / "random-for-tests.json"
    named.write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(named)
    torch.manual_seed(0)
    model = open_clip.create_model("random-for-tests")
    save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))
    return folder


@pytest.fixture(scope="session")
def detectors(clip_folder: Path) -> Iterator[Detectors]:
    with open_detectors(JudgeSettings(gender_model=str(clip_folder), domain="drawn")) as opened:
        yield opened


@pytest.fixture(scope="session")
def mannequin_detectors() -> Iterator[Detectors]:
    """The detectors with the mannequin's own open_clip model, asked what it can tell, and YOLO."""
    settings = JudgeSettings(
        domain="drawn",
        gender_model=str(shipped.CLIP),
        traits=shipped.CLIP_TRAITS,
        sex_margin=shipped.CLIP_SEX_MARGIN,
        person_model=str(shipped.YOLO),
    )
    with open_detectors(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def figures(mannequin_detectors: Detectors) -> Callable[..., list[ScoredSample]]:
    """Rendered figures with their features, as a suite of `prompts` x 4 seeds, drawn from `seed`
    with parameters held as given.
    """

    @functools.cache
    def suite_of(seed: int, prompts: int = 3, **fixed: Any) -> list[ScoredSample]:
        rng = np.random.default_rng(seed)
        found = []
        for cell in range(4 * prompts):
            image = draw(random_figure(rng, **fixed))
            prompt = Prompt(f"1girl, word {cell // 4}", "female")
            found.append(with_features(Sample(prompt, cell % 4, image), mannequin_detectors))
        return found

    return suite_of


@pytest.fixture
def evidence(detectors: Detectors) -> Callable[[Image], Evidence]:
    return lambda image: Evidence(sample_of(image), detectors)


@pytest.fixture
def rendered() -> Callable[..., list[Image]]:
    """Draws `count` figures from a seed at a size, with parameters held as given."""

    def draw_some(count: int, seed: int, size: int = 64, **fixed: Any) -> list[Image]:
        rng = np.random.default_rng(seed)
        return [draw(random_figure(rng, **fixed), size) for _ in range(count)]

    return draw_some


@pytest.fixture
def looks(mannequin_detectors: Detectors, monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Every picture that the mannequin's open_clip model embeds from now on."""
    model = mannequin_detectors.zero_shot
    assert model is not None
    embed: Callable[[Image], object] = model.embed
    pictures: list[Image] = []
    monkeypatch.setattr(model, "embed", lambda image: (pictures.append(image), embed(image))[1])
    return pictures


@pytest.fixture
def sampled() -> Callable[..., Sample]:
    return sample_of


def sample_of(image: Image, text: str = "1girl", seed: int = 0, **prompt: Any) -> Sample:
    return Sample(Prompt(text, **prompt), seed, image)
