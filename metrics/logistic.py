"""A few named measurements turned into probabilities: logistic regressions, fitted elsewhere.

Coefficients lie in `calibration/NAME.json`, made by `python -m tuner.mannequin.fit_judges`; here
they are only read, with numpy.
"""

from __future__ import annotations

import functools
import json
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
        """The probability of each class, adding up to 1; of those in `among`, where it is given.

        Raises KeyError where a measurement is missing.
        """
        values = np.array([measured[name] for name in self.features], np.float64)
        odds = self.weights @ ((values - self.middles) / self.spreads) + self.biases
        asked = [i for i, name in enumerate(self.classes) if among is None or name in among]
        shares = np.exp(odds[asked] - odds[asked].max())
        shares /= shares.sum()
        return {self.classes[i]: float(share) for i, share in zip(asked, shares, strict=True)}


@functools.cache
def read_logistic(name: str) -> Logistic:
    """The fitted regression of a judge, as shipped. Raises FileNotFoundError for none."""
    return from_coefficients(coefficients(name))


def coefficients(name: str) -> Mapping[str, list[object]]:
    """What of `calibration/NAME.json` a score depends on; the rest says how it was made."""
    whole = json.loads((CALIBRATION / f"{name}.json").read_text(encoding="utf-8"))
    found: Mapping[str, list[object]] = whole["coefficients"]
    return found


def from_coefficients(found: Mapping[str, list[object]]) -> Logistic:
    """A regression from its lists. Raises ValueError where their lengths do not fit together."""
    classes = tuple(str(name) for name in found["classes"])
    features = tuple(str(name) for name in found["features"])
    middles, spreads, weights, biases = (
        np.asarray(found[key], np.float64) for key in ("middles", "spreads", "weights", "biases")
    )
    shapes = (middles.shape, spreads.shape, weights.shape, biases.shape)
    count = len(features)
    if shapes != ((count,), (count,), (len(classes), count), (len(classes),)):
        raise ValueError(f"coefficients of {len(classes)} classes, {count} features: {shapes}")
    return Logistic(classes, features, middles, spreads, weights, biases)
