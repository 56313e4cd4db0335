from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tuner.errors import ConfigError, MissingModelError
from tuner.judging.models import judge_settings, refuse_broken, study_judges
from tuner.space import load_study
from tuner.storage import shipped

SPACE = Path(__file__).parents[3] / "search_spaces" / "pose.yaml"


def test_a_study_on_the_mannequin_has_its_judges_and_the_threshold_that_it_names() -> None:
    plain = study_judges(load_study(SPACE))
    moved = study_judges(load_study(SPACE, set_values=["judges.sex_threshold=0.7"]))
    assert (plain.gender_model, plain.traits) == (str(shipped.CLIP), shipped.CLIP_TRAITS)
    assert plain.person_model == str(shipped.YOLO)
    assert (plain.sex_threshold, moved.sex_threshold) == (None, 0.7)


def test_the_face_alone_is_a_gender_model_on_photographs_only() -> None:
    assert judge_settings("face", None).gender_model is None
    with pytest.raises(ConfigError, match="reads faces on photographs only"):
        judge_settings("face", None, domain="drawn")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("open_clip_config.json", b"{"),
        ("open_clip_config.json", b"[" * 100_000),
        ("open_clip_model.safetensors", b""),
        ("open_clip_model.safetensors", b"\xff" * 64),
    ],
)
def test_a_damaged_model_is_refused_before_open_clip_reads_it(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "open_clip_model.safetensors")
    refuse_broken(str(tmp_path))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MissingModelError, match="is damaged"):
        refuse_broken(str(tmp_path))


@pytest.mark.parametrize("model", [None, "ViT-L-14/openai", "/nowhere"])
def test_other_models_are_left_to_the_judges(model: str | None) -> None:
    refuse_broken(model)
