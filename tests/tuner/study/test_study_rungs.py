"""Trials that do not go on at a rung: real Optuna, real results.db; trials are plain generators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note
from optuna_dashboard._serializer import serialize_frozen_trial

from metrics.contract import Objective
from tests.tuner.plain_trials import BLACK, SPACE, ends, new_folder, rung, session
from tuner.errors import ConfigError
from tuner.events import Event, Phase, RungScored
from tuner.report.dashboard import add_notes
from tuner.results.results import front, read_results, recommended
from tuner.space import StudyConfig, TrainConfig, load_study
from tuner.storage import StudyFolder
from tuner.storage.rows import RungRow
from tuner.study.optuna_study import SOUND
from tuner.study.study import RunTrial, search, take_up
from tuner.trial import Rung

Point = tuple[float, float]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return new_folder(tmp_path)


def config(folder: StudyFolder, trials: int, *settings: str) -> StudyConfig:
    path = folder.root.parent / "pose.yaml"
    path.write_text(SPACE)
    return load_study(path, trials=trials, set_values=["budget.keep=0.5", *settings])


def at(folder: StudyFolder, number: int, step: int, point: Point, undressed: float = 0.0) -> Rung:
    """A rung with those values of pose and gender."""
    objectives = {
        name: Objective(name, value, value - 0.1, value + 0.1, 2, 2)
        for name, value in zip(("pose", "gender"), point, strict=True)
    }
    return replace(rung(folder, number, step, point[0], undressed), objectives=objectives)


def pointed(folder: StudyFolder, points: Mapping[int, Point], **rates: float) -> RunTrial:
    """Trials that stand at their point from the first rung on."""

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        for step in (10, 20):
            yield at(folder, number, step, points[number], **rates)

    return run


FOUR_AND_TWO = dict(
    enumerate([(0.5, 0.5), (0.6, 0.4), (0.4, 0.6), (0.1, 0.1), (0.9, 0.9), (0.2, 0.2)])
)


def test_the_poor_stop_once_there_are_enough(folder: StudyFolder) -> None:
    settings = config(folder, 6)
    with session(settings, folder) as study:
        events = list(search(study, pointed(folder, FOUR_AND_TWO)))
        trials = study.memory.trials
        best = {one.number for one in study.memory.best_trials}
        third = study.store.rungs(3)
    assert ends(events) == [
        (0, "complete", None),
        (1, "complete", None),
        (2, "complete", None),
        (3, "stopped", "behind at step 10: place 4 of 4, the best 2 go on"),
        (4, "complete", None),
        (5, "stopped", "behind at step 10: place 5 of 6, the best 3 go on"),
    ]
    assert [one.step for one in third] == [10]
    # The sampler is told what was measured, and that it is worse than all that came through.
    assert {one.state for one in trials} == {TrialState.COMPLETE}
    assert trials[3].values == [0.1, 0.1]
    assert trials[3].constraints[SOUND] == pytest.approx(2 / 4)
    assert trials[5].constraints[SOUND] == pytest.approx(2 / 6)
    assert trials[4].constraints[SOUND] == 0
    # A Gaussian process refuses trials with more constraints than others.
    assert len({frozenset(one.constraints) for one in trials}) == 1
    assert best == {4}
    results = read_results(folder)
    assert results.finished == 6
    assert [one.trial.number for one in front(results)] == [4]
    assert folder.trial(3).done.read_text() == "stopped\n"


def test_what_a_stopped_trial_cost_is_kept(folder: StudyFolder) -> None:
    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        for step in (10, 20):
            for phase in ("train", "sample", "score"):
                yield Phase(phase, number)  # type: ignore[arg-type]
            yield at(folder, number, step, FOUR_AND_TWO[number])

    with session(config(folder, 4), folder) as study:
        list(search(study, run))
        phases = [[name for name, _ in study.store.phases(number)] for number in (2, 3)]
    assert phases == [["train", "sample", "score"] * 2, ["train", "sample", "score"]]


def test_the_dashboard_shows_a_stopped_trial_as_stopped(folder: StudyFolder) -> None:
    with session(config(folder, 4), folder) as study:
        list(search(study, pointed(folder, FOUR_AND_TWO)))
        add_notes(study.memory, folder)
        note = get_note(optuna.Trial(study.memory, study.memory.trials[3]._trial_id))
        shown = serialize_frozen_trial(study.memory._study_id, study.memory.trials[3], {})
    assert note.startswith("# Trial 3: stopped\n\nbehind at step 10: place 4 of 4")
    assert "step 10" in note
    # Above 0 is what its Pareto plot draws in grey.
    assert max(shown["constraints"]) == pytest.approx(0.5)


def test_a_stopped_trial_is_never_the_answer(folder: StudyFolder) -> None:
    # It leads where it was stopped: the others came down after their first rung.
    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        yield at(folder, number, 10, (0.9, 0.9) if number else (0.8, 0.8), undressed=0.5)
        yield at(folder, number, 20, (0.1, 0.1))

    settings = config(folder, 2)
    with session(settings, folder) as study:
        events = list(search(study, run))
        assert study.memory.best_trials == []
    reason = "over a limit at step 10: undressed_rate is at least 0.50, allowed 0.15"
    assert ends(events) == [(0, "stopped", reason), (1, "stopped", reason)]
    with pytest.raises(ConfigError, match="no trial of pose is complete"):
        recommended(read_results(folder))


def test_a_limit_that_the_base_breaks_too_may_still_be_reached(folder: StudyFolder) -> None:
    grid = folder.base / "grid.png"
    rate = Objective("undressed_rate", 0.4, 0.3, 0.5, 52, 52)
    base = RungRow(None, 0, {}, {"undressed_rate": rate}, None, grid)

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        yield at(folder, number, 10, (0.5, 0.5), undressed=[0.3, 0.45][number])
        yield at(folder, number, 20, (0.5, 0.5), undressed=[0.0, 0.0][number])

    settings = config(folder, 2)
    with session(settings, folder) as study:
        study.store.put_rung(base, [])
        events = list(search(study, run))
    assert [state for _, state, _ in ends(events)] == ["complete", "stopped"]


def test_whoever_breaks_a_limit_is_behind_all_that_keep_it(folder: StudyFolder) -> None:
    rate = Objective("undressed_rate", 0.9, 0.8, 1.0, 52, 52)
    base = RungRow(None, 0, {}, {"undressed_rate": rate}, None, folder.base / "grid.png")

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        point, undressed = ((0.9, 0.9), 0.5) if number == 3 else ((0.1 + 0.1 * number, 0.5), 0.0)
        yield at(folder, number, 10, point, undressed)
        yield at(folder, number, 20, point)

    settings = config(folder, 4)
    with session(settings, folder) as study:
        study.store.put_rung(base, [])
        *_, last = ends(list(search(study, run)))
    assert last == (3, "stopped", "behind at step 10: place 4 of 4, the best 2 go on")


def test_only_rungs_of_the_same_cells_are_compared(folder: StudyFolder) -> None:
    # The first three have their last rung at step 10, and the whole suite there.
    settings = config(folder, 4, "train.steps={choices: [10, 20]}", "budget.low_rung_seeds=1")

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        whole = at(folder, number, 10, (0.9, 0.9))
        if train.steps == 10:
            yield whole
            return
        low = replace(at(folder, number, 10, (0.1, 0.1)), seeds=1)
        yield replace(low, scored=[low.scored[0]] * 13)
        yield at(folder, number, 20, (0.5, 0.5))

    with session(settings, folder) as study:
        for steps in (10, 10, 10, 20):
            study.memory.enqueue_trial({"steps": steps, "rank": 4, "learning_rate": 1e-3})
        events = list(search(study, run))
        cells = [one.cell for one in study.store.samples(3, 10)]
        (low, last) = study.store.rungs(3)
    assert [state for _, state, _ in ends(events)] == ["complete"] * 4
    assert (low.seeds, last.seeds) == (1, None)
    # The places that the same prompts and seeds have in the whole suite of four seeds.
    assert cells == [4 * prompt for prompt in range(13)]


def test_who_broke_down_or_is_done_again_is_no_rival(folder: StudyFolder) -> None:
    black = rung(folder, 0, 10, image=BLACK)

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        if number < 2:
            yield replace(
                at(folder, number, 10, (0.9, 0.9)), scored=black.scored, failure=black.failure
            )
        yield at(folder, number, 10, (0.5 - 0.1 * number, 0.5))
        yield at(folder, number, 20, (0.5, 0.5))

    settings = config(folder, 6)
    with session(settings, folder) as study:
        events = list(search(study, run))
    assert [state for _, state, _ in ends(events)] == ["pruned"] * 2 + ["complete"] * 3 + [
        "stopped"
    ]


def test_a_measure_without_a_number_compares_with_nothing(folder: StudyFolder) -> None:
    points = {number: (0.9, 0.9) for number in range(4)} | {4: (math.nan, 0.1), 5: (0.1, 0.1)}

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        yield at(folder, number, 10, points[number])
        yield at(folder, number, 20, (0.5, 0.5))

    settings = config(folder, 6)
    with session(settings, folder) as study:
        events = list(search(study, run))
    assert [state for _, state, _ in ends(events)] == ["complete"] * 5 + ["stopped"]
    assert "place 5 of 5" in str(ends(events)[-1][2])


def by_parameters(folder: StudyFolder) -> RunTrial:
    """Trials whose points follow from what they are trained with, whatever their number."""

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        rate = math.log10(train.learning_rate / 1e-4) / 2
        point = (1 - abs(rate - 0.5), 1 - 0.04 * train.rank * rate)
        yield at(folder, number, 10, point)
        yield at(folder, number, 20, (0.9 * point[0], point[1]))

    return run


def states_of(folder: StudyFolder) -> list[tuple[object, str, str | None]]:
    return [
        (one.parameters, one.state, one.reason)
        for one in read_results(folder).trials
        if one.state != "interrupted"
    ]


@pytest.mark.slow
def test_a_study_that_was_killed_decides_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, broken = (new_folder(tmp_path / name) for name in ("whole", "broken"))
    settings = config(whole, 14)
    with session(settings, whole) as study:
        list(search(study, by_parameters(whole)))
    # A generator that is dropped without being closed is what a kill leaves behind. Here it comes
    # when a rung is stored and what follows from it is told to nobody.
    lost, left = [], [3, 2, 4, 1]
    settings = config(broken, 14)
    while left:
        kill_at = left.pop()
        with session(settings, broken) as study:
            list(take_up(study))
            events = search(study, by_parameters(broken))
            low = (one for one in events if isinstance(one, RungScored) and one.step == 10)
            for _ in range(kill_at):
                next(low)
            lost.append((events, low))
    with session(settings, broken) as study:
        list(take_up(study))
        list(search(study, by_parameters(broken)))
        states = {one.state for one in study.memory.trials}
    assert states_of(broken) == states_of(whole)
    assert {state for _, state, _ in states_of(whole)} == {"complete", "stopped"}
    assert states == {TrialState.COMPLETE, TrialState.FAIL}
    assert [one.trial.parameters for one in front(read_results(broken))] == [
        one.trial.parameters for one in front(read_results(whole))
    ]


def test_killed_after_optuna_was_told_that_a_trial_stopped(folder: StudyFolder) -> None:
    settings = config(folder, 6)
    with session(settings, folder) as study:
        list(search(study, pointed(folder, FOUR_AND_TWO)))
        study.store.end_trial(3, "running")
    with session(settings, folder) as study:
        assert list(take_up(study)) == []
        row = study.store.trials()[3]
    assert row.state == "stopped"
    assert row.reason == "behind at step 10: place 4 of 4, the best 2 go on"


def test_who_goes_on_may_be_changed_while_a_study_is_under_way(folder: StudyFolder) -> None:
    with session(config(folder, 3), folder) as study:
        list(search(study, pointed(folder, FOUR_AND_TWO)))
    with session(config(folder, 6, "budget.keep=1"), folder) as study:
        events = list(search(study, pointed(folder, FOUR_AND_TWO)))
    assert [state for _, state, _ in ends(events)] == ["complete"] * 3
    fewer = config(folder, 6, "budget.low_rung_seeds=2")
    with pytest.raises(ConfigError, match="another search space"), session(fewer, folder):
        pass
