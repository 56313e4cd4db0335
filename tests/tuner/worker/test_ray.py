"""Studies on a Ray cluster of three nodes with separate caches: as here, whatever is lost."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tuner.tiny_space import write_space
from tests.tuner.worker.nodes import Nodes, all_end, three_nodes
from tests.tuner.worker.ray_study import (
    NEEDED,
    SEED,
    TRIALS,
    Command,
    Found,
    found,
    found_here,
    require_each_rung_once,
    require_whole,
    run_there,
)
from tuner.events import Retried, RungScored, TrialEnded, Warned
from tuner.space import StudyConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.study import run_study
from tuner.worker.nodes.address import RayOptions
from tuner.worker.nodes.cluster import open_cluster

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_space(tmp_path_factory.mktemp("space"))


@pytest.fixture(scope="module")
def config(space: Path) -> StudyConfig:
    return load_study(space, trials=TRIALS, set_values=(SEED,))


@pytest.fixture(scope="module")
def local(config: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_here(config, tmp_path_factory.mktemp("local"), workers=3)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with three_nodes(tmp_path_factory.mktemp("nodes")) as cluster:
        yield cluster


def test_three_nodes_give_the_study_of_this_machine(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "faults")
    events = list(run_there(config, folder, nodes))
    assert [e.state for e in events if isinstance(e, TrialEnded)] == ["complete"] * TRIALS
    require_whole(folder, local)
    with Store(folder.results_db, read_only=True) as store:
        assert all(": " in (row.device or "") for row in store.trials())
    assert nodes.all_end()
    used = [cache for cache in nodes.root.glob("cache*") if (cache / "ray" / "luggage").is_dir()]
    assert len(used) == 3
    left = [path.name for cache in used for path in (cache / "ray" / "studies").iterdir()]
    assert set(left) == {"kept"}


def lose_actor(nodes: Nodes) -> None:
    os.kill(nodes.relays()[0].pid, signal.SIGKILL)


def lose_worker(nodes: Nodes) -> None:
    os.kill(nodes.workers()[0].pid, signal.SIGKILL)


def lose_node(nodes: Nodes) -> None:
    nodes.remove(nodes.busy())
    nodes.add()


@pytest.mark.parametrize("lose", [lose_actor, lose_worker, lose_node])
def test_whatever_is_lost_costs_at_most_a_rung(
    lose: Callable[[Nodes], None], config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "faults")
    lost, events = False, []
    for event in run_there(config, folder, nodes):
        events.append(event)
        if isinstance(event, RungScored) and event.trial is not None and not lost:
            lost = True
            lose(nodes)
    require_whole(folder, local)
    retried = [event.reason for event in events if isinstance(event, Retried)]
    assert 1 <= len(retried) <= 2
    assert "; a new one continues " in retried[0]
    require_each_rung_once(events)
    assert nodes.all_end()


def test_a_node_with_other_versions_is_refused_and_the_others_go_on(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "torch-2.0.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.0.0\n")
    path = os.pathsep.join([str(other.parent), os.environ.get("PYTHONPATH", ""), *sys.path])
    nodes.add(PYTHONPATH=path)
    folder = StudyFolder(tmp_path / "faults")
    events = []
    with open_cluster(RayOptions(nodes.address), 4, NEEDED) as cluster:
        events += run_study(config, folder, workers=4, cluster=cluster)
    nodes.remove(len(nodes.nodes) - 1)
    require_whole(folder, local)
    here = importlib.metadata.version("torch")
    lines = [event.text for event in events if isinstance(event, Warned)]
    assert len([text for text in lines if f"torch 2.0.0 there and {here} here" in text]) == 1
    # If the first worker was on that node, another one makes room for it before it trains.
    retried = [event.reason for event in events if isinstance(event, Retried)]
    assert len(retried) <= 1
    assert all("gave way to that of the base" in reason for reason in retried)


def test_with_a_shared_disk_nothing_is_sent(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "faults")
    sent = {path for path in nodes.root.glob("cache*/ray/luggage/*/*")}
    for path in sent:
        path.unlink()
    with open_cluster(RayOptions(nodes.address, shared=True), 3, NEEDED) as cluster:
        list(run_study(config, folder, workers=3, cluster=cluster))
    require_whole(folder, local)
    assert not list(nodes.root.glob("cache*/ray/luggage/*/*"))
    assert not (folder.root / "results.db-wal").exists()


def test_pictures_are_judged_on_the_nodes_as_here(
    space: Path, nodes: Nodes, tmp_path: Path
) -> None:
    options = ["--gender-model", str(space.parent / "clip"), "--photographic", "--json"]
    command = [sys.executable, "-m", "tuner", "score", str(space.parent / "data"), *options]
    tables = []
    for name, more in (("here", ["--jobs", "1"]), ("there", ["--ray", nodes.address])):
        table = tmp_path / f"{name}.json"
        done = subprocess.run([*command, str(table), *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        tables.append(table.read_text())
    assert tables[0] == tables[1]
    assert nodes.all_end()


def by_parameters(trials: Found) -> list[str]:
    """What the trials that have all their rungs found, whatever their numbers are."""
    return sorted(str(trial) for trial in trials.values() if len(trial[1]) == 2)


def require_finished(folder: StudyFolder, local: Found) -> None:
    """Interrupted trials were tried again, and each was measured once."""
    with Store(folder.results_db, read_only=True) as store:
        states = [row.state for row in store.trials()]
    assert states.count("complete") == TRIALS
    assert set(states) == {"complete", "interrupted"}
    there = found(folder)
    for number, state in enumerate(states):
        if state == "interrupted":
            there.pop(number)
    assert by_parameters(there) == by_parameters(local)
    assert not list(folder.root.rglob(".*.tmp*"))


def test_a_killed_controller_leaves_nothing_and_goes_on(
    space: Path, config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    run = Command(space, tmp_path, nodes.address)
    run.has_a_rung()
    left = nodes.relays() + nodes.workers()
    assert left
    run.process.kill()
    run.process.wait()
    assert all_end(left, 60)
    again = Command(space, tmp_path, nodes.address)
    _, errors = again.process.communicate()
    assert again.process.returncode == 0, errors
    require_finished(run.folder, local)
    assert nodes.all_end()


def test_a_lost_connection_ends_the_run_in_one_line_and_it_goes_on(
    space: Path, config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    run = Command(space, tmp_path, nodes.client_address)
    run.has_a_rung()
    (server,) = nodes.client_servers()
    server.kill()
    _, errors = run.process.communicate(timeout=300)
    assert run.process.returncode == 1, errors
    assert f"error: the connection to the cluster {nodes.client_address} is lost" in errors
    assert "Traceback" not in errors
    assert nodes.all_end(60)
    list(run_there(config, run.folder, nodes))
    require_finished(run.folder, local)
