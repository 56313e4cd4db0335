from __future__ import annotations

import json
import math

import numpy as np
import pytest

from metrics import version
from metrics.judges import limbs, pose
from metrics.logistic import CALIBRATION, coefficients, from_coefficients, read_logistic
from metrics.scoring import JUDGES
from metrics.version import judge_version

BY_HAND = {
    "classes": ["sound", "short", "long"],
    "features": ["length"],
    "middles": [1.0],
    "spreads": [0.5],
    "weights": [[0.0], [-2.0], [2.0]],
    "biases": [1.0, 0.0, 0.0],
}


def test_probabilities_by_hand() -> None:
    found = from_coefficients(BY_HAND)({"length": 1.5, "more": 9.0})
    whole = math.exp(1) + math.exp(-2) + math.exp(2)
    assert found == pytest.approx(
        {"sound": math.exp(1) / whole, "short": math.exp(-2) / whole, "long": math.exp(2) / whole}
    )


def test_classes_that_are_not_asked_take_no_share() -> None:
    found = from_coefficients(BY_HAND)({"length": 1.5}, ("sound", "short"))
    assert found["sound"] == pytest.approx(1 / (1 + math.exp(-3)))
    assert sum(found.values()) == pytest.approx(1.0)
    assert "long" not in found


def test_far_measurements_stay_probabilities() -> None:
    found = from_coefficients(BY_HAND)({"length": 1e6})
    assert found["long"] == pytest.approx(1.0)
    assert all(np.isfinite(list(found.values())))


def test_lists_that_do_not_fit_together_are_reported() -> None:
    with pytest.raises(ValueError, match="3 classes, 1 features"):
        from_coefficients({**BY_HAND, "biases": [0.0]})


@pytest.mark.parametrize("name", ["pose", "limbs"])
def test_the_shipped_coefficients_tell_how_good_they_are(name: str) -> None:
    whole = json.loads((CALIBRATION / f"{name}.json").read_text("utf-8"))
    assert len(whole["version"]) == 12
    assert {"arm_pose", "top", "ground", "framing", "look", "style"} == set(whole["held_out"])
    for factor, report in whole["held_out"].items():
        assert report["auc"] >= 0.85, (name, factor)
    model = read_logistic(name)
    assert (pose.READABLE if name == "pose" else limbs.SOUND) in model.classes


def test_coefficients_are_part_of_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions() -> dict[str, str]:
        version._version.cache_clear()
        return {judge.name: judge_version(judge, "drawn") for judge in JUDGES}

    before = versions()
    changed = {**coefficients("limbs"), "biases": [0.0]}
    monkeypatch.setattr(
        version, "coefficients", lambda name: changed if name == "limbs" else coefficients(name)
    )
    after = versions()
    version._version.cache_clear()
    assert {name for name in before if before[name] != after[name]} == {"limbs"}
