"""A measurement turned into a probability."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import expit


@dataclass(frozen=True)
class Threshold:
    """A logistic step: probability one half at `middle`; a small `width` makes it steep."""

    middle: float
    width: float

    def __call__(self, value: float) -> float:
        """Return a probability in [0, 1], rising with `value` for a positive width."""
        return float(expit((value - self.middle) / self.width))

    def against(self, value: float) -> float:
        """Return 1 minus that probability.

        It stays above 0 until `value` is very far from the middle, so that the worse of two bad
        pictures has the lower score.
        """
        return float(expit((self.middle - value) / self.width))
