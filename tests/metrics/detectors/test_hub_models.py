"""Networks of transformers with random weights, loaded and run by the code for the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from metrics import open_detectors
from metrics.contract import JudgeSettings
from metrics.detectors.human_parser import HumanParser, class_groups
from metrics.detectors.models import ModelUnavailableError
from metrics.detectors.second_pose import open_pose_model
from metrics.detectors.vision_language import VisionLanguageModel
from tests.metrics.hub_models import ATR, qwen, segformer, vit_pose

PICTURE = np.random.default_rng(0).integers(0, 256, (300, 260, 3)).astype(np.uint8)
OPEN: dict[str, Callable[[str], object]] = {
    "pose": open_pose_model,
    "parser": HumanParser,
    "vlm": VisionLanguageModel,
}


@pytest.fixture(scope="module")
def pose_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return vit_pose(tmp_path_factory.mktemp("pose"))


def test_joints_move_with_the_person_s_box(pose_folder: str) -> None:
    network = open_pose_model(pose_folder)
    person = PICTURE[:160, :120]
    found = []
    for x, y in ((40, 60), (130, 100)):
        canvas = np.full((400, 300, 3), 120, np.uint8)
        canvas[y : y + 160, x : x + 120] = person
        box = (x / 300, y / 400, (x + 120) / 300, (y + 160) / 400)
        pose = network(canvas, box)
        assert pose is not None
        assert pose.joints.shape == (17, 2)
        assert pose.confidence.shape == (17,)
        found.append((pose.joints * (300, 400) - (x, y), pose.confidence))
    assert np.isfinite(found[0][0]).all()
    assert len(np.unique(found[0][0].round(1))) > 10
    assert found[0][0] == pytest.approx(found[1][0], abs=0.1)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-4)


def test_the_experts_of_a_larger_vit_pose_are_told_the_data_set(tmp_path: Path) -> None:
    pose = open_pose_model(vit_pose(tmp_path, experts=2))(PICTURE, (0.1, 0.1, 0.9, 0.9))
    assert pose is not None
    assert np.isfinite(pose.joints).all()


def test_every_pixel_gets_a_class(tmp_path: Path) -> None:
    parsed = HumanParser(segformer(tmp_path, always="Dress"))(PICTURE)
    assert parsed.labels.shape == PICTURE.shape[:2]
    assert (parsed.labels == ATR.index("Dress")).all()
    assert parsed.mask("clothes").all()
    assert not parsed.mask("arm", "leg", "skin").any()


def test_classes_are_grouped_by_their_names() -> None:
    groups = class_groups(dict(enumerate(ATR)))
    names = {group: [ATR[number] for number in numbers] for group, numbers in groups.items()}
    assert names == {
        "clothes": ["Upper-clothes", "Skirt", "Pants", "Dress", "Belt", "Scarf"],
        "arm": ["Left-arm", "Right-arm"],
        "leg": ["Left-leg", "Right-leg"],
        "skin": ["Face"],
    }
    others = ("Torso-skin", "Left_Upper_Arm", "top, t-shirt, sweatshirt", "Jumpsuits", "sock")
    of_other = class_groups(dict(enumerate(others)))
    assert of_other == {"clothes": (2, 3), "arm": (1,), "leg": (), "skin": (0,)}


@pytest.mark.parametrize(("says", "yes"), [("yes", 1.0), ("No", 0.0)])
def test_the_next_word_is_the_answer(tmp_path: Path, says: str, yes: float) -> None:
    model = VisionLanguageModel(qwen(tmp_path, "yes", "No", "no", "maybe", says=says))
    answer = model(PICTURE, "Is it?")
    assert answer.yes == pytest.approx(yes, abs=1e-3)
    assert answer.said == pytest.approx(1.0, abs=1e-3)


def test_another_next_word_is_no_answer(tmp_path: Path) -> None:
    model = VisionLanguageModel(qwen(tmp_path, "yes", "no", "maybe", says="maybe"))
    assert model(PICTURE, "Is it?").said == pytest.approx(0.0, abs=1e-3)


def test_a_random_model_reads_the_picture(tmp_path: Path) -> None:
    model = VisionLanguageModel(qwen(tmp_path, "yes", "no", "maybe", tied=True))
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    answers = [model(picture, "Is it?") for picture in (PICTURE, PICTURE // 4)]
    assert all(0.1 < answer.yes < 0.9 and 0.05 < answer.said < 0.8 for answer in answers)
    assert answers[0] != answers[1]


def test_the_detectors_open_them_where_they_are_set(pose_folder: str, tmp_path: Path) -> None:
    named = JudgeSettings(pose_model=pose_folder, parser_model=segformer(tmp_path))
    with open_detectors(named) as detectors:
        assert detectors.pose_model is not None
        assert detectors.pose_model is detectors.pose_model
        assert detectors.parser_model is not None
        assert detectors.vlm is None


def _without_yes(folder: Path) -> str:
    return qwen(folder, "no", "maybe")


def _without_template(folder: Path) -> str:
    return qwen(folder, "yes", "no", template=None)


@pytest.mark.parametrize(
    ("kind", "made", "line"),
    [
        ("pose", lambda folder: vit_pose(folder, 5), "reads 5 joints; give a model of COCO's 17"),
        ("parser", lambda folder: segformer(folder, ("wall", "tree")), "classes are wall, tree, "),
        ("vlm", _without_yes, "has no tokens for yes and no"),
        ("vlm", _without_template, "has no chat template"),
        ("pose", segformer, r"could not be loaded \(it is a segformer, not a vitpose\)"),
        ("vlm", lambda folder: "owner/no-such-model", "could not be loaded"),
    ],
)
def test_what_does_not_fit_is_refused(
    kind: str, made: Callable[[Path], str], line: str, tmp_path: Path
) -> None:
    model = made(tmp_path)
    with pytest.raises(ModelUnavailableError, match=line) as caught:
        OPEN[kind](model)
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    model = segformer(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["decode_head.classifier.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailableError, match=r"lacks the weights decode_head\.classifier"):
        HumanParser(model)


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    model = segformer(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailableError, match="could not be loaded"):
        HumanParser(model)
    with pytest.raises(ModelUnavailableError, match="pickled weights can run code"):
        HumanParser(str(tmp_path / "pytorch_model.bin"))


def test_code_of_a_model_s_own_never_runs(tmp_path: Path) -> None:
    model = segformer(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text("utf-8"))
    config["model_type"] = "mine"
    config["auto_map"] = {
        "AutoConfig": "mine.MyConfig",
        "AutoModelForSemanticSegmentation": "mine.MyModel",
    }
    file.write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelUnavailableError, match="could not be loaded"):
        HumanParser(model)
    assert not (tmp_path / "ran").exists()
