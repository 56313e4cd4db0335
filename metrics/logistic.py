"""Logistic regressions that turn a few named measurements into probabilities.

Their coefficients are stored in `calibration/NAME.json`, fitted by `python -m
tuner.judging.fitting.drawn_judges`; here they are only read, with numpy.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

CALIBRATION = Path(__file__).parent / "calibration"


@dataclass(frozen=True)
class Logistic:
    """A multinomial logistic regression over standardised measurements.

    `weights` (classes, features) and `biases` (classes,) give log odds up to a constant;
    `middles` and `spreads` (features,) standardise the measurements first.
    """

    classes: tuple[str, ...]
    features: tuple[str, ...]
    middles: npt.NDArray[np.float64]
    spreads: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    biases: npt.NDArray[np.float64]

    def __call__(
        self, measured: Mapping[str, float], among: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Return the probability of each class, or of those in `among`, adding up to 1.

        Raises KeyError where a measurement is missing.
        """
        values = np.array([measured[name] for name in self.features], np.float64)
        odds = self.weights @ ((values - self.middles) / self.spreads) + self.biases
        chosen = [i for i, name in enumerate(self.classes) if among is None or name in among]
        shares = np.exp(odds[chosen] - odds[chosen].max())
        shares /= shares.sum()
        return {self.classes[i]: float(share) for i, share in zip(chosen, shares, strict=True)}


MOST_SURE = 0.995
"""Probability beyond which log odds grow no further, for measurements of a regression."""


def log_odds(probability: float) -> float:
    """Return the logarithm of the odds, within those of MOST_SURE on both sides."""
    bounded = min(MOST_SURE, max(1.0 - MOST_SURE, probability))
    return math.log(bounded / (1.0 - bounded))


def rebalanced(probability: float, threshold: float | None) -> float:
    """Return a probability with `threshold` moved to one half; None leaves it unchanged.

    Its odds are divided by those of the threshold, so that 0 stays 0, 1 stays 1 and the order of
    values stays. A model that takes men for women more often than women for men, for example, has a
    threshold above one half: the one at which both errors are equally frequent.
    """
    if threshold is None:
        return probability
    for_it, against_it = probability * (1.0 - threshold), (1.0 - probability) * threshold
    return for_it / (for_it + against_it)


@functools.cache
def read_logistic(name: str) -> Logistic:
    """Read the fitted regression of a judge. Raises FileNotFoundError if there is none."""
    return from_coefficients(coefficients(name))


def coefficients(name: str) -> Mapping[str, list[object]]:
    """Read the part of `calibration/NAME.json` that scores depend on; the rest is its origin."""
    whole = json.loads((CALIBRATION / f"{name}.json").read_text(encoding="utf-8"))
    lists: Mapping[str, list[object]] = whole["coefficients"]
    return lists


def from_coefficients(lists: Mapping[str, list[object]]) -> Logistic:
    """Build a regression from its lists. Raises ValueError where their lengths do not fit."""
    classes = tuple(str(name) for name in lists["classes"])
    features = tuple(str(name) for name in lists["features"])
    middles, spreads, weights, biases = (
        np.asarray(lists[key], np.float64) for key in ("middles", "spreads", "weights", "biases")
    )
    shapes = (middles.shape, spreads.shape, weights.shape, biases.shape)
    count = len(features)
    if shapes != ((count,), (count,), (len(classes), count), (len(classes),)):
        raise ValueError(f"coefficients of {len(classes)} classes, {count} features: {shapes}")
    return Logistic(classes, features, middles, spreads, weights, biases)
