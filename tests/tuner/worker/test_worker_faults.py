"""Studies whose worker is killed, stopped, starved or given broken weights, on real workers.

The study runs in this process, and what goes wrong is real: signals, a memory limit, a full disk, a
lock, weights that are no numbers.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import get_args

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tuner.tiny_space import write_space
from tuner.cli.errors import user_errors
from tuner.errors import DiskError, TunerError
from tuner.events import Event, Phase, Progress, Retried, RungScored, TrialEnded
from tuner.models.lora_file import payload_sha256
from tuner.results import read_results
from tuner.space import StudyConfig, load_study
from tuner.space.train_config import Targets, read_yaml
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow
from tuner.study import run_study
from tuner.worker.worker import Patience

pytestmark = pytest.mark.slow

ALL_LAYERS = get_args(Targets)[-1]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_space(tmp_path_factory.mktemp("space"))


def one_trial(space: Path, *settings: str, trials: int = 1) -> StudyConfig:
    return load_study(space, trials=trials, set_values=settings)


def worker() -> int:
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    return process.pid


def followed(events: Iterator[Event], act: Callable[[Event], None]) -> list[Event]:
    """All events, with `act` done after each."""
    passed = []
    for event in events:
        passed.append(event)
        act(event)
    return passed


def rungs(folder: StudyFolder, number: int) -> list[RungRow]:
    with Store(folder.results_db, read_only=True) as store:
        return store.rungs(number)


def ends(events: list[Event]) -> list[tuple[int, str]]:
    return [(one.trial, one.state) for one in events if isinstance(one, TrialEnded)]


def told_of(events: list[Event]) -> str:
    return "; ".join(str(one) for one in events if isinstance(one, TrialEnded | Retried))


def retries(events: list[Event]) -> list[str]:
    return [one.reason for one in events if isinstance(one, Retried)]


@pytest.fixture(scope="module")
def undisturbed(space: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    folder = StudyFolder(tmp_path_factory.mktemp("calm") / "faults")
    assert ends(list(run_study(one_trial(space), folder))) == [(0, "complete")]
    assert multiprocessing.active_children() == []
    return folder


def test_a_worker_that_hangs_or_is_killed_costs_the_rung_and_changes_nothing(
    space: Path, tmp_path: Path, undisturbed: StudyFolder
) -> None:
    folder = StudyFolder(tmp_path / "faults")
    plan: list[str | int] = ["sample", 1, "score", 2]
    written: list[int] = []
    stopped: list[int] = []

    def harm(event: Event) -> None:
        if isinstance(event, Progress) and event.loss is not None and not stopped:
            stopped.append(worker())
            os.kill(stopped[0], signal.SIGSTOP)
            return
        scored = isinstance(event, RungScored) and event.trial == 0
        at = event.step if isinstance(event, RungScored) else getattr(event, "name", None)
        if stopped and plan and at == plan[0] and (scored or event == Phase(at, 0)):  # type: ignore[arg-type]
            plan.pop(0)
            (process,) = multiprocessing.active_children()
            process.kill()
            process.join()
        if scored and at == 1:
            written.append(folder.trial(0).rung(1).grid.stat().st_mtime_ns)

    patience = Patience(floor=8.0, unknown=250.0)
    events = followed(run_study(one_trial(space), folder, patience), harm)
    assert plan == []
    assert ends(events) == [(0, "complete")]
    hung, *killed = retries(events)
    assert hung.startswith("the worker gave no sign of life for ")
    assert not psutil.pid_exists(stopped[0])
    assert killed == [
        "the worker was killed (SIGKILL) while sampling; a new one continues from the start",
        "the worker was killed (SIGKILL) while waiting; a new one continues after step 1",
        "the worker was killed (SIGKILL) while scoring; a new one continues after step 1",
        "the worker was killed (SIGKILL) while waiting; the trial's rungs are complete",
    ]
    assert folder.trial(0).rung(1).grid.stat().st_mtime_ns == written[0]
    assert [one.step for one in events if isinstance(one, RungScored)] == [0, 1, 2]
    for mine, other in zip(rungs(folder, 0), rungs(undisturbed, 0), strict=True):
        assert mine.objectives == other.objectives
        assert mine.lora is not None
        assert other.lora is not None
        assert payload_sha256(mine.lora) == payload_sha256(other.lora)
    assert not [one for one in folder.root.rglob("*.tmp*")]


def starve(mebibytes: int) -> None:
    """From now on the worker gets no more memory than so much beyond what it has."""
    limit = psutil.Process(worker()).memory_info().vms + mebibytes * 2**20
    resource.prlimit(worker(), resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def test_memory_that_is_short_halves_the_batch(space: Path, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "faults")

    def act(event: Event) -> None:
        if event == Phase("train", 0):
            starve(1250)
        if event == Phase("sample", 0):  # the judges need memory of their own
            resource.prlimit(worker(), resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)

    config = one_trial(space, "train.batch_size=512", "budget.rungs=[1]")
    events = followed(run_study(config, folder), act)
    assert ends(events) == [(0, "complete")], told_of(events)
    assert retries(events)[0] == (
        "out of memory; trying again with batches of 256 and gradients accumulated over 2"
    )
    kept = read_yaml(folder.trial(0).train_yaml)
    assert kept.batch_size * kept.gradient_accumulation == 512
    assert kept.batch_size == 512 // 2 ** len(retries(events))


def test_a_trial_that_never_fits_is_pruned_and_the_study_goes_on(
    space: Path, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "faults")

    def act(event: Event) -> None:
        if event == Phase("train", 0):
            starve(40)

    settings = ("train.resolution=128", "train.batch_size=1", "budget.rungs=[1]")
    config = one_trial(space, *settings, trials=2)
    events = followed(run_study(config, folder), act)
    assert ends(events) == [(0, "pruned"), (1, "complete")], told_of(events)
    (first, _) = read_results(folder).trials
    assert str(first.reason).startswith("out of memory: even with one picture at a time")


def test_a_training_whose_loss_is_no_number_ends_its_trial_in_a_line(
    space: Path, tmp_path: Path
) -> None:
    """The largest strength and rate that a space may have: the loss is NaN after a few steps."""
    folder = StudyFolder(tmp_path / "faults")
    settings = ("rank=1", "alpha=1024", "learning_rate=1", f"target_modules={ALL_LAYERS}")
    config = one_trial(space, *(f"train.{each}" for each in settings), "budget.rungs=[20]")
    events = list(run_study(config, folder))
    assert ends(events) == [(0, "pruned")], told_of(events)
    (trial,) = read_results(folder).trials
    assert re.fullmatch(r"diverged: loss is (nan|inf) by step \d+", str(trial.reason))
    assert retries(events) == []
    assert not folder.trial(0).rung(20).root.exists()


def test_a_base_whose_weights_were_changed_is_another_base(
    space: Path, tmp_path: Path, undisturbed: StudyFolder
) -> None:
    folder = StudyFolder(shutil.copytree(undisturbed.root, tmp_path / "faults"))
    (file,) = (space.parent / "tiny" / "unet").glob("*.safetensors")
    sound = file.read_bytes()
    weights = load_file(file)
    weights["conv_in.bias"] = torch.full_like(weights["conv_in.bias"], torch.nan)
    try:
        save_file(weights, file, {"format": "pt"})
        with pytest.raises(TunerError, match="another search space"):
            list(run_study(one_trial(space, trials=3), folder))
    finally:
        file.write_bytes(sound)


LOCK = """
import sqlite3, sys
one = sqlite3.connect(sys.argv[1], isolation_level=None)
one.execute("begin exclusive")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_locked_database_ends_the_run_and_loses_nothing(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.storage.store.BUSY_SECONDS", 2.0)
    folder = StudyFolder(tmp_path / "faults")
    command = [sys.executable, "-c", LOCK, str(folder.results_db)]
    holders: list[subprocess.Popen[str]] = []

    def lock(event: Event) -> None:
        if event == Phase("score", 0):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            holders.append(subprocess.Popen(command, text=True, **pipes))  # type: ignore[call-overload]
            assert holders[0].stdout is not None
            assert holders[0].stdout.readline() == "held\n"

    try:
        with pytest.raises(TunerError, match="locked by another program"):
            followed(run_study(one_trial(space), folder), lock)
    finally:
        holders[0].kill()
        holders[0].wait()
    assert multiprocessing.active_children() == []
    assert ends(list(run_study(one_trial(space), folder)))[-1] == (1, "complete")
    assert "running" not in {one.state for one in read_results(folder).trials}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_the_run_and_loses_nothing(
    space: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StudyFolder(small_disk / "faults")
    filler = small_disk / "filler"

    def fill(phase: Phase, event: Event) -> None:
        if event == phase:
            with filler.open("wb", buffering=0) as file:
                for size in (2**16, 2**12):
                    try:
                        while file.write(b"0" * size) == size:
                            pass
                    except OSError:
                        continue

    for phase in (Phase("train", 0), Phase("score", 1)):
        with pytest.raises((DiskError, OSError)) as caught:
            followed(run_study(one_trial(space), folder), partial(fill, phase))
        with pytest.raises(BaseException) as ended, user_errors():  # noqa: PT011 - typer's Exit
            raise caught.value
        assert ended.value.exit_code == DiskError.exit_code  # type: ignore[attr-defined]
        assert "no space left" in capsys.readouterr().err
        assert multiprocessing.active_children() == []
        filler.unlink()
    assert ends(list(run_study(one_trial(space), folder)))[-1] == (2, "complete")
    assert "running" not in {one.state for one in read_results(folder).trials}
    assert not list(folder.root.rglob(".*.tmp*"))
