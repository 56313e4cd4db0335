"""A logistic regression fitted to measurements, as metrics/logistic.py reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuner.storage.files import write_text

SOUND_WEIGHT = 4.0
"""Weight of all sound pictures against all others: a false alarm costs a good LoRA."""
C = 0.1
"""Inverse strength of the ridge penalty; 1 overfits to the pictures of one source."""


def fit_logistic(
    measured: Sequence[Mapping[str, float]],
    truths: Sequence[str],
    classes: Sequence[str],
    sound: str,
    sound_weight: float = SOUND_WEIGHT,
    penalty: float = C,
) -> dict[str, Any]:
    """Fit a regression of the classes on the measurements; return its coefficients as lists.

    All pictures of the class `sound` together weigh `sound_weight` times as much as all others;
    `penalty` is the inverse strength of the ridge penalty.
    """
    from sklearn.linear_model import LogisticRegression

    is_sound = np.array([truth == sound for truth in truths])
    weights = np.where(is_sound, sound_weight * (~is_sound).sum() / is_sound.sum(), 1.0)
    features = tuple(measured[0])
    values = np.array([[row[name] for name in features] for row in measured])
    middles, spreads = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-3)
    numbers = [list(classes).index(truth) for truth in truths]
    model = LogisticRegression(C=penalty, max_iter=3000)
    model.fit((values - middles) / spreads, numbers, sample_weight=weights / weights.mean())
    odds, biases = model.coef_, model.intercept_
    if len(classes) == 2:  # scikit-learn keeps the odds of the second class alone
        odds, biases = np.vstack([0 * odds, odds]), np.r_[0.0, biases]
    arrays = {"middles": middles, "spreads": spreads, "weights": odds, "biases": biases}
    lists = {name: np.round(value, 5).tolist() for name, value in arrays.items()}
    return {"classes": list(classes), "features": list(features), **lists}


def write_calibration(file: Path, whole: Mapping[str, Any]) -> None:
    """Write the coefficients and their origin as the JSON that metrics/logistic.py reads."""
    write_text(file, json.dumps(whole, indent=1) + "\n")
