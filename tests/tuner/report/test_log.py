"""Logs for other programs, read back with the programs' own packages where they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from metrics.contract import Measure, Objective
from tuner.cli.logs import study_logs
from tuner.errors import ConfigError, TunerError
from tuner.events import Event, Progress, RungScored, TrialEnded, TrialStarted, TrialState, Warned
from tuner.report.log import MOST_SIDE, logged
from tuner.storage import StudyFolder

PARAMETERS = {"rank": 8, "learning_rate": 0.001, "alias": None}
POSE = {"pose": Objective("pose", 0.5, 0.25, 0.75, 9, 10)}
EFFECT = {"effect": Measure("effect", None, None, None, 0, 3, "not measured")}
STEPS = {5: 0.5, 10: 0.25}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "pose")
    folder.create()
    return folder


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.png"
    PIL.Image.new("RGB", (200, MOST_SIDE * 2), "red").save(path)
    return path


def events(grid: Path, *trials: int) -> Generator[Event, None, None]:
    yield RungScored(None, 0, POSE, {}, grid, None, EFFECT)
    for trial in trials:
        yield TrialStarted(trial, PARAMETERS)
        for step, loss in [*STEPS.items(), (5, 9.0)]:  # at last the worker begins again
            yield Progress(step, 10, 4.0, loss, 0.001, trial)
        yield Progress(1, 13, 4.0, trial=trial)
        yield RungScored(trial, 10, POSE, {}, grid, None, EFFECT)
        yield TrialEnded(trial, "complete")
        yield Progress(10, 10, 4.0, 7.0, trial=trial)  # of a confirmation


class Notes:
    """A run that keeps what it gets."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.ends: list[tuple[str, str | None]] = []

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        self.rows.append((step, {"height": picture.height}))

    def close(self, state: TrialState, reason: str | None) -> None:
        self.ends.append((state, reason))


def test_events_pass_through_and_each_step_is_written_once(grid: Path) -> None:
    runs: dict[int | None, Notes] = {}

    def begin(trial: int | None, parameters: Mapping[str, object]) -> Notes:
        return runs.setdefault(trial, Notes())

    sent = list(events(grid, 3))
    assert list(logged(events(grid, 3), begin)) == sent
    rung = {"objectives/pose": 0.5, "intervals/pose_low": 0.25, "intervals/pose_high": 0.75}
    training = {"train/learning_rate": 0.001, "train/steps_per_second": 4.0}
    assert runs[3].rows == [
        *((step, {"train/loss": loss} | training) for step, loss in STEPS.items()),
        (10, rung),
        (10, {"height": MOST_SIDE}),
    ]
    assert runs[None].rows == [(0, rung), (0, {"height": MOST_SIDE})]
    assert runs[3].ends == runs[None].ends == [("complete", None)]


def test_a_trial_that_is_tried_again_is_written_without_going_back(grid: Path) -> None:
    notes = Notes()

    def again() -> Generator[Event, None, None]:
        yield TrialStarted(3, PARAMETERS)
        for done in (12, 5, 10):
            yield Progress(done, 20, 4.0, 0.5, 0.001, 3)
        for step in (10, 10, 20):
            yield RungScored(3, step, POSE, {}, grid, None, EFFECT)

    list(logged(again(), lambda trial, parameters: notes))
    assert [step for step, _ in notes.rows] == [12, 12, 12, 20, 20]


def test_a_study_that_is_stopped_closes_its_runs_and_its_events(grid: Path) -> None:
    closed, notes = [], Notes()

    def endless() -> Iterator[Event]:
        try:
            yield TrialStarted(0, {})
            while True:
                yield Progress(1, 10, 4.0, 0.5, trial=0)
        finally:
            closed.append(True)

    following: Any = logged(endless(), lambda trial, parameters: notes)
    next(following), next(following), following.close()
    assert (closed, notes.ends) == ([True], [("interrupted", None)])


def test_a_run_that_cannot_be_opened_is_a_warning_and_the_study_goes_on(grid: Path) -> None:
    def begin(trial: int | None, parameters: Mapping[str, object]) -> Notes:
        raise TunerError(f"trial {trial} is not logged")

    told = [one for one in logged(events(grid, 3), begin) if isinstance(one, Warned)]
    assert told == [Warned("trial None is not logged"), Warned("trial 3 is not logged")]


@pytest.mark.parametrize("program", ["tensorboard", "wandb"])
def test_a_package_that_is_missing_is_one_line(
    program: str, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"^--log {program} needs .*'tuner\[{program}\]'"):
        study_logs([program], folder)


def test_another_program_is_refused(folder: StudyFolder) -> None:
    with pytest.raises(ConfigError, match=r"^--log 'mlflow': allowed: tensorboard, wandb$"):
        study_logs(["mlflow"], folder)


def test_tensorboard_reads_a_run_for_each_trial(folder: StudyFolder, grid: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for trial in (3, 4):  # the second time the study is continued: its base is there already
        (log,) = study_logs(["tensorboard", "tensorboard"], folder)
        assert len(list(log(events(grid, trial)))) == len(list(events(grid, trial)))
    place = folder.logs / "tensorboard"
    assert sorted(run.name for run in place.iterdir()) == ["base", "trial_0003", "trial_0004"]
    assert all(len(list(run.iterdir())) == 1 for run in place.iterdir())
    read = EventAccumulator(str(place / "trial_0003")).Reload()
    loss = [(point.step, point.value) for point in read.Scalars("train/loss")]
    assert loss == list(STEPS.items())
    assert [point.value for point in read.Scalars("intervals/pose_high")] == [0.75]
    assert "measures/effect" not in read.Tags()["scalars"]
    (picture,) = read.Images("grid")
    assert (picture.step, picture.width, picture.height) == (10, 100, MOST_SIDE)
    assert {"_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(
        read.summary_metadata
    )
    data = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"trial_0003" in data
    assert all(name.encode() in data for name in PARAMETERS)


@pytest.mark.slow
def test_wandb_writes_a_run_for_each_trial_without_a_network(
    folder: StudyFolder, grid: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setattr("sys.argv", ["tuner", "run", "--storage", "postgresql://me:s3cret@db/lora"])
    for trial in (3, 4):
        (log,) = study_logs(["wandb"], folder)
        list(log(events(grid, trial)))
    place = folder.logs / "wandb"
    files = {path.name.split("-")[1]: path for path in place.glob("offline-run-*/run-*.wandb")}
    assert sorted(files) == ["base", "trial_0003", "trial_0004"]
    assert len(list(place.glob("offline-run-*/run-*.wandb"))) == 3
    text = files["trial_0003"].read_bytes()
    for name in ("train/loss", "objectives/pose", "learning_rate", "state", "complete", "pose"):
        assert name.encode() in text, name
    assert list(files["trial_0003"].parent.rglob("grid*.jpg"))
    everything = [path.read_bytes() for path in folder.root.rglob("*") if path.is_file()]
    assert not [each for each in everything if b"0123456789" * 4 in each or b"s3cret" in each]
    assert capfd.readouterr() == ("", "")
