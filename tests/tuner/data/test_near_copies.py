"""Near copies among rendered figures, which are more alike than photographs."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image as Pictures

from metrics.contract import Image
from tuner.data.near_copies import NEAR, fingerprint, first_near, near_copies
from tuner.mannequin.dataset import VARIANTS, pictures


@pytest.fixture(scope="module")
def figures() -> list[Image]:
    return [picture for picture, _ in pictures(VARIANTS["matted"], 30)]


def _saved(picture: Image, quality: int) -> Image:
    file = io.BytesIO()
    Pictures.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Pictures.open(file), np.uint8)


def test_different_figures_on_one_ground_are_no_copies(figures: list[Image]) -> None:
    assert near_copies([fingerprint(figure) for figure in figures]) == []


def test_copies_are_found_and_belong_to_the_first_one(figures: list[Image]) -> None:
    changed = [
        _saved(figures[3], 60),
        cv2.resize(figures[7], (64, 64), interpolation=cv2.INTER_AREA),
        np.clip(figures[9] * 1.15 + 8.0, 0, 255).astype(np.uint8),
        cv2.resize(_saved(figures[3], 75), (384, 384), interpolation=cv2.INTER_CUBIC),
    ]
    prints = [fingerprint(figure) for figure in (*figures, *changed)]
    assert near_copies(prints) == [(3, 30), (7, 31), (9, 32), (3, 33)]
    assert first_near(prints[33], prints[:30]) == 3
    assert first_near(prints[5], prints[:5]) is None
    assert first_near(prints[5], []) is None


def test_the_table_in_pieces_is_the_table_whole() -> None:
    """Compare more pictures than fit in one piece with the plain count of differing bits."""
    random = np.random.default_rng(0)
    prints = list(random.integers(0, 256, (1100, 32), dtype=np.uint8))
    prints[700] = prints[650].copy()
    prints[1099] = prints[2].copy()
    prints[1099][0] ^= 0b11
    bits = np.unpackbits(np.stack(prints), axis=1).astype(np.int32)
    differing = bits @ (1 - bits).T + (1 - bits) @ bits.T
    expected = [
        (int(np.argmax(row[:index] <= NEAR)), index)
        for index, row in enumerate(differing)
        if (row[:index] <= NEAR).any()
    ]
    assert near_copies(prints) == expected == [(650, 700), (2, 1099)]
    assert near_copies([]) == []
