"""Studies on a Ray cluster of three nodes with separate caches: as here, whatever is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.tiny_space import write_space
from tests.tuner.worker.nodes import Nodes, all_end, relays, three_nodes, worker_processes
from tuner.events import Event, TrialEnded
from tuner.space import StudyConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.study import run_study
from tuner.worker.cluster import RayOptions, open_cluster

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TRIALS = 4
NEEDED = 2**28

Found = dict[int, tuple[dict[str, object], list[tuple[int, list[object]]]]]


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


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    return load_study(write_space(tmp_path_factory.mktemp("space")), trials=TRIALS)


@pytest.fixture(scope="module")
def local(config: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The study on this machine alone."""
    folder = StudyFolder(tmp_path_factory.mktemp("local") / "faults")
    list(run_study(config, folder, workers=3))
    return found(folder)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with three_nodes(tmp_path_factory.mktemp("nodes")) as cluster:
        yield cluster


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


def test_three_nodes_give_the_study_of_this_machine(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "faults")
    events = list(run_there(config, folder, nodes))
    assert [e.state for e in events if isinstance(e, TrialEnded)] == ["complete"] * TRIALS
    require_whole(folder, local)
    with Store(folder.results_db, read_only=True) as store:
        assert all(": " in (row.device or "") for row in store.trials())
    assert all_end(relays() + worker_processes())
    used = [cache for cache in nodes.root.glob("cache*") if (cache / "ray" / "luggage").is_dir()]
    assert len(used) == 3
    left = [path.name for cache in used for path in (cache / "ray" / "studies").iterdir()]
    assert set(left) == {"kept"}
