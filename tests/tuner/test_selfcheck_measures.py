from __future__ import annotations

from typing import Any

import pytest

from metrics.contract import Score
from tuner.cases import SOUND, WRONG_SEX
from tuner.selfcheck import (
    Answer,
    EqualError,
    area_under_curve,
    equal_error,
    measures,
    spearman,
)
from tuner.selfcheck_report import print_measures


def answer(kind: str, value: float | None, source: int = 0, **more: Any) -> Answer:
    seen = more.pop("evidence", {})
    score = Score("sharp", value, "unclear" if value is None else None, seen)
    about = {"group": "g", "strength": 0.0, "seconds": 0.5, "judge": "sharp"} | more
    return Answer(source=source, kind=kind, score=score, **about)


@pytest.mark.parametrize(
    ("faulty", "sound", "area"),
    [
        ([0.1, 0.2], [0.8, 0.9], 1.0),
        ([0.8, 0.9], [0.1, 0.2], 0.0),
        ([0.5], [0.5, 0.5], 0.5),
        ([0.1, 0.6], [0.5, 0.6], (2 + 0.5) / 4),
        ([], [0.5], None),
        ([0.5], [], None),
    ],
)
def test_area_under_the_curve_by_hand(
    faulty: list[float], sound: list[float], area: float | None
) -> None:
    assert area_under_curve(faulty, sound) == area


@pytest.mark.parametrize(
    ("women", "men", "expected"),
    [
        ([0.9, 0.8], [0.1, 0.2], (0.5, 0.0, 4)),
        # A model that takes men for women: the place lies above one half.
        ([0.99, 0.97, 0.9, 0.8], [0.1, 0.6, 0.7, 0.85], (0.825, 0.25, 8)),
        ([0.9], [], None),
        ([0.5], [0.5], None),
    ],
)
def test_women_and_men_are_parted_where_errors_are_equal(
    women: list[float], men: list[float], expected: tuple[float, float, int] | None
) -> None:
    found = equal_error(women, men)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.threshold, found.error, found.n) == pytest.approx(expected)


def test_the_equal_error_is_of_sound_pictures_and_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for place, (asked, female) in enumerate(
        [("female", 0.9), ("female", 0.8), ("male", 0.6), ("male", 0.3)]
    ):
        seen = {"asked": asked, "female": female}
        told.append(answer(SOUND, None, place, judge="gender", evidence=seen))
        told.append(answer(WRONG_SEX, None, place, judge="gender", evidence={**seen, "female": 0}))
    (found,) = measures(told)
    assert found.sexes == EqualError(pytest.approx(0.7), 0.0, 4)
    print_measures([found])
    assert "0.0% of 4, where a woman is one from 0.7 on" in capsys.readouterr().out


def test_spearman_by_hand() -> None:
    assert spearman([0, 1, 2], [0.9, 0.5, 0.1]) == pytest.approx(-1.0)
    assert spearman([0, 1, 2], [0.1, 0.5, 0.9]) == pytest.approx(1.0)
    assert spearman([0, 1, 2, 3], [4, 3, 1, 2]) == pytest.approx(-0.8)
    assert spearman([0, 1, 2], [0.5, 0.5, 0.5]) == 0.0


def test_a_measure_counts_what_was_answered() -> None:
    asked = [answer(SOUND, value, n) for n, value in enumerate((0.9, 0.8, 0.4, None))]
    asked += [answer("blur", 0.3, n, strength=0.1, seconds=9.0) for n in range(3)]
    asked += [answer("blur", 0.2, n, strength=0.2, seconds=9.0) for n in range(2)]
    asked += [answer("blur", None, 3, strength=0.2, seconds=9.0)]
    (one,) = measures(asked)
    assert (one.group, one.judge, one.seconds) == ("g", "sharp", 0.5)
    assert (one.asked, one.abstained, one.reasons) == (10, 2, {"unclear": 2})
    assert one.false_alarms.value == pytest.approx(1 / 3)
    assert (one.false_alarms.n, one.false_alarms.total) == (3, 4)
    assert (one.found.value, one.found.n, one.found.total, one.auc) == (1.0, 5, 6, 1.0)
    assert [(fault.kind, fault.strength, fault.found.n) for fault in one.faults] == [
        ("blur", 0.1, 3),
        ("blur", 0.2, 2),
    ]
    (ladder,) = one.ladders
    assert (ladder.kind, ladder.pictures, ladder.falls) == ("blur", 2, True)
    assert ladder.spearman == pytest.approx(-1.0)


def test_a_ladder_that_turns_back_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    steps = ((0.1, 0.2), (0.2, 0.3))
    asked = [answer(SOUND, 0.9), *(answer("blur", value, strength=at) for at, value in steps)]
    (one,) = measures(asked)
    assert not one.ladders[0].falls
    print_measures([one])
    out = capsys.readouterr().out
    assert "-0.500 !" in out
    assert "blur 0.1" in out


@pytest.mark.parametrize(
    ("values", "told", "falls"),
    [
        ((0.9, 0.4, 0.0, 0.0), -1.0, True),  # nothing lies below the least value
        ((0.9, 0.0, 0.0, 0.0), -1.0, True),
        ((0.9, 0.0, 0.0, 0.5), -0.316, False),  # it came back: all rungs count
        ((0.0, 0.0, 0.0, 0.0), 0.0, True),
    ],
)
def test_a_ladder_ends_at_the_least_value(
    values: tuple[float, ...], told: float, falls: bool
) -> None:
    sound, *rungs = values
    asked = [answer(SOUND, sound)]
    asked += [answer("blur", value, strength=at) for at, value in enumerate(rungs, 1)]
    (ladder,) = measures(asked)[0].ladders
    assert (ladder.spearman, ladder.falls) == (pytest.approx(told, abs=1e-3), falls)


def test_what_was_never_asked_has_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = measures([answer(SOUND, None, group="[bold]"), answer(SOUND, None, group="[bold]")])
    assert (one.auc, one.faults, one.ladders) == (None, (), ())
    print_measures([one])
    out = capsys.readouterr().out
    assert "[bold]" in out
    row = next(line.split() for line in out.splitlines() if line.split()[:1] == ["sharp"])
    assert row == ["sharp", "-", "-", "-", "-", "-", "2", "of", "2", "0.500"]
    assert "sharp abstained: unclear (2)" in out
