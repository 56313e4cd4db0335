"""A Ray cluster of several nodes on this machine, each with a cache folder of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tuner.storage.shipped import cache_folder

STORE = 100 * 2**20


@dataclass
class Nodes:
    """The cluster: its head has no seat, each of its nodes has one."""

    cluster: Any
    root: Path
    client_port: int
    nodes: list[Any] = field(default_factory=list)
    homes: list[Path] = field(default_factory=list)
    disks: list[Path] = field(default_factory=list)
    groups: list[Path] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    @property
    def client_address(self) -> str:
        """Its address for a client outside of the cluster."""
        return f"ray://127.0.0.1:{self.client_port}"

    def add(self, disk: str | None = None, **variables: str) -> None:
        """Add a node with one core; environment `variables` may change what it finds there.

        Its cache folder is a disk of size `disk` (`20m`), which only root may ask for.
        """
        home = self.root / f"cache{len(list(self.root.glob('cache*')))}"
        home.mkdir()
        if disk is not None:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", str(home)]
            subprocess.run(mount, check=True)
            self.disks.append(home)
        self.homes.append(home)
        models = cache_folder() / "models"
        models.mkdir(parents=True, exist_ok=True)
        (home / "models").symlink_to(models)
        own = {"TUNER_HOME": str(home), "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
        variables = own | variables
        self.nodes.append(
            self.cluster.add_node(
                num_cpus=1, num_gpus=0, object_store_memory=STORE, env_vars=variables
            )
        )

    def limit_memory(self, number: int, limit: int) -> None:
        """Put a node into a control group with `limit` bytes of memory, as a job of Slurm is.

        Its system kills a process of the group that needs more. Only root may ask for it.
        """
        group = Path("/sys/fs/cgroup/memory") / f"tuner-test-{os.getpid()}-{number}"
        group.mkdir()
        self.groups.append(group)
        (group / "memory.limit_in_bytes").write_text(str(limit))
        for process in self.processes(number):
            (group / "cgroup.procs").write_text(str(process.pid))

    def processes(self, number: int) -> list[psutil.Process]:
        """The processes of a node, Ray's own first."""
        kinds = self.nodes[number].all_processes.values()
        own = [psutil.Process(each.process.pid) for kind in kinds for each in kind]
        return own + [child for each in own for child in each.children(recursive=True)]

    def relays(self) -> list[psutil.Process]:
        """The processes of its actors that have a worker."""
        return self._processes("ray::Relay")

    def judges(self) -> list[psutil.Process]:
        """The processes of its actors that judge pictures."""
        return self._processes("ray::JudgeRelay")

    def client_servers(self) -> list[psutil.Process]:
        """Its processes that stand for clients with a `ray://` address."""
        return [each for each in _named("specific-server") if self.address in _line(each)]

    def _processes(self, *words: str) -> list[psutil.Process]:
        found = []
        for process in _named(*words):
            with contextlib.suppress(psutil.Error):
                home = process.environ().get("TUNER_HOME", "")
                found += [process] if Path(home).is_relative_to(self.root) else []
        return found

    def workers(self) -> list[psutil.Process]:
        """The processes that do the work: the children of relays, without resource trackers."""
        found = []
        for relay in self.relays():
            with contextlib.suppress(psutil.Error):
                children = relay.children()
                found += [each for each in children if "spawn_main" in " ".join(each.cmdline())]
        return found

    def all_end(self, seconds: float = 20.0) -> bool:
        """Wait until its actors and their workers have ended; return False if some have not."""
        return all_end(self.relays() + self.workers() + self.judges(), seconds)

    def remove(self, number: int, stopped: bool = False) -> None:
        """Have a node vanish, as a machine that is taken away, or leave, as with `ray stop`."""
        self.cluster.remove_node(self.nodes.pop(number), allow_graceful=stopped)
        self.homes.pop(number)

    def busy(self) -> int:
        """The number of a node with a worker."""
        home = self.relays()[0].environ()["TUNER_HOME"]
        return self.homes.index(Path(home))


@contextmanager
def three_nodes(root: Path, count: int = 3, **head: Any) -> Iterator[Nodes]:
    """Start a head and `count` nodes, and end them."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S"] = "120"
    arguments = {
        "num_cpus": 0,
        "num_gpus": 0,
        "object_store_memory": STORE,
        "include_dashboard": False,
        "env_vars": {"RAY_worker_niceness": "0", "TUNER_HOME": str(root / "head")},
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments["ray_client_server_port"] = port
    cluster = Cluster(initialize_head=True, head_node_args=arguments | head)
    nodes = Nodes(cluster, root, port)
    try:
        for _ in range(count):
            nodes.add()
        yield nodes
    finally:
        ray.shutdown()
        cluster.shutdown()
        for disk in nodes.disks:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        for group in nodes.groups:
            group.rmdir()


def _line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _named(*words: str) -> list[psutil.Process]:
    return [each for each in psutil.process_iter() if all(word in _line(each) for word in words)]


def all_end(processes: list[psutil.Process], seconds: float = 20.0) -> bool:
    """Wait until processes have ended; return False if some have not."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]
