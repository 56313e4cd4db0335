"""Nodes of a Ray cluster that come, leave, or have no room while a study runs on it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.tiny_space import write_space
from tests.tuner.worker.nodes import Nodes, three_nodes
from tests.tuner.worker.ray_study import (
    NEEDED,
    SEED,
    TRIALS,
    Command,
    Found,
    found_here,
    require_whole,
)
from tuner.events import Retried, RungScored, Warned
from tuner.space import StudyConfig, load_study
from tuner.storage import StudyFolder
from tuner.study import run_study
from tuner.worker.nodes.address import RayOptions
from tuner.worker.nodes.cluster import open_cluster

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LITTLE = 600 * 2**20
"""Too little for torch, the base and the judges; a worker needs about twice as much."""
is_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can make a small disk"
)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_space(tmp_path_factory.mktemp("space"))


@pytest.fixture(scope="module")
def config(space: Path) -> StudyConfig:
    return load_study(space, trials=TRIALS, set_values=(SEED,))


@pytest.fixture(scope="module")
def local(config: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_here(config, tmp_path_factory.mktemp("local"), workers=2)


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster with one node."""
    with three_nodes(tmp_path_factory.mktemp("nodes"), count=1) as cluster:
        yield cluster


def homes_at_work(nodes: Nodes) -> set[Path]:
    return {Path(each.environ()["TUNER_HOME"]) for each in nodes.relays()}


@pytest.mark.parametrize("stopped", [True, False])
def test_workers_are_as_many_as_the_nodes_that_come_and_go(
    stopped: bool, space: Path, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    run = Command(space, tmp_path, nodes.address, workers="auto")
    run.has_a_rung()
    assert homes_at_work(nodes) == {nodes.homes[0]}
    nodes.add()
    run.waits_for(lambda: len(nodes.workers()) == 2)
    assert homes_at_work(nodes) == set(nodes.homes)
    nodes.remove(0, stopped)
    _, errors = run.process.communicate(timeout=400)
    assert run.process.returncode == 0, errors
    require_whole(run.folder, local)
    assert errors.count("the cluster has another node: ") == 1
    # What ran on the other node went on.
    assert len(re.findall(r"the worker on .* was lost while ", errors)) == 1
    assert " gave way " not in errors
    assert nodes.all_end()


@is_root
def test_a_node_without_room_is_not_used(
    space: Path, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    nodes.add(disk="20m")
    run = Command(space, tmp_path, nodes.address, workers="auto")
    _, errors = run.process.communicate(timeout=400)
    assert run.process.returncode == 0, errors
    require_whole(run.folder, local)
    (line,) = [line for line in errors.splitlines() if str(nodes.homes[1]) in line]
    assert " cannot work for this study: " in line
    assert " free, and " in line
    assert nodes.all_end()


@is_root
def test_nodes_without_room_end_the_run_in_one_line(
    space: Path, nodes: Nodes, tmp_path: Path
) -> None:
    nodes.add(disk="20m")
    nodes.remove(0)
    run = Command(space, tmp_path, nodes.address, workers="auto")
    _, errors = run.process.communicate(timeout=300)
    assert run.process.returncode == 74, errors
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said[0].startswith("error: no node of the cluster can work for this study: ")
    assert "Traceback" not in errors
    assert nodes.all_end()


def fill(file: Path) -> None:
    """Write a file until its disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as open_file:
        while True:
            open_file.write(bytes(2**16))


@is_root
def test_a_disk_that_is_full_in_the_middle_moves_the_work_to_another_node(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    nodes.add(disk="700m")
    folder = StudyFolder(tmp_path / "faults")
    full, events = False, []
    with open_cluster(RayOptions(nodes.address), 2, NEEDED) as cluster:
        for event in run_study(config, folder, workers=2, cluster=cluster):
            events.append(event)
            if isinstance(event, RungScored) and event.trial is not None and not full:
                full = True
                fill(nodes.homes[1] / "filler")
    retried = [event.reason for event in events if isinstance(event, Retried)]
    assert ["(its disk is full); a new one continues " in reason for reason in retried] == [True]
    warned = [event.text for event in events if isinstance(event, Warned)]
    require_whole(folder, local)
    assert len([text for text in warned if "its disk is full; free some" in text]) == 1
    assert nodes.all_end()


@is_root
@pytest.mark.skipif(
    not os.access("/sys/fs/cgroup/memory", os.W_OK), reason="needs version 1 of control groups"
)
def test_a_trial_that_a_node_has_too_little_memory_for_goes_to_another(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    nodes.add()
    nodes.limit_memory(1, LITTLE)
    folder = StudyFolder(tmp_path / "faults")
    with open_cluster(RayOptions(nodes.address), 2, NEEDED) as cluster:
        events = list(run_study(config, folder, workers=2, cluster=cluster))
    require_whole(folder, local)
    retried = [event.reason for event in events if isinstance(event, Retried)]
    assert retried
    for reason in retried:
        assert "was killed because memory ran out" in reason
        assert "a node with more memory " in reason
    assert nodes.all_end()
