from __future__ import annotations

import numpy as np
import pytest

from tuner.mannequin import draw
from tuner.mannequin.figure import ARM_POSES, CLOTH_COLOURS, SKINS
from tuner.mannequin.render import Figure, random_figure, truth


@pytest.mark.parametrize("size", [48, 64, 256])
def test_equal_figures_give_equal_pictures_of_the_given_size(size: int) -> None:
    figure = random_figure(np.random.default_rng(3))
    picture = draw(figure, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, draw(figure, size))


def test_jitter_alone_changes_the_picture() -> None:
    first, second = Figure("female", jitter=1), Figure("female", jitter=2)
    assert not np.array_equal(draw(first), draw(second))


@pytest.mark.parametrize("arm_pose", ARM_POSES)
@pytest.mark.parametrize("framing", ["full", "half"])
def test_head_and_torso_are_in_the_frame(arm_pose: str, framing: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        joints = truth(random_figure(rng, arm_pose=arm_pose, framing=framing)).joints
        for name in ("nose", "neck", "left_shoulder", "right_shoulder"):
            assert all(0 < coordinate < 1 for coordinate in joints[name]), name


def test_ankles_are_in_the_frame_of_full_bodies_only() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        full = truth(random_figure(rng, framing="full")).joints
        half = truth(random_figure(rng, framing="half")).joints
        assert 0 < full["left_ankle"][1] < 1
        assert half["left_ankle"][1] > 1


def test_the_torso_has_the_colour_of_the_clothes_or_of_the_skin() -> None:
    rng = np.random.default_rng(7)
    for _ in range(30):
        dressed = random_figure(rng, framing="half", arm_pose="arms spread", skin=0)
        x, y = np.mean([truth(dressed).joints[f"{s}_shoulder"] for s in ("left", "right")], axis=0)
        torso = draw(dressed, 128)[int((y + 0.16) * 128), int(x * 128)].astype(int)
        cloth = np.array(CLOTH_COLOURS[dressed.top_colour])
        skin = np.array(SKINS[0])
        assert np.abs(torso - cloth).sum() < np.abs(torso - skin).sum()


@pytest.mark.parametrize(
    ("limbs", "arms", "legs"),
    [("normal", 2, 2), ("extra arm", 3, 2), ("missing arm", 1, 2), ("missing leg", 2, 1)],
)
def test_truth_counts_the_limbs_that_are_drawn(limbs: str, arms: int, legs: int) -> None:
    facts = truth(Figure("male", limbs=limbs))
    assert (facts.arms, facts.legs) == (arms, legs)
    assert facts.corruption == (None if limbs == "normal" else limbs)


def test_a_missing_arm_leaves_ground_where_the_arm_was() -> None:
    whole = Figure("male", arm_pose="t-pose", jitter=11)
    broken = Figure("male", arm_pose="t-pose", jitter=11, limbs="missing arm")
    changed = np.abs(draw(whole, 128).astype(int) - draw(broken, 128)).sum(axis=2) > 60
    assert changed.mean() > 0.01
    assert min(changed[:, :64].mean(), changed[:, 64:].mean()) < 0.002


def test_undressed_figures_carry_no_clothes_tags() -> None:
    figure = Figure("female", clothed=False)
    assert figure.clothes_tags == ()
    assert not set(CLOTH_COLOURS) & {word for tag in figure.tags for word in tag.split()} - {
        "black"  # the hair's
    }


def test_blocks_and_blur_change_what_they_should() -> None:
    clean = Figure("female", jitter=4)
    block = Figure("female", jitter=4, block=0.25)
    blurred = Figure("female", jitter=4, blur=0.03)
    changed = (draw(clean).astype(int) != draw(block)).any(axis=2).mean()
    assert 0.03 < changed <= 0.0626
    assert np.abs(np.diff(draw(blurred).astype(int), axis=1)).mean() < 0.6 * (
        np.abs(np.diff(draw(clean).astype(int), axis=1)).mean()
    )
