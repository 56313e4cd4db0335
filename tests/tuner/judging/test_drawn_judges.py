from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from metrics.judges import limbs, pose
from metrics.logistic import from_coefficients
from tuner.judging.fitting import drawn_judges
from tuner.judging.fitting.drawn_judges import (
    JUDGED,
    LOOKS,
    Judged,
    Row,
    figures,
    fitted,
    held_out,
    measured,
)

POSE, LIMBS = JUDGED


@pytest.fixture
def rows() -> list[Row]:
    """Return rows whose `unexplained` depends on the pose and whose `noise` does not."""
    rng = np.random.default_rng(0)
    drawn = []
    for index in range(240):
        readable = index % 3 > 0
        factors = {name: str(index % 4) for name in drawn_judges.FACTORS}
        factors["style"] = "first" if index % 5 else "second"
        posed = {"unexplained": rng.normal(0.1 if readable else 0.5, 0.1), "noise": rng.normal()}
        label = pose.READABLE if readable else "unreadable"
        drawn.append(Row(factors, "", label, True, posed, {}))
    return drawn


def test_a_fit_separates_evidence_from_noise(rows: list[Row]) -> None:
    model = from_coefficients(fitted(POSE, rows))
    assert model.features == ("unexplained", "noise")
    sound, spoilt = ({"unexplained": share, "noise": 0.0} for share in (0.1, 0.5))
    assert model(sound)[pose.READABLE] > 0.9
    assert model(spoilt)[pose.READABLE] < 0.4
    unexplained, noise = np.abs(model.weights[1])
    assert unexplained > 4 * noise


def test_what_is_held_out_is_not_fitted_on(
    rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[list[Row]] = []

    def recorded(judge: Judged, some: list[Row]) -> dict[str, Any]:
        fits.append(some)
        return fitted(judge, some)

    monkeypatch.setattr(drawn_judges, "fitted", recorded)
    scores = held_out(POSE, rows)
    assert set(scores) == set(drawn_judges.FACTORS)
    assert all(score["auc"] > 0.9 for score in scores.values())
    assert all(row.factors["style"] == "first" for some in fits for row in some)
    for some, value in zip(fits, "0123", strict=False):
        assert value not in {row.factors["arm_pose"] for row in some}


def test_faults_of_legs_are_not_judged_where_no_leg_shows(rows: list[Row]) -> None:
    classes = [limbs.SOUND, *limbs.ARM_FAULTS, *limbs.LEG_FAULTS]
    model = from_coefficients(
        {
            "classes": classes,
            "features": ["reach"],
            "middles": [0.0],
            "spreads": [1.0],
            "weights": [[0.0]] * 5,
            "biases": [0.0] * 5,
        }
    )
    row = Row(rows[0].factors, limbs.SOUND, "", False, {}, {"reach": 0.0})
    assert LIMBS.value(model, row) == pytest.approx(1 / 3)


def test_the_second_style_and_every_fault_are_among_the_pictures() -> None:
    drawn = figures(0, {"first": 96, "second": 4})
    assert Counter(figure.style for figure in drawn) == {"first": 96, "second": 4}
    assert {figure.clothed for figure in drawn} == {True, False}
    assert drawn == figures(0, {"first": 96, "second": 4})


@pytest.mark.slow
def test_figures_become_rows() -> None:
    drawn = measured(list(enumerate(figures(3, {"first": 8}))))
    kinds = Counter(row.readable for row in drawn)
    assert kinds[pose.READABLE] >= 14
    assert kinds["unreadable"] >= 2
    assert {row.factors["look"] for row in drawn} == {f"{size} {look}" for size, look in LOOKS}
    assert {row.limbs for row in drawn} >= {"", limbs.SOUND, "extra limb"}
