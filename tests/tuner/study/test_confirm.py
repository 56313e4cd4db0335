"""A confirmation with a real base, real training, real sampling and real rows; the judges' word is
the picture's brightness, as they have tests of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from metrics.contract import Objective
from tests.tuner.trained_study import (
    ASKED,
    BUDGET,
    PLAN,
    SUITE,
    as_strong,
    begun,
    confirming,
    parts,
)
from tuner.errors import DivergedError, OutOfMemoryError, TunerError
from tuner.events import Event, Phase, RepeatEnded, RepeatStarted
from tuner.export.lora import export
from tuner.models import read_file
from tuner.models.sampling import noise
from tuner.results import read_confirmation, read_results
from tuner.results.confirmation import candidates, chosen, finished, planned_samples
from tuner.results.winner import Candidate
from tuner.space import StudyConfig
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder
from tuner.study.confirm import ConfirmOptions, NothingToConfirmError, measure, planned
from tuner.study.hours import RunClock
from tuner.trial import Workbench
from tuner.trial.repeat import run_repeat


@pytest.fixture
def folder(trained: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of it."""
    return StudyFolder(shutil.copytree(trained.root, tmp_path / "small"))


@pytest.fixture
def store(folder: StudyFolder) -> Iterator[Store]:
    with Store(folder.results_db) as opened:
        yield opened


def test_everything_is_measured_on_noise_that_no_trial_saw(
    confirmed: tuple[StudyFolder, list[Event]], ended: Store, bench: Workbench
) -> None:
    folder, events = confirmed
    plan = ended.plan()
    assert plan is not None
    assert parts(events) == planned_samples(plan) == PLAN
    assert [one.places for one in events if isinstance(one, RepeatStarted)] == [5] * 5
    assert [one.name for one in events if isinstance(one, Phase)].count("train") == 2
    suite = SUITE.fresh(3)
    for part in PLAN:
        rows = ended.fresh_samples(part)
        assert [row.seed for row in rows] == [2, 3, 4] * 2
        assert all(row.path.is_file() for row in rows)
    first = [noise(bench.base.pipeline, SUITE, cell) for cell in range(4)]
    for cell in range(6):
        fresh = noise(bench.base.pipeline, suite, cell)
        assert not any(torch.equal(fresh, one) for one in first)
    found = read_confirmation(folder, read_results(folder))
    assert found is not None
    assert found.ranking is not None
    assert found.ranking.noise.keys() == {"pose", "quality"}
    assert {one.candidate.trial for one in found.ranking.ranked} == {0, 1}
    assert [one[0] for one in ended.phases(1)] == ["confirm", "confirm"]


def test_a_repeat_is_the_same_recipe_with_another_training_seed(
    confirmed: tuple[StudyFolder, list[Event]], ended: Store
) -> None:
    folder = confirmed[0]
    own = read_yaml(folder.trial(1).train_yaml)
    again = folder.repeat(1, 2, 1)
    assert read_yaml(again.train_yaml) == own.model_copy(update={"seed": 1001})
    rows = {(row.rung.trial, row.repeat): row for row in ended.fresh()}
    assert (rows[1, 0].seed, rows[1, 1].seed) == (1000, 1001)
    assert rows[1, 0].rung.lora == folder.trial(1).rung(2).lora.resolve()
    assert rows[1, 1].rung.lora == again.rung(2).lora.resolve()
    first, other = read_file(folder.trial(1).rung(2).lora), read_file(again.rung(2).lora)
    name = next(iter(first.modules))
    assert first.modules.keys() == other.modules.keys()
    assert not torch.equal(first.modules[name].down, other.modules[name].down)


def test_two_workers_measure_what_one_measures(
    store: Store, folder: StudyFolder, config: StudyConfig, benches: list[Workbench], ended: Store
) -> None:
    plan = begun(store, folder, config)
    runs = [partial(run_repeat, bench, folder) for bench in benches]
    events = list(measure(runs, folder, plan, BUDGET, RunClock(store)))
    assert [e.place for e in events if isinstance(e, RepeatStarted)] == [1, 2, 3, 4, 5]
    kinds = [type(event) for event in events if isinstance(event, RepeatStarted | RepeatEnded)]
    assert kinds[:2] == [RepeatStarted] * 2
    for mine, other in zip(store.fresh(), ended.fresh(), strict=True):
        assert (mine.sampled, mine.seed) == (other.sampled, other.seed)
        assert mine.rung.measures == other.rung.measures
        assert mine.rung.objectives == other.rung.objectives
        ours, theirs = (each.fresh_samples(mine.sampled) for each in (store, ended))
        assert [row.scores for row in ours] == [row.scores for row in theirs]


LATER = [pytest.param(stop, marks=pytest.mark.slow) for stop in (1, 2, 4, 5)]


@pytest.mark.parametrize("stop", [3, *LATER])
def test_what_was_measured_before_a_stop_is_not_measured_again(
    store: Store, folder: StudyFolder, config: StudyConfig, bench: Workbench, stop: int
) -> None:
    plan = begun(store, folder, config)
    before: list[Event] = []
    events = confirming(bench, folder, store, plan)
    for event in events:
        before.append(event)
        if isinstance(event, RepeatStarted) and event.place == stop:
            break
    events.close()  # type: ignore[attr-defined]
    assert len(finished(plan, store.fresh())) == stop - 1
    if stop < 5:
        choice = chosen(folder)
        assert choice.winner is None
        assert f"{stop - 1} of 5" in choice.why[-1]
    again = begun(store, folder, config)
    assert again == plan
    rest = list(confirming(bench, folder, store, again))
    assert parts(before) + parts(rest) == PLAN
    assert len(store.fresh()) == 5
    assert list(confirming(bench, folder, store, again)) == []


@pytest.mark.slow
def test_a_training_that_was_whole_is_not_done_again(
    store: Store, folder: StudyFolder, config: StudyConfig, bench: Workbench
) -> None:
    plan = begun(store, folder, config)
    events = confirming(bench, folder, store, plan)
    for event in events:
        if isinstance(event, Phase) and event.name == "sample" and event.trial == 1:
            lora = folder.repeat(1, 2, 1).rung(2).lora
            if lora.is_file():
                break
    events.close()  # type: ignore[attr-defined]
    written = lora.stat().st_mtime_ns
    rest = list(confirming(bench, folder, store, plan))
    assert parts(rest) == PLAN[2:]
    assert [e.trial for e in rest if isinstance(e, Phase) and e.name == "train"] == [0]
    assert lora.stat().st_mtime_ns == written


@pytest.mark.slow
def test_more_samples_are_drawn_for_all_and_fewer_change_nothing(
    store: Store, folder: StudyFolder, config: StudyConfig, bench: Workbench
) -> None:
    list(confirming(bench, folder, store, begun(store, folder, config)))
    fewer = planned(store, folder, config, ConfirmOptions(trials=1, samples=2, repeats=0))
    assert [(row.trial, row.repeats, row.seeds) for row in fewer] == [(1, 1, 3), (0, 1, 3)]
    more = planned(store, folder, config, ConfirmOptions(trials=1, samples=8, repeats=0))
    assert [(row.trial, row.repeats, row.seeds) for row in more] == [(1, 1, 4)]
    assert finished(more, store.fresh()) == {}


def test_a_candidate_is_the_rung_at_which_its_trial_was_strongest(
    store: Store, folder: StudyFolder
) -> None:
    results = read_results(folder)
    assert [(one.trial, one.step) for one in candidates(results, 3)] == [(1, 2), (0, 2)]
    last = store.rungs(1)[1]
    store.put_rung(as_strong(folder, 1, last, 0.05), [])
    # Trial 1 was stronger at step 1 than it ended.
    assert {(one.trial, one.step) for one in candidates(read_results(folder), 3)} == {
        (0, 2),
        (1, 1),
    }
    assert len(candidates(read_results(folder), 1)) == 1
    folder.trial(1).rung(1).lora.unlink()
    assert {(one.trial, one.step) for one in candidates(read_results(folder), 3)} == {
        (0, 2),
        (1, 2),
    }


def test_a_rung_that_breaks_a_limit_is_no_candidate(folder: StudyFolder) -> None:
    results = read_results(folder)
    limited = replace(results.study, constraints={"undressed_rate": 0.2})
    rungs = {
        number: [replace(rung, rates=undressed(0.3 if number == 1 else 0.1)) for rung in own]
        for number, own in results.rungs.items()
    }
    results = replace(results, study=limited, rungs=rungs)
    assert candidates(results, 3) == [Candidate(0, 2)]


def undressed(low: float) -> dict[str, Objective]:
    return {"undressed_rate": Objective("undressed_rate", low + 0.1, low, low + 0.2, 4, 4)}


def test_a_stronger_trial_that_came_later_is_reported(
    store: Store, folder: StudyFolder, config: StudyConfig, bench: Workbench
) -> None:
    plan = planned(store, folder, config, ConfirmOptions(trials=1, samples=6, repeats=0))
    store.put_plan(plan)
    list(confirming(bench, folder, store, plan))
    results = read_results(folder)
    found = read_confirmation(folder, results)
    assert found is not None
    assert found.newer == ()
    store.put_rung(as_strong(folder, 0, store.rungs(0)[1], 0.8), [])
    found = read_confirmation(folder, read_results(folder))
    assert found is not None
    assert [one.trial for one in found.newer] == [0]
    assert "trial 0 at step 2, stronger by now" in chosen(folder).why[-1]


def test_a_study_without_a_complete_trial_has_nothing_to_confirm(
    store: Store, folder: StudyFolder, config: StudyConfig
) -> None:
    store.end_trial(0, "infeasible", "undressed")
    store.end_trial(1, "pruned", "diverged")
    with pytest.raises(NothingToConfirmError, match="nothing to confirm"):
        planned(store, folder, config, ASKED)


@pytest.mark.slow
def test_a_training_that_diverges_is_reported_and_not_tried_again(
    store: Store,
    folder: StudyFolder,
    config: StudyConfig,
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def diverging(*_: object) -> Iterator[Event]:
        raise DivergedError("the loss is nan")
        yield

    monkeypatch.setattr("tuner.trial.repeat.train", diverging)
    plan = begun(store, folder, config)
    events = list(confirming(bench, folder, store, plan))
    reasons = {(e.trial, e.repeat): e.reason for e in events if isinstance(e, RepeatEnded)}
    assert reasons[1, 1] == reasons[0, 1] == "diverged: the loss is nan"
    found = read_confirmation(folder, read_results(folder))
    assert found is not None
    assert found.ranking is not None
    assert found.ranking.noise == {}
    assert all(one.failed == ("diverged: the loss is nan",) for one in found.ranking.ranked)
    assert list(confirming(bench, folder, store, plan)) == []


def test_too_little_memory_is_reported_in_one_line(
    store: Store,
    folder: StudyFolder,
    config: StudyConfig,
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> Iterator[Event]:
        raise OutOfMemoryError("2 GiB wanted")
        yield

    monkeypatch.setattr("tuner.trial.repeat.train", full)
    with pytest.raises(TunerError, match="the same command again"):
        list(confirming(bench, folder, store, begun(store, folder, config)))
    assert len(store.fresh()) == 2


@pytest.mark.slow
def test_export_takes_the_confirmed_winner_and_says_why(
    store: Store, folder: StudyFolder, config: StudyConfig, bench: Workbench, tmp_path: Path
) -> None:
    assert chosen(folder).winner is None
    assert "not confirmed" in chosen(folder).why[-1]
    list(confirming(bench, folder, store, begun(store, folder, config)))
    choice = chosen(folder)
    assert choice.winner is not None
    assert (choice.trial, choice.step) == (
        choice.winner.candidate.trial,
        choice.winner.candidate.step,
    )
    assert "6 fresh samples" in choice.why[0]
    assert any("undressed_rate: not shown to be kept" in line for line in choice.why)
    out = tmp_path / "best.safetensors"
    export(folder, choice.trial, out, choice=choice)
    metadata = read_file(out).metadata
    assert choice.why[0] in metadata["tuner.confirmed"]
    pose = choice.winner.objectives["pose"]
    assert metadata["tuner.pose"] == f"{pose.value:.4f} [{pose.low:.4f}, {pose.high:.4f}]"
    plain = tmp_path / "plain.safetensors"
    export(folder, 0, plain)
    assert read_file(plain).metadata["tuner.confirmed"] == "no"
