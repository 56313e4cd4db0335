"""A measurement turned into a probability."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import expit


@dataclass(frozen=True)
class Threshold:
    """A logistic step: probability one half at `middle`, `width` says how steep."""

    middle: float
    width: float

    def __call__(self, value: float) -> float:
        """Probability in [0, 1], rising with `value` for a positive width."""
        return float(expit((value - self.middle) / self.width))

    def against(self, value: float) -> float:
        """1 minus that probability, and not 0 before `value` is very far: the worse of two bad
        pictures stays the worse one."""
        return float(expit((self.middle - value) / self.width))
