"""Budgets in hours: what counts, when no further trial is begun, and how a study goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.plain_trials import ends, good, new_folder, session, study_config
from tuner.report.documents import study_state
from tuner.report.summary import print_time, state_line
from tuner.results import read_results
from tuner.space import StudyConfig, load_study, space_hash
from tuner.space.templates import shipped_spaces
from tuner.storage import Store, StudyFolder
from tuner.study import check_study, hours as module
from tuner.study.hours import RunClock, expected, no_time_left
from tuner.study.study import search, take_up

MINUTE = 60.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock.monotonic)
    return clock


def with_budget(config: StudyConfig, **changes: object) -> StudyConfig:
    return config.model_copy(update={"budget": config.budget.model_copy(update=changes)})


def run(config: StudyConfig, folder: StudyFolder, clock: Clock, each: float = 10 * MINUTE) -> int:
    """Run trials that take `each` seconds; return how many ended."""

    def slow(number: int, train: object) -> Iterator[object]:
        for outcome in good(folder)(number, train):  # type: ignore[arg-type]
            clock.now += each / 5
            yield outcome

    with session(config, folder) as opened:
        list(take_up(opened))
        return len(ends(list(search(opened, slow))))  # type: ignore[arg-type]


def test_trials_are_begun_as_long_as_one_fits(tmp_path: Path, clock: Clock) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    config = with_budget(config, trials=50, hours=1.05)
    assert run(config, folder, clock) == 6
    results = read_results(folder)
    assert results.is_over
    assert "finished" in state_line(study_state(folder, results))
    again = with_budget(config, hours=0.9)
    clock.now += 5 * 3600  # the time between two runs does not count
    assert run(again, folder, clock) == 0
    assert read_results(folder).is_over
    more = with_budget(config, hours=1.55)
    assert run(more, folder, clock) == 3
    assert read_results(folder).is_over
    assert space_hash(more) == space_hash(study_config(tmp_path))


def test_what_was_spent_is_said(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    run(with_budget(config, trials=50, hours=0.5), folder, clock)
    print_time(read_results(folder))
    said = capsys.readouterr().out
    assert said.startswith("time: 30 min of 30 min; of workers at work: 30 min; ")
    assert "`hours: 0.5` leaves no 10 min for another trial" in said


def test_the_time_of_the_confirmation_is_kept(tmp_path: Path, clock: Clock) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    config = with_budget(config, trials=50, hours=2.0, confirm=2, confirm_repeats=1)
    run(config, folder, clock)
    with Store(folder.results_db) as store:
        need = expected(config, store)
        assert need.trial == pytest.approx(10 * MINUTE, rel=0.2)
        assert need.confirmation > 2 * need.trial  # two trainings, and fresh samples
        (row,) = store.runs()
    assert row.seconds + need.confirmation <= 2 * 3600 < row.seconds + need.confirmation + 660


def test_a_killed_run_loses_half_a_minute_at_most(tmp_path: Path, clock: Clock) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    with session(config, folder) as opened:
        killed = RunClock(opened.store)
        for _ in range(10):
            clock.now += 29
            killed.tick(2)
        # It is never closed.
        (row,) = opened.store.runs()
        assert 290 - 30 <= row.seconds <= 290
        assert row.busy == pytest.approx(2 * row.seconds)
        assert RunClock(opened.store).row.number == 1


def test_the_hours_of_all_workers_are_summed(tmp_path: Path, clock: Clock) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    config = with_budget(config, gpu_hours=4.0)
    with session(config, folder) as opened:
        now = RunClock(opened.store)
        clock.now += 3600
        now.tick(3)
        assert no_time_left(config, opened.store, now.row, running=0) is None
        clock.now += 1800
        now.tick(2)
        reason = no_time_left(config, opened.store, now.row, running=0)
        assert reason is not None
        assert reason.startswith("`gpu_hours: 4` leaves no")
        assert no_time_left(with_budget(config, gpu_hours=5), opened.store, now.row, 0) is None


def test_before_the_first_trial_the_estimate_counts(tmp_path: Path, clock: Clock) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    config = with_budget(config, hours=0.0001)
    assert run(config, folder, clock) == 0
    assert read_results(folder).is_over


def test_running_trials_are_finished(tmp_path: Path, clock: Clock) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    assert run(with_budget(config, hours=0.01), folder, clock, each=3600) == 1
    assert [trial.state for trial in read_results(folder).trials] == ["complete"]


def test_a_check_says_how_many_trials_fit(tmp_path: Path) -> None:
    config = load_study(shipped_spaces()["pose"])
    whole = check_study(config, tmp_path, workers=2)
    hours = whole.kept_seconds / 3600
    short = with_budget(config, hours=hours / 2, gpu_hours=3 * hours)
    (line,) = set(check_study(short, tmp_path, workers=2).lines) - set(whole.lines)
    assert line.endswith("about 6 of the 12 trials fit, then the study ends")
