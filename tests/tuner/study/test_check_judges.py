"""Models of judges that an offline run could not load are told by `tuner check`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tuner.errors import MissingModelError
from tuner.space import StudyConfig, load_study
from tuner.study.check_judges import judge_line

SPACE = "study: x\nbase: owner/base\ndata: mannequin\nbudget: {trials: 1, rungs: [2]}\njudges: "


def study(tmp_path: Path, judges: str) -> StudyConfig:
    path = tmp_path / "x.yaml"
    path.write_text(f"{SPACE}{{{judges}}}", encoding="utf-8")
    return load_study(path)


@pytest.mark.parametrize(
    ("judges", "words"),
    [
        ("", r"gender_model ViT-L-14/openai \(timm/vit_large_patch14_clip_224.openai\) is not in"),
        ("gender_model: ViT-B-32/openai", r"ViT-B-32/openai \(timm/vit_base_patch32_clip_224.op"),
        (
            "gender_model: face, copy_model: facebook/dinov2-small",
            "copy_model facebook/dinov2-small is not in the hub's cache and HF_HUB_OFFLINE is set",
        ),
    ],
)
def test_a_model_that_is_not_in_the_cache_cannot_be_fetched_offline(
    tmp_path: Path,
    hub_cache: Callable[[Path, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    judges: str,
    words: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = study(tmp_path, judges)
    with pytest.raises(MissingModelError, match=words):
        judge_line(config)
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("model.safetensors", "open_clip_model.safetensors"):
        (weights / name).touch()
    for hub_id in (
        "timm/vit_large_patch14_clip_224.openai",
        "timm/vit_base_patch32_clip_224.openai",
        "facebook/dinov2-small",
    ):
        hub_cache(weights, hub_id, "main")
    assert "; gender by " in judge_line(config)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "; gender by " in judge_line(config)
