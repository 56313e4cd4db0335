"""Several trials at a time: plain generators first, then real workers."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from tests.tuner.plain_trials import ends, good, new_folder, raising, session, study_config
from tests.tuner.tiny_space import write_space
from tuner.cli.live import View, panel, plain_lines
from tuner.errors import ConfigError, TooManyFailuresError
from tuner.events import Event, Phase, Progress, RungScored, TrialEnded, TrialStarted
from tuner.results import read_results
from tuner.space import StudyConfig, TrainConfig, load_study
from tuner.storage import StudyFolder
from tuner.storage.fresh_rows import BASE, FreshSample
from tuner.study import run_study
from tuner.study.memory.scalar import ScalarSampler
from tuner.study.samplers import sampler_of
from tuner.study.study import RunTrial, search
from tuner.study.turns import Outcomes, Piece, one_turn
from tuner.trial import Rung
from tuner.trial.messages import BaseNeeded, Idle, Outcome
from tuner.worker.share import Part, device_of


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return study_config(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return new_folder(tmp_path)


def slowly(run: RunTrial) -> RunTrial:
    """The trial with nothing new for a while before each thing that happens."""

    def slow(number: int, train: TrainConfig) -> Iterator[Outcome]:
        for outcome in run(number, train):
            yield from [Idle()] * 3
            yield outcome

    return slow


def most_running(events: list[Event]) -> int:
    running, most = set(), 0
    for event in events:
        if isinstance(event, TrialStarted):
            running.add(event.trial)
        if isinstance(event, TrialEnded):
            running.remove(event.trial)
        most = max(most, len(running))
    return most


@pytest.mark.parametrize(("trials", "runs", "most"), [(4, 2, 2), (4, 3, 3), (2, 4, 2), (1, 3, 1)])
def test_a_budget_is_spent_to_the_last_trial_and_no_further(
    trials: int, runs: int, most: int, config: StudyConfig, folder: StudyFolder
) -> None:
    budget = config.budget.model_copy(update={"trials": trials})
    config = config.model_copy(update={"budget": budget})
    with session(config, folder) as study:
        events = list(search(study, *[slowly(good(folder))] * runs))
        assert [one.state for one in study.memory.trials] == [TrialState.COMPLETE] * trials
        assert [name for name, _ in study.store.phases(trials - 1)] == ["train", "sample"]
    assert sorted(one.number for one in read_results(folder).trials) == list(range(trials))
    assert most_running(events) == most
    assert not [one for one in events if isinstance(one, Idle)]
    reported = {one.trial for one in events if isinstance(one, Progress)}
    assert reported == set(range(trials))


def test_a_slow_trial_keeps_no_other_waiting(config: StudyConfig, folder: StudyFolder) -> None:
    def slow_first(number: int, train: TrainConfig) -> Iterator[Outcome]:
        yield from [Idle()] * (40 if number == 0 else 0)
        yield from good(folder)(number, train)

    with session(config, folder) as study:
        events = list(search(study, slow_first, slow_first))
    assert [trial for trial, *_ in ends(events)] == [1, 2, 0]


def of_base(error: Exception | None = None) -> Outcomes:
    """Work on the base that takes a while, and ends with its scores or with `error`."""
    yield Phase("base")
    yield from [Idle()] * 9
    if error:
        raise error
    yield RungScored(None, 0, {}, {}, Path("grid"))
    return None


def needing(run: RunTrial) -> RunTrial:
    """The trial, which needs the base's scores for each of its rungs."""

    def needs(number: int, train: TrainConfig) -> Iterator[Outcome]:
        for outcome in run(number, train):
            if isinstance(outcome, Rung):
                yield BaseNeeded()
            yield outcome

    return needs


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_trials_train_while_the_base_is_scored_and_are_scored_after_it(
    runs: int, config: StudyConfig, folder: StudyFolder
) -> None:
    with session(config, folder) as study:
        events = list(search(study, *[needing(good(folder))] * runs, base=of_base()))
    scored = [event.trial for event in events if isinstance(event, RungScored)]
    at = next(place for place, event in enumerate(events) if isinstance(event, RungScored))
    trained = [event.trial for event in events[:at] if isinstance(event, Progress)]
    assert scored[0] is None
    assert sorted(trained) == list(range(runs - 1))
    assert read_results(folder).finished == 3


def test_a_base_that_fails_ends_the_study_and_queues_what_was_trained(
    config: StudyConfig, folder: StudyFolder
) -> None:
    run, base = needing(good(folder)), of_base(ConfigError("no pictures"))
    with session(config, folder) as study:
        with pytest.raises(ConfigError, match="no pictures"):
            list(search(study, run, run, base=base))
        assert [one.state for one in study.memory.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_who_has_no_trial_left_begins_with_the_next_work(
    config: StudyConfig, folder: StudyFolder
) -> None:
    rest: list[Piece] = []

    def followed() -> Generator[Event, None, None]:
        runs = [slowly(good(folder)), good(folder)]
        rest.extend((yield from search(study, *runs, early=[of_base(), of_base()])))

    with session(config, folder) as study:
        events = list(followed())
    (piece,) = rest
    assert (piece.place, piece.trial) == (1, None)
    assert events.index(Phase("base")) < len(events) - 1
    assert not [event for event in events if isinstance(event, RungScored) and event.trial is None]
    assert [type(outcome) for outcome in piece.outcomes][-1] is RungScored


def test_work_that_needs_the_bases_scores_does_not_wait_for_itself() -> None:
    def fresh() -> Outcomes:
        yield BaseNeeded()
        yield Phase("base")
        return None

    running = [
        Piece(0, of_base(), None),
        Piece(1, fresh(), None, BASE),
        Piece(2, fresh(), 7, FreshSample(7, 150, 0)),
    ]
    events: list[Event] = []
    for _ in range(20):
        events += list(one_turn(running))
    assert running == []
    assert [type(event) for event in events] == [Phase, RungScored, Phase, Phase]


def test_what_stops_one_trial_queues_all_that_ran_again(
    config: StudyConfig, folder: StudyFolder
) -> None:
    with session(config, folder) as study, pytest.raises(KeyboardInterrupt):
        list(search(study, slowly(good(folder)), raising(folder, KeyboardInterrupt(), at=1)))
    with session(config, folder) as study:
        before = study.memory.trials
        states = [one.state for one in before]
        assert states == [TrialState.FAIL] * 2 + [TrialState.WAITING] * 2
        again = [one.system_attrs["fixed_params"] for one in before[2:]]
        assert sorted(map(str, again)) == sorted(str(one.params) for one in before[:2])
        list(search(study, good(folder), good(folder)))
        complete = [one for one in study.memory.trials if one.state == TrialState.COMPLETE]
        assert len(complete) == 3
    assert read_results(folder).finished == 3


def test_three_failures_in_a_row_end_the_others_too(
    config: StudyConfig, folder: StudyFolder
) -> None:
    def broken(number: int, train: TrainConfig) -> Iterator[Outcome]:
        yield Phase("train", number)
        raise RuntimeError("no such thing")

    def endless(number: int, train: TrainConfig) -> Iterator[Outcome]:
        while True:
            yield Idle()

    with session(config, folder) as study:
        with pytest.raises(TooManyFailuresError, match="3 trials in a row failed"):
            list(search(study, endless, broken))
        states = [one.state for one in study.memory.trials]
    assert TrialState.RUNNING not in states


def test_trees_keep_away_from_trials_that_still_run(config: StudyConfig) -> None:
    for beside in (True, False):
        on_strength = sampler_of(config, 0, 0, beside)
        assert isinstance(on_strength, ScalarSampler)
        on_all = sampler_of(config.model_copy(update={"sampler": "tpe"}), 0, 0, beside)
        for trees in (on_strength._inner, on_all):
            assert isinstance(trees, TPESampler)
            assert trees._constant_liar == beside


@pytest.mark.parametrize(
    ("place", "visible", "device"),
    [(0, "0,1", "0"), (1, "0,1", "1"), (2, "0,1", "0"), (1, "3, 5", "5"), (1, "GPU-a", "GPU-a")],
)
def test_each_worker_sees_one_device(place: int, visible: str, device: str) -> None:
    assert device_of(Part(place, 3), visible) == device


def test_each_trial_has_a_bar_of_its_own() -> None:
    view = View("pose", 12, ("pose",))
    events: list[Event] = [Phase("load"), RungScored(None, 0, {}, {}, Path("grid"))]
    for number in (0, 1):
        events += [TrialStarted(number, {}), Phase("train", number)]
    events += [Progress(5, 20, 2.0, 0.5, trial=0), Progress(9, 20, 2.0, 0.25, trial=1)]
    clock = iter(range(0, 1000, 31))
    lines = list(plain_lines(view, events, now=lambda: float(next(clock))))
    fixed = "every parameter is fixed"
    assert lines[2:4] == [f"trial 0 (1/12): {fixed}", f"trial 1 (2/12): {fixed}"]
    assert lines[4:] == [
        "trial 0, training, 5/20 steps, 2.0/s, loss 0.500",
        "trial 1, training, 9/20 steps, 2.0/s, loss 0.250",
    ]
    assert [doing.progress and doing.progress.done for doing in view.now.values()] == [5, 9]
    panel(view)
    view.update(TrialEnded(0, "complete"))
    assert list(view.now) == [(1, 0)]


def assert_alike(first: str, second: str) -> None:
    """A worker alone has more threads, whose sums are rounded otherwise in the last digits."""
    number = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
    assert number.sub("", first) == number.sub("", second)
    one, other = ([float(found) for found in number.findall(text)] for text in (first, second))
    assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.slow
def test_two_workers_give_what_one_gives_though_one_of_them_is_killed(tmp_path: Path) -> None:
    space = write_space(tmp_path)
    config = load_study(space, trials=3, set_values=["sampler=random"])
    found, killed = {}, []
    for workers in (1, 2):
        folder = StudyFolder(tmp_path / f"with_{workers}" / "faults")
        alive, events = 0, []
        for event in run_study(config, folder, workers=workers):
            events.append(event)
            children = multiprocessing.active_children()
            alive = max(alive, len(children))
            if len(children) == 2 and not killed and most_running(events) == 2:
                killed.append(children[0])
                children[0].kill()
        assert alive == workers
        assert most_running(events) == workers
        assert multiprocessing.active_children() == []
        assert sorted(state for _, state, _ in ends(events)) == ["complete"] * 3
        results = read_results(folder)
        trials = {
            one.number: f"{one.parameters} {results.rungs[one.number]}" for one in results.trials
        }
        found[workers] = {k: v.replace(str(folder.root), "") for k, v in trials.items()}
    assert killed
    for number, alone in found[1].items():
        assert_alike(alone, found[2][number])
