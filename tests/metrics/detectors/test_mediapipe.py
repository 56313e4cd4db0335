from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from metrics.contract import Image, JudgeSettings
from metrics.detectors import Detectors
from metrics.detectors.mediapipe import quiet_native


def test_landmarkers_work_and_keep_quiet(
    rendered: Callable[..., list[Image]], capfd: pytest.CaptureFixture[str]
) -> None:
    detectors = Detectors(JudgeSettings())
    images = rendered(3, 13, framing="full")
    people = [detectors.pose(image) for image in images]
    for image in images:
        detectors.hands(image)
    detectors.close()
    assert capfd.readouterr().err == ""
    for found in people:
        person = found[0]
        assert person.joints.shape == (33, 2)
        assert ((person.visibility >= 0) & (person.visibility <= 1)).all()
        assert person.mask.shape == (256, 256)
        assert 0.05 < (person.mask > 0.5).mean() < 0.5
        left, top, right, bottom = person.box
        assert 0 <= left < right <= 1
        assert bottom - top > 0.6


def test_a_mask_outlives_the_next_picture(
    detectors: Detectors, rendered: Callable[..., list[Image]]
) -> None:
    first, second = rendered(2, 14)
    mask = detectors.pose(first)[0].mask
    before = mask.copy()
    detectors.pose(second)
    assert np.array_equal(mask, before)


def test_python_errors_come_through_the_silence(capfd: pytest.CaptureFixture[str]) -> None:
    def fail_noisily() -> None:
        with quiet_native():
            print("native noise", file=sys.__stderr__, flush=True)
            raise RuntimeError("told")

    with pytest.raises(RuntimeError, match="told"):
        fail_noisily()
    print("after", file=sys.__stderr__, flush=True)
    assert "noise" not in capfd.readouterr().err
