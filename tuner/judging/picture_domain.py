"""Are the pictures of a folder drawings or photographs? The judges are calibrated for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metrics.contract import Domain
from metrics.domain import drawn_log_odds
from tuner.data.picture_file import read_pixels

MOST = 50
"""Pictures that are looked at, evenly spread: their mean is sure enough."""


def picture_domain(paths: Sequence[Path], drawn: bool | None = None) -> tuple[Domain, str]:
    """Return the kind of these pictures, and words that say so and why.

    `drawn` is what the user says; None: the mean over up to MOST of the pictures decides. Pictures
    that cannot be read do not count; without any, they are photographs.
    """
    if drawn is not None:
        return (
            ("drawn", "drawn as you say") if drawn else ("photographic", "photographic as you say")
        )
    chosen = [paths[int(i)] for i in np.linspace(0, len(paths) - 1, min(MOST, len(paths)))]
    odds = [value for path in chosen if (value := _log_odds(path)) is not None]
    if odds and float(np.mean(odds)) > 0:
        return "drawn", "taken as drawn (--photographic if they are not)"
    return "photographic", "taken as photographic (--drawn if they are not)"


def _log_odds(path: Path) -> float | None:
    try:
        return drawn_log_odds(np.asarray(read_pixels(path), np.uint8))
    except OSError:
        return None
