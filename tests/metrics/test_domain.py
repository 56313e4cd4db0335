from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metrics.contract import Image
from metrics.domain import drawn_log_odds
from tests.metrics.test_photographs import PHOTOGRAPHS
from tuner.judging.picture_domain import picture_domain


@pytest.mark.parametrize("style", ["first", "second"])
@pytest.mark.parametrize("size", [64, 256])
def test_drawn_figures_are_drawings(
    style: str, size: int, rendered: Callable[..., list[Image]]
) -> None:
    odds = [drawn_log_odds(image) for image in rendered(8, 5, size, style=style)]
    assert np.mean(odds) > 1.0
    assert np.mean(np.array(odds) > 0) >= 0.75


def test_photographs_are_none() -> None:
    paths = list(PHOTOGRAPHS.values())
    domain, why = picture_domain(paths)
    assert domain == "photographic"
    assert "--drawn" in why


def test_the_user_has_the_last_word() -> None:
    paths = list(PHOTOGRAPHS.values())
    assert picture_domain(paths, drawn=True)[0] == "drawn"
    assert picture_domain([], drawn=False)[0] == "photographic"


def test_a_picture_without_colours_is_measured_too() -> None:
    assert np.isfinite(drawn_log_odds(np.zeros((40, 40, 3), np.uint8)))
