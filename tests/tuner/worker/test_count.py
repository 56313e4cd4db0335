"""The number of workers: a rule over devices, cores, memory and trials, without a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.worker.count import (
    Machine,
    _groups,
    auto_workers,
    device_nodes,
    judge_processes,
    planned_workers,
    read_machine,
    total_bytes,
    visible_devices,
    worker_count,
)

GIB = 2**30
GPUS = (
    "GPU 0: NVIDIA A (UUID: GPU-1)\n  MIG 1g Device 0: (UUID: MIG-2)\nGPU 1: NVIDIA A (UUID: x)\n"
)


@pytest.mark.parametrize(
    ("devices", "cores", "free", "needed", "trials", "count"),
    [
        (0, 2, 20, 2, 12, 2),
        (0, 8, 20, 2, 12, 8),
        (0, 8, 10, 2, 12, 4),  # one share of five is left to the study's own process
        (0, 8, 3, 2, 12, 1),
        (0, 8, 1, 2, 12, 1),
        (0, 8, 100, 2, 3, 3),
        (0, 8, 100, 2, 0, 1),
        (4, 2, 1, 2, 12, 4),  # the memory that counts is on the devices
        (4, 64, 100, 2, 3, 3),
        (1, 64, 100, 2, 12, 1),
        (0, 500, 10_000, 2, 1000, 64),
    ],
)
def test_workers_are_as_many_as_devices_or_cores_memory_and_trials_bear(
    devices: int, cores: int, free: int, needed: int, trials: int, count: int
) -> None:
    machine = Machine(devices, cores, free * GIB)
    assert auto_workers(machine, needed * GIB, trials).count == count


@pytest.mark.parametrize(
    ("machine", "trials", "line"),
    [
        (Machine(0, 2, 99 * GIB), 12, "2 workers, one for each core"),
        (Machine(0, 1, 99 * GIB), 12, "1 worker, for the only core"),
        (Machine(3, 8, 99 * GIB), 12, "3 workers, one for each GPU"),
        (Machine(0, 8, 99 * GIB), 2, "2 workers, one for each piece of work that is left"),
        (Machine(0, 8, 99 * GIB), 1, "1 worker, for the only piece of work that is left"),
    ],
)
def test_the_line_says_why(machine: Machine, trials: int, line: str) -> None:
    assert auto_workers(machine, 2 * GIB, trials).line == line


def test_the_line_says_that_memory_is_short() -> None:
    line = auto_workers(Machine(0, 8, 7 * GIB), 2 * GIB, 12).line
    assert line.startswith("2 workers, 7.0 GiB of memory are free, and each needs about 2.0 GiB")


def test_a_number_is_used_as_it_is() -> None:
    assert worker_count("auto") is None
    assert planned_workers(worker_count("7"), GIB, 3).count == 7
    assert planned_workers(None, 2**20, 1).count == 1


@pytest.mark.parametrize(
    ("cores", "free", "workers", "count"),
    [
        (2, 64, 1, 0),  # one beside the worker: it scores its samples itself
        (2, 64, 2, 0),
        (8, 64, 8, 0),
        (8, 64, 1, 7),
        (8, 64, 2, 3),
        (8, 13, 1, 4),
        (8, 13, 2, 2),
        (8, 5, 1, 0),
    ],
)
def test_each_worker_has_the_cores_that_are_left_as_judge_processes(
    cores: int, free: int, workers: int, count: int
) -> None:
    assert judge_processes(cores, free * GIB, workers) == count


@pytest.mark.parametrize(
    ("cores", "free", "workers", "count"),
    [(1, 64, 1, 0), (2, 64, 1, 1), (2, 64, 2, 0), (4, 64, 2, 1), (4, 4, 1, 1), (4, 2, 1, 0)],
)
def test_one_judge_process_is_enough_beside_a_worker_on_a_gpu(
    cores: int, free: int, workers: int, count: int
) -> None:
    assert judge_processes(cores, free * GIB, workers, on_gpu=True) == count


@pytest.mark.parametrize("text", ["0", "65", "-1", "two", "1.5", "", "²"])
def test_another_text_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match="allowed: auto, or a whole number from 1 to 64"):
        worker_count(text)


@pytest.mark.parametrize(
    ("visible", "count"),
    [(None, 2), ("", 0), ("0", 1), ("1,0", 2), ("-1", 0), ("0,7,1", 1), ("GPU-1", 1), ("a", 0)],
)
def test_only_the_visible_devices_count(visible: str | None, count: int) -> None:
    assert visible_devices(GPUS, visible) == count
    assert visible_devices("No devices were found\n", visible) == 0


@pytest.mark.parametrize(
    ("names", "count"),
    [((), 0), (("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"), 2), (("kfd",), 1), (("dxg",), 1)],
)
def test_gpus_are_known_by_their_nodes(names: tuple[str, ...], count: int, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert device_nodes(tmp_path) == count


def test_this_machine_has_a_core_and_memory() -> None:
    machine = read_machine()
    assert machine.cores >= 1
    assert machine.free_bytes > 2**20


def test_a_jobs_limit_of_memory_is_that_of_the_nearest_group(tmp_path: Path) -> None:
    job = tmp_path / "memory" / "slurm" / "job_7"
    job.mkdir(parents=True)
    (job.parent / "memory.limit_in_bytes").write_text("4096\n")
    (job / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    own = tmp_path / "cgroup"
    own.write_text("9:cpu:/\n4:memory:/slurm/job_7\n0::/slurm/job_7\n")
    groups = list(_groups(tmp_path, own))
    assert [group.folder for group in groups[:3]] == [job, job.parent, tmp_path / "memory"]
    assert groups[-1] == (tmp_path, "memory.max", "memory.current")
    assert total_bytes(groups) == 4096
    assert list(_groups(tmp_path, tmp_path / "missing")) == []
