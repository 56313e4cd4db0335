from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from metrics.detectors.models import ModelUnavailableError
from metrics.detectors.open_clip import ZeroShotClassifier

GROUPS = {"a": ("1girl", "a woman"), "b": ("1boy",), "c": ("a tree",)}


def test_probabilities_by_name_add_up_to_one(clip_folder: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (80, 60, 3)).astype(np.uint8)
    found = ZeroShotClassifier(str(clip_folder)).probabilities(picture, GROUPS)
    assert list(found) == ["a", "b", "c"]
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-5)


def test_two_folders_do_not_mix_up_their_configurations(clip_folder: Path, tmp_path: Path) -> None:
    config = json.loads((clip_folder / "open_clip_config.json").read_text())
    config["vision_cfg"]["layers"] = 2
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    weights = clip_folder / "open_clip_model.safetensors"
    shutil.copy(weights, tmp_path)
    with pytest.raises(ModelUnavailableError, match="could not be loaded"):
        ZeroShotClassifier(str(tmp_path))  # one layer's weights do not fill two layers
    ZeroShotClassifier(str(clip_folder))


@pytest.mark.parametrize("name", ["ViT-L-14", "no-such-model/openai", "ViT-B-32/no-such-weights"])
def test_a_model_that_is_not_there_is_reported_in_one_line(name: str) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        ZeroShotClassifier(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelUnavailableError, match=r"lacks open_clip_model\.safetensors"):
        ZeroShotClassifier(str(tmp_path))


def test_a_configuration_in_the_hub_s_form_is_refused_with_what_is_allowed(
    clip_folder: Path, tmp_path: Path
) -> None:
    shutil.copy(clip_folder / "open_clip_model.safetensors", tmp_path)
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 32}}')
    with pytest.raises(ModelUnavailableError, match="embed_dim"):
        ZeroShotClassifier(str(tmp_path))
