"""A small study, run here and on a Ray cluster, and what both have to find."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.tuner.tiny_space import write_space
from tests.tuner.worker.nodes import Nodes
from tuner.errors import TunerError
from tuner.events import Event, RungScored
from tuner.space import StudyConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.study import run_study
from tuner.worker.nodes.address import RayOptions
from tuner.worker.nodes.cluster import open_cluster

TRIALS = 4
SEED = "train.seed=7"
"""A trial that is tried again has another number; its training depends on its parameters only."""
NEEDED = 2**28
HEALTH = {
    "health_check_initial_delay_ms": 5000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 4,
}
"""A node that is silent for 12 to 16 s is lost; Ray's own numbers make it more than a minute."""

Found = dict[int, tuple[dict[str, object], list[tuple[int, list[object]]]]]


def small_study(root: Path) -> StudyConfig:
    """The study, with its base and data in the folder `root`."""
    return load_study(write_space(root), trials=TRIALS, set_values=(SEED,))


def found_here(config: StudyConfig, root: Path, workers: int) -> Found:
    """What the study finds on this machine alone; its folder is made in `root`."""
    folder = StudyFolder(root / "faults")
    list(run_study(config, folder, workers=workers))
    return found(folder)


def found(folder: StudyFolder) -> Found:
    """The parameters of each trial, and the values of its rungs and samples."""
    with Store(folder.results_db, read_only=True) as store:
        trials = {}
        for row in store.trials():
            rungs = [
                (
                    rung.step,
                    [
                        sorted((name, each.value) for name, each in rung.objectives.items()),
                        [dict(sample.scores) for sample in store.samples(row.number, rung.step)],
                    ],
                )
                for rung in store.rungs(row.number)
            ]
            trials[row.number] = (dict(row.parameters), rungs)
    return trials


def run_there(config: StudyConfig, folder: StudyFolder, nodes: Nodes) -> Iterator[Event]:
    with open_cluster(RayOptions(nodes.address), 3, NEEDED) as cluster:
        yield from run_study(config, folder, workers=3, cluster=cluster)


def require_whole(folder: StudyFolder, local: Found) -> None:
    """Nothing is doubled, lost, or left: the study is that of this machine alone."""
    assert found(folder) == local
    with Store(folder.results_db, read_only=True) as store:
        assert {row.state for row in store.trials()} == {"complete"}
        for row in store.trials():
            for rung in store.rungs(row.number):
                assert rung.lora is not None
                assert rung.lora.is_file()
                assert rung.grid.is_file()
                samples = store.samples(row.number, rung.step)
                assert samples
                assert all(sample.path.is_file() for sample in samples)
    assert not list(folder.root.rglob(".*.tmp*"))


def require_each_rung_once(events: Sequence[Event]) -> None:
    scored = [(event.trial, event.step) for event in events if isinstance(event, RungScored)]
    assert len(scored) == len(set(scored)) == 2 * TRIALS + 1


class Command:
    """`tuner run` on the cluster, in a process of its own."""

    def __init__(self, space: Path, studies: Path, address: str, workers: str = "3") -> None:
        options = ["--studies", str(studies), "--ray", address, "--workers", workers, "--plain"]
        options += ["--trials", str(TRIALS), "--set", SEED]
        command = [sys.executable, "-m", "tuner", "run", str(space), *options]
        self.folder = StudyFolder(studies / "faults")
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def has_a_rung(self) -> None:
        """Wait until a trial has its first rung."""
        self.waits_for(self._rungs)

    def waits_for(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened while it runs."""
        until = time.monotonic() + 600
        while not happened():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.2)

    def _rungs(self) -> bool:
        if not self.folder.exists():
            return False
        with (
            contextlib.suppress(TunerError),
            Store(self.folder.results_db, read_only=True) as store,
        ):
            return bool(store.rungs_by_trial())
        return False
