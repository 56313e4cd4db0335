from __future__ import annotations

import numpy as np
import pytest

from metrics.detectors.mediapipe import HandLandmarker
from metrics.detectors.models import ModelUnavailableError, fetch
from tuner.mannequin import draw
from tuner.mannequin.render import FINGER_SIZE, Figure, Truth, random_figure, truth


def hand_middles(facts: Truth) -> list[np.ndarray]:
    middles = []
    for side in ("left", "right"):
        elbow, wrist = (np.array(facts.joints[f"{side}_{part}"]) for part in ("elbow", "wrist"))
        middles.append(wrist + (wrist - elbow) / np.linalg.norm(wrist - elbow) * 0.06)
    return middles


@pytest.mark.parametrize("style", ["first", "second"])
def test_hands_reach_further_where_fingers_are_drawn(style: str) -> None:
    figure = Figure("male", arm_pose="t-pose", jitter=2, style=style)
    limbless = Figure("male", arm_pose="t-pose", jitter=2, style=style, limbs="missing arm")

    def reach(size: int) -> float:
        changed = np.abs(draw(figure, size).astype(int) - draw(limbless, size)).sum(axis=2) > 60
        columns = np.flatnonzero(changed.any(axis=0))
        return float(columns[-1] - columns[0]) / size

    assert reach(FINGER_SIZE) > reach(FINGER_SIZE - 8) + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("style", ["first", "second"])
def test_the_hand_landmarker_finds_hands_that_lie_in_the_frame(style: str) -> None:
    try:
        landmarker = HandLandmarker(fetch("hand_landmarker"))
    except ModelUnavailableError as reason:
        pytest.skip(str(reason))
    rng = np.random.default_rng(21)
    detected = expected = 0
    for _ in range(40):
        figure = random_figure(rng, style=style, framing="full")
        hands = [hand.joints.mean(axis=0) for hand in landmarker(draw(figure, 256))]
        for middle in hand_middles(truth(figure)):
            if (middle > 0.06).all() and (middle < 0.94).all():
                expected += 1
                detected += any(np.linalg.norm(middle - hand) < 0.1 for hand in hands)
    landmarker.close()
    assert expected > 40
    assert detected >= 0.9 * expected
