"""What holds for every test, set before the libraries that read it are imported."""

from __future__ import annotations

import fcntl
import functools
import gc
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pose_study import ROOT, run_in_two_goes

CACHE = ROOT / "tests" / ".cache"

# No test asks a model hub: what is not on this machine is told at once, on every network.
os.environ["HF_HUB_OFFLINE"] = "1"

# Processes that tests start read the bytecode that others wrote, also where Python is told to write
# none: compiling takes each of them half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Databases wait for the disk at every commit, half of a test's time: tests write to memory where
# the system has room for it. Pytest makes its temporary folders there.
_MEMORY = Path("/dev/shm")
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# Side by side (`pytest -n`) test processes share the cores, as do the processes that they start.
if (_several := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _several)))


LONGEST = (
    *("test_worker_faults.py", "test_kills.py", "test_exact_stable_diffusion.py", "test_world.py"),
    *("test_studies.py", "test_mannequin_samples.py", "test_build.py", "test_rungs_job.py"),
)
"""Files with slow tests of a minute and more; started last, one would keep a core waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first. A slow test may take four times as long as others before it
    counts as hung: what takes two minutes on two cores takes more than five on half a core."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(autouse=True, scope="module")
def _imports_are_frozen() -> None:
    """The collector, which runs after every training, skips what the tests of a module imported:
    to go through the objects of all libraries takes it half a second each time."""
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@functools.cache
def code_digest() -> str:
    """A hash of the code and data that tests share the results of: it changes with any file."""
    digest = hashlib.sha256()
    packages = [ROOT / name for name in ("tuner", "metrics", "search_spaces")]
    files = [path for package in packages for path in package.rglob("*")]
    for path in sorted([*files, *Path(__file__).parent.glob("*.py")]):
        if path.suffix in (".py", ".yaml", ".json", ".safetensors"):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def made_once() -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder once, however many test processes want it, and keeps it for the next run.

    Whoever changes what is in it works on a copy.
    """

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder = CACHE / code_digest() / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        for old in CACHE.iterdir():
            if old != folder.parent:
                shutil.rmtree(old, ignore_errors=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                half = folder.with_suffix(".half")
                shutil.rmtree(half, ignore_errors=True)
                half.mkdir()
                make(half)
                half.rename(folder)
        return folder

    return folder_of


@pytest.fixture
def pose_study(made_once: Callable[[str, Callable[[Path], None]], Path], tmp_path: Path) -> Path:
    """A folder of one's own with the study `pose`, run in two goes on the real command line."""
    made = made_once("pose_study", run_in_two_goes)
    return Path(shutil.copytree(made, tmp_path / "studies"))
