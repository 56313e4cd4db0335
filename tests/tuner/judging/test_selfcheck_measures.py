from __future__ import annotations

from typing import Any

import pytest

from metrics.contract import Score
from tuner.judging import judge_reports
from tuner.judging.cases import SOUND, WRONG_SEX
from tuner.judging.selfcheck import CaseScore, EqualError, area_under_curve, equal_error, spearman
from tuner.judging.selfcheck_report import print_reports


def case_score(kind: str, value: float | None, source: int = 0, **more: Any) -> CaseScore:
    evidence = more.pop("evidence", {})
    score = Score("sharp", value, "unclear" if value is None else None, evidence)
    about = {"group": "g", "strength": 0.0, "seconds": 0.5, "judge": "sharp"} | more
    return CaseScore(source=source, kind=kind, score=score, **about)


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
    result = equal_error(women, men)
    if expected is None:
        assert result is None
    else:
        assert result is not None
        assert (result.threshold, result.error, result.n) == pytest.approx(expected)


def test_the_equal_error_is_of_sound_pictures_and_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = []
    for source, (sex, female) in enumerate(
        [("female", 0.9), ("female", 0.8), ("male", 0.6), ("male", 0.3)]
    ):
        evidence = {"asked": sex, "female": female}
        scores.append(case_score(SOUND, None, source, judge="gender", evidence=evidence))
        other = {**evidence, "female": 0}
        scores.append(case_score(WRONG_SEX, None, source, judge="gender", evidence=other))
    (report,) = judge_reports(scores)
    assert report.sexes == EqualError(pytest.approx(0.7), 0.0, 4)
    print_reports([report])
    assert "equally often (0.0% of 4) with judges.sex_threshold 0.7" in capsys.readouterr().out


def test_spearman_by_hand() -> None:
    assert spearman([0, 1, 2], [0.9, 0.5, 0.1]) == pytest.approx(-1.0)
    assert spearman([0, 1, 2], [0.1, 0.5, 0.9]) == pytest.approx(1.0)
    assert spearman([0, 1, 2, 3], [4, 3, 1, 2]) == pytest.approx(-0.8)
    assert spearman([0, 1, 2], [0.5, 0.5, 0.5]) == 0.0


def test_a_report_counts_the_scores() -> None:
    scores = [case_score(SOUND, value, n) for n, value in enumerate((0.9, 0.8, 0.4, None))]
    scores += [case_score("blur", 0.3, n, strength=0.1, seconds=9.0) for n in range(3)]
    scores += [case_score("blur", 0.2, n, strength=0.2, seconds=9.0) for n in range(2)]
    scores += [case_score("blur", None, 3, strength=0.2, seconds=9.0)]
    (report,) = judge_reports(scores)
    assert (report.group, report.judge, report.seconds) == ("g", "sharp", 0.5)
    assert (report.pictures, report.abstained, report.reasons) == (10, 2, {"unclear": 2})
    assert report.false_alarms.value == pytest.approx(1 / 3)
    assert (report.false_alarms.n, report.false_alarms.total) == (3, 4)
    assert (report.found.value, report.found.n, report.found.total, report.auc) == (1.0, 5, 6, 1.0)
    assert [(fault.kind, fault.strength, fault.found.n) for fault in report.faults] == [
        ("blur", 0.1, 3),
        ("blur", 0.2, 2),
    ]
    (ladder,) = report.ladders
    assert (ladder.kind, ladder.pictures, ladder.falls) == ("blur", 2, True)
    assert ladder.spearman == pytest.approx(-1.0)


def test_a_ladder_that_turns_back_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    steps = ((0.1, 0.2), (0.2, 0.3))
    scores = [
        case_score(SOUND, 0.9),
        *(case_score("blur", value, strength=at) for at, value in steps),
    ]
    (report,) = judge_reports(scores)
    assert not report.ladders[0].falls
    print_reports([report])
    out = capsys.readouterr().out
    assert "-0.500 !" in out
    assert "blur 0.1" in out


@pytest.mark.parametrize(
    ("values", "correlation", "falls"),
    [
        ((0.9, 0.4, 0.0, 0.0), -1.0, True),  # nothing lies below the least value
        ((0.9, 0.0, 0.0, 0.0), -1.0, True),
        ((0.9, 0.0, 0.0, 0.5), -0.316, False),  # it came back: all rungs count
        ((0.0, 0.0, 0.0, 0.0), 0.0, True),
    ],
)
def test_a_ladder_ends_at_the_least_value(
    values: tuple[float, ...], correlation: float, falls: bool
) -> None:
    sound, *rungs = values
    scores = [case_score(SOUND, sound)]
    scores += [case_score("blur", value, strength=at) for at, value in enumerate(rungs, 1)]
    (ladder,) = judge_reports(scores)[0].ladders
    assert (ladder.spearman, ladder.falls) == (pytest.approx(correlation, abs=1e-3), falls)


def test_a_judge_without_a_value_has_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    (report,) = judge_reports(
        [case_score(SOUND, None, group="[bold]"), case_score(SOUND, None, group="[bold]")]
    )
    assert (report.auc, report.faults, report.ladders) == (None, (), ())
    print_reports([report])
    out = capsys.readouterr().out
    assert "[bold]" in out
    row = next(line.split() for line in out.splitlines() if line.split()[:1] == ["sharp"])
    assert row == ["sharp", "-", "-", "-", "-", "-", "2", "of", "2", "0.500"]
    assert "sharp abstained: unclear (2)" in out
