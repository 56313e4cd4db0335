"""The cable of a node is pulled while a study runs: a node in a network of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.tuner.worker.nodes import STORE, Nodes, all_end, three_nodes
from tests.tuner.worker.ray_study import (
    HEALTH,
    NEEDED,
    Found,
    found_here,
    require_each_rung_once,
    require_whole,
    small_study,
)
from tuner.events import Event, Retried, RungScored
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.study import run_study
from tuner.worker.nodes.address import RayOptions
from tuner.worker.nodes.cluster import open_cluster

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
        reason="only root can make a network, with iproute2",
    ),
]
HERE, THERE = "198.18.77.1", "198.18.77.2"
"""Of the range for measurements of networks (RFC 2544)."""


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True, capture_output=True)


@dataclass
class Far:
    """The far node: its network, its end of the cable here, and its cache folder."""

    network: str
    cable: str
    home: Path

    def pull(self) -> None:
        ip(f"link set {self.cable} down")

    def plug(self) -> None:
        ip(f"link set {self.cable} up")

    def processes(self) -> list[psutil.Process]:
        """Its actors with what they have started."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TUNER_HOME") == str(self.home):
                    line = " ".join(process.cmdline())
                    found += [process] if "ray::Relay" in line or "spawn_main" in line else []
        return found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    return small_study(tmp_path_factory.mktemp("space"))


@pytest.fixture(scope="module")
def local(config: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_here(config, tmp_path_factory.mktemp("local"), workers=2)


@contextlib.contextmanager
def far_network() -> Iterator[tuple[str, str]]:
    """Make a network with one machine and a cable to this one."""
    name, cable, end = f"tuner{os.getpid()}", f"tn{os.getpid()}a", f"tn{os.getpid()}b"
    try:
        ip(f"netns add {name}")
    except subprocess.CalledProcessError:
        pytest.skip("the system makes no networks")
    try:
        ip(f"link add {cable} type veth peer name {end} netns {name}")
        ip(f"addr add {HERE}/30 dev {cable}")
        ip(f"link set {cable} up")
        for line in (f"addr add {THERE}/30 dev {end}", f"link set {end} up", "link set lo up"):
            ip(f"-n {name} {line}")
        ip(f"-n {name} route add default via {HERE}")
        yield name, cable
    finally:
        ip(f"netns del {name}")


@contextlib.contextmanager
def far_node(nodes: Nodes, network: str, cable: str) -> Iterator[Far]:
    """Start a node there, as `ray start` does, and end it."""
    home = nodes.root / "far"
    home.mkdir()
    (home / "models").symlink_to((nodes.homes[0] / "models").resolve())
    command = ["ip", "netns", "exec", network, sys.executable, "-m", "ray.scripts.scripts"]
    command += ["start", "--block", f"--address={nodes.address}", f"--node-ip-address={THERE}"]
    command += ["--num-cpus=1", "--num-gpus=0", f"--object-store-memory={STORE}"]
    own = {"TUNER_HOME": str(home), "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    node = subprocess.Popen(command, env={**os.environ, **own}, **quiet)  # type: ignore[call-overload]
    far = Far(network, cable, home)
    try:
        yield far
    finally:
        far.plug()
        node.terminate()
        node.wait(60)


@pytest.mark.parametrize(("seconds", "is_lost"), [(5.0, False), (30.0, True)])
def test_a_pulled_cable_costs_at_most_a_rung(
    seconds: float, is_lost: bool, config: StudyConfig, local: Found, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "studies" / "faults")
    events: list[Event] = []
    theirs: list[psutil.Process] = []
    with (
        far_network() as network,
        three_nodes(tmp_path, count=1, _system_config=HEALTH) as nodes,
        far_node(nodes, *network) as far,
        open_cluster(RayOptions(nodes.address), 2, NEEDED) as cluster,
    ):
        until = time.monotonic() + 120
        while cluster.seats.total() < 2:
            assert time.monotonic() < until
            time.sleep(0.5)
        back = threading.Timer(seconds, far.plug)
        for event in run_study(config, folder, workers=2, cluster=cluster):
            events.append(event)
            if isinstance(event, RungScored) and event.trial is not None and not theirs:
                theirs = far.processes()
                if theirs:
                    far.pull()
                    back.start()
        assert theirs
        back.join()
        require_whole(folder, local)
        require_each_rung_once(events)
        assert [isinstance(event, Retried) for event in events].count(True) == is_lost
        assert all_end(theirs, 60)
        assert nodes.all_end()
