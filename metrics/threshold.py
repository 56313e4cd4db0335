"""A measurement turned into a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A logistic step: probability one half at `middle`, `width` says how steep."""

    middle: float
    width: float

    def __call__(self, value: float) -> float:
        """Probability in [0, 1], rising with `value` for a positive width."""
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, (value - self.middle) / self.width))))
