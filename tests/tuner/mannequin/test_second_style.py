from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrics.detectors.mediapipe import PoseLandmarker
from metrics.detectors.models import ModelUnavailableError, fetch
from tuner.mannequin import draw
from tuner.mannequin.corpus import make_corpus
from tuner.mannequin.figure import ARM_POSES, CLOTH_COLOURS, HAIR_COLOURS, SKINS, TOPS
from tuner.mannequin.render import Figure, random_figure, truth
from tuner.mannequin.shades import CLOTH_SHADES, HAIR_SHADES, SKIN_SHADES


def test_the_same_parameters_look_different_and_have_the_same_truth() -> None:
    first = Figure("female", jitter=5)
    second = replace(first, style="second")
    assert np.abs(draw(first).astype(int) - draw(second)).mean() > 5
    facts, others = truth(first), truth(second)
    assert replace(facts, joints={}) == replace(others, joints={})
    assert facts.joints.keys() == others.joints.keys()
    assert facts.joints != others.joints


def test_every_colour_has_another_shade() -> None:
    for shades, colours in ((CLOTH_SHADES, CLOTH_COLOURS), (HAIR_SHADES, HAIR_COLOURS)):
        assert shades.keys() == colours.keys()
        assert not set(shades.values()) & set(colours.values())
    assert len(SKIN_SHADES) == len(SKINS)
    assert not set(SKIN_SHADES) & set(SKINS)


def test_nothing_is_trained_on_it() -> None:
    assert {figure.style for figure in make_corpus(30, seed=1, size=32).figures} == {"first"}
    assert random_figure(np.random.default_rng(0)).style == "first"


@pytest.mark.parametrize("top", TOPS)
def test_the_torso_has_the_colour_of_the_clothes(top: str) -> None:
    rng = np.random.default_rng(8)
    for _ in range(10):
        figure = random_figure(
            rng, style="second", framing="half", arm_pose="t-pose", top=top, skin=0
        )
        joints = truth(figure).joints
        x, y = np.mean([joints["left_shoulder"], joints["right_shoulder"]], axis=0)
        torso = draw(figure, 128)[int((y + 0.16) * 128), int((x - 0.03) * 128)].astype(int)
        cloth, skin = np.array(CLOTH_SHADES[figure.top_colour]), np.array(SKIN_SHADES[0])
        assert np.abs(torso - cloth).sum() < np.abs(torso - skin).sum()


@pytest.mark.parametrize("arm_pose", ARM_POSES)
def test_the_truth_is_where_the_figure_is_drawn(arm_pose: str) -> None:
    figure = random_figure(
        np.random.default_rng(3), style="second", framing="full", arm_pose=arm_pose, limbs="normal"
    )
    bare = replace(figure, limbs="missing arm")
    changed = np.abs(draw(figure, 128).astype(int) - draw(bare, 128)).sum(axis=2) > 60
    rows, columns = np.nonzero(changed)
    elbows = [truth(figure).joints[f"{side}_elbow"] for side in ("left", "right")]
    middle = np.array([columns.mean(), rows.mean()]) / 128
    assert min(np.linalg.norm(middle - elbow) for elbow in elbows) < 0.06


@pytest.mark.slow
def test_mediapipe_reads_a_pose_on_it_at_the_mannequin_s_size() -> None:
    try:
        landmarker = PoseLandmarker(fetch("pose_landmarker"))
    except ModelUnavailableError as reason:
        pytest.skip(str(reason))
    rng = np.random.default_rng(5)
    read = [bool(landmarker(draw(random_figure(rng, style="second"), 64))) for _ in range(200)]
    landmarker.close()
    assert sum(read) >= 194
