"""A node of a Ray cluster that stalls, shorter and longer than Ray waits: the study is as here."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.tuner.worker.nodes import Nodes, all_end, three_nodes
from tests.tuner.worker.ray_study import (
    HEALTH,
    Found,
    found_here,
    require_each_rung_once,
    require_whole,
    run_there,
    small_study,
)
from tuner.events import Event, Retried, RungScored, Warned
from tuner.space import StudyConfig
from tuner.storage import StudyFolder

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SHORT = 5.0


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    return small_study(tmp_path_factory.mktemp("space"))


@pytest.fixture(scope="module")
def local(config: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_here(config, tmp_path_factory.mktemp("local"), workers=3)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    root = tmp_path_factory.mktemp("nodes")
    with three_nodes(root, _system_config=HEALTH) as cluster:
        yield cluster


def stall(nodes: Nodes, number: int) -> list[psutil.Process]:
    """Stop all processes of a node, as a machine that hangs, or that nothing reaches."""
    stopped = nodes.processes(number)
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    return stopped


def wake(stopped: list[psutil.Process]) -> None:
    for process in stopped:
        process.send_signal(signal.SIGCONT)


def test_a_short_stall_costs_nothing(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "faults")
    events: list[Event] = []
    stopped: list[psutil.Process] = []
    for event in run_there(config, folder, nodes):
        events.append(event)
        if isinstance(event, RungScored) and event.trial is not None and not stopped:
            stopped = stall(nodes, nodes.busy())
            threading.Timer(SHORT, wake, [stopped]).start()
    assert stopped
    require_whole(folder, local)
    require_each_rung_once(events)
    assert not [event for event in events if isinstance(event, Retried)]
    assert not [event for event in events if isinstance(event, Warned) and "node" in event.text]
    assert nodes.all_end()


def test_a_node_that_stalls_is_lost_and_nothing_of_it_goes_on_when_it_wakes(
    config: StudyConfig, local: Found, nodes: Nodes, tmp_path: Path
) -> None:
    stopped: list[psutil.Process] = []
    folder = StudyFolder(tmp_path / "faults")
    events: list[Event] = []
    woken = False
    for event in run_there(config, folder, nodes):
        events.append(event)
        if isinstance(event, RungScored) and event.trial is not None and not stopped:
            stopped = stall(nodes, nodes.busy())
        if isinstance(event, Retried) and not woken:
            wake(stopped)
            woken = True
    assert woken
    require_whole(folder, local)
    require_each_rung_once(events)
    assert all_end(stopped, 30)
    assert nodes.all_end()
