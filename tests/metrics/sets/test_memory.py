from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metrics import open_detectors
from metrics.contract import Image, JudgeSettings
from metrics.sets.memory import MIN_IMAGES, Floats, copies, nearest, remember
from tuner.mannequin import draw
from tuner.mannequin.render import random_figure
from tuner.storage import shipped

needs_weights = pytest.mark.skipif(
    not (shipped.CLIP / "open_clip_model.safetensors").is_file(), reason="no weights here"
)


def directions(count: int, seed: int, spread: float = 1.0) -> Floats:
    rows = np.random.default_rng(seed).normal(0, spread, (count, 16)) + np.eye(16)[0]
    return unit(rows)


def unit(rows: npt.NDArray[np.float64]) -> Floats:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def figures(count: int, seed: int) -> list[Image]:
    rng = np.random.default_rng(seed)
    return [draw(random_figure(rng)) for _ in range(count)]


def recompressed(image: Image, quality: int = 85) -> Image:
    _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.slow
@needs_weights
def test_copies_of_renders_are_found_and_fresh_renders_are_not() -> None:
    trained, held_out, fresh = figures(100, 1), figures(40, 2), figures(40, 3)
    brighter = [np.clip(each.astype(int) + 4, 0, 255).astype(np.uint8) for each in trained[:20]]
    copied = brighter + [recompressed(each, 97) for each in trained[20:40]]
    with open_detectors(JudgeSettings(gender_model=str(shipped.CLIP), domain="drawn")) as judges:
        assert judges.embedding is not None
        memory = remember(judges.embedding(trained), judges.embedding(held_out))
        assert memory is not None
        found, control = copies(judges.embedding(copied), memory)
        fair, _ = copies(judges.embedding(fresh), memory)
        _, places = nearest(judges.embedding(brighter), memory.training)
    assert found.value is not None
    assert fair.value is not None
    assert control.value is not None
    assert found.value >= 0.85
    assert fair.value <= 0.075
    assert control.value <= 0.075
    assert (places == np.arange(20)).mean() >= 0.9, "and the right image is named"
    assert (found.n, control.n, found.note) == (40, 40, None)
    assert found.low is not None
    assert found.low > (fair.high or 0.0)


def test_the_threshold_is_that_of_the_training_images_themselves() -> None:
    trained = directions(300, 0)
    memory = remember(trained, directions(300, 1))
    assert memory is not None
    _, control = copies(trained[:1], memory)
    assert control.value is not None
    assert control.value < 0.04, "images of the same kind are copies as rarely as was asked"
    shares = [
        copies(unit(trained + by * directions(300, 2)), memory)[0].value for by in (0, 0.1, 2)
    ]
    assert shares[0] == shares[1] == 1.0
    assert (shares[2] or 0.0) < 0.5


def test_pictures_that_were_kept_twice_do_not_hide_copies() -> None:
    trained = directions(100, 0)
    twice = np.concatenate([trained, unit(trained[:30] + 0.001 * directions(30, 5))])
    once, doubled = remember(trained, trained[:0]), remember(twice, trained[:0])
    assert once is not None
    assert doubled is not None
    assert doubled.threshold == pytest.approx(once.threshold, abs=0.05)
    assert copies(unit(trained + 0.1 * directions(100, 6)), doubled)[0].value == 1.0


def test_without_held_out_images_the_score_says_so() -> None:
    memory = remember(directions(19, 0), np.zeros((0, 0), np.float32))
    assert memory is not None
    found, control = copies(directions(5, 1), memory)
    assert found.value is not None
    assert found.note == control.note == "no control: no image was held out"
    assert (control.value, control.low, control.high, control.n) == (None, None, None, 0)


def test_a_handful_of_images_has_no_distances_to_go_by() -> None:
    none = np.zeros((0, 0), np.float32)
    assert remember(directions(MIN_IMAGES - 1, 0), none) is None
    assert remember(directions(MIN_IMAGES, 0), none) is not None


def test_rows_are_compared_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = directions(50, 0)
    whole = remember(trained, trained[:0])
    monkeypatch.setattr("metrics.sets.memory._ROWS", 7)
    parts = remember(trained, trained[:0])
    assert whole is not None
    assert parts is not None
    assert parts.threshold == pytest.approx(whole.threshold, abs=1e-6)
