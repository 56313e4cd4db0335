"""The worker's side of a Ray node: an actor that starts a worker process and hands on its messages.

The actor speaks with the study's process (`tuner.worker.nodes.channel`) by calls, because the
client of `ray://` addresses has no streams. Its worker process has a study folder of its own in
this node's cache folder, and ends with the actor. With a shared disk it has the study's own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tuner import __version__
from tuner.data import TrainingSets
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.storage.extract import apply_extract
from tuner.storage.lock import runner, this_process
from tuner.storage.shipped import cache_folder
from tuner.trial import Rung
from tuner.trial.messages import ExtraScored, Outcome
from tuner.worker.channel import LocalChannel, ThisMachine
from tuner.worker.count import total_bytes, usable_cores
from tuner.worker.environment import set_environment
from tuner.worker.nodes.luggage import Item, Tree, laid_out, luggage_folder, missing, write_part
from tuner.worker.nodes.names import Name, Names, pack, unpack
from tuner.worker.nodes.parcel import Arrival, Sent, State, changed, read_parts
from tuner.worker.process import Failure, Over
from tuner.worker.share import Share

DOING = "{doing}"
"""Stands for the phase in the text of a worker's end: only the study's process knows it."""

_POLL = 5.0
"""Seconds until a call that waits for a message returns without one."""

_OWNER = "owner.json"


@dataclass(frozen=True)
class Taken:
    """A message of the worker process, and the files that belong to it.

    Without a `message` the worker is lost: `lost` has the text. `out_of_memory` is True if the
    node's system killed a process for memory.
    """

    message: bytes | None
    files: tuple[Sent, ...] = ()
    lost: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True)
class Load:
    """A study as a worker on a node gets it: `order` has the packed configuration, training sets
    and share. With a shared disk `shared` is the study's folder, and `lock` the text of its lock
    file; else there are `trees` of luggage.
    """

    study: str
    order: bytes
    trees: tuple[Tree, ...] = ()
    shared: Path | None = None
    lock: str = ""


def versions() -> dict[str, str]:
    """Return the versions that all machines of a study share; raises no error for a missing one."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2]), "tuner": __version__}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["torch"] = importlib.metadata.version("torch")
    return found


class Relay:
    """A worker on a node of a Ray cluster, for one worker process; several threads call it."""

    def __init__(self) -> None:
        """Create the relay without a worker process."""
        # A spawned process would import its parent's main module: here that is Ray's.
        vars(sys.modules["__main__"]).pop("__file__", None)
        _undo_thread_limit()
        set_environment()
        self._channel: LocalChannel | None = None
        self._folder: StudyFolder | None = None
        self._names: Names | None = None
        self._own: Path | None = None
        self._arrival: Arrival | None = None
        self._seen: dict[str, State] = {}
        self._shared = False

    def hello(self) -> dict[str, Any]:
        """Return what the study's process asks before it sends anything: plain values only."""
        place = luggage_folder()
        place.mkdir(parents=True, exist_ok=True)
        name, memory = _device()
        return {
            "versions": versions(),
            "host": socket.gethostname(),
            "device": name,
            "memory": memory,
            "free": shutil.disk_usage(place).free,
            "folder": str(place),
        }

    def missing(self, items: Sequence[Item]) -> list[str]:
        """Return the hashes of the files that this node does not have yet."""
        return missing(items, luggage_folder())

    def luggage(self, item: Item, offset: int, part: bytes) -> None:
        """Write a part of a file of the luggage."""
        write_part(item, offset, part, luggage_folder(), str(os.getpid()))

    def prepare(self, load: Load) -> str | None:
        """Make the worker's study folder; return what is wrong with one that should be shared."""
        self._shared = load.shared is not None
        if load.shared is not None:
            self._folder = StudyFolder(load.shared)
            self._names = Names(load.shared, {})
            with contextlib.suppress(OSError):
                if self._folder.lock.read_text(encoding="utf-8") == load.lock:
                    return None
            return (
                f"{load.shared} is not the study's folder there; mount the disk at the same place, "
                "or leave --shared out"
            )
        root = cache_folder() / "ray" / "studies"
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        self._own = Path(tempfile.mkdtemp(prefix=f"{load.study}-", dir=root))
        (self._own / _OWNER).write_text(_owner_text(), encoding="utf-8")
        known: dict[str, Name] = {}
        for tree in load.trees:
            known |= laid_out(tree, luggage_folder(), self._own / "luggage")
        self._folder = StudyFolder(self._own / "studies" / load.study)
        self._folder.create()
        self._share_kept(root / "kept" / load.study)
        self._names = Names(self._folder.root, known)
        self._arrival = Arrival(self._folder, str(os.getpid()))
        return None

    def write(self, batch: Sequence[tuple[str, int, int]], parts: Sequence[bytes]) -> None:
        """Write parts of files of the study folder that come with the next word."""
        assert self._arrival is not None
        self._arrival.write(batch, parts)

    def start(self, load: Load, database: bytes | None) -> None:
        """Start the worker process; return once it runs."""
        assert self._names is not None
        assert self._folder is not None
        self._take_in(database)
        order = unpack(load.order, self._names)
        begun = threading.Event()
        arguments = (*order, begun)  # type: ignore[misc]
        # Linux ends a child with the thread that started it: this one waits for the child's end.
        threading.Thread(target=self._hold, args=arguments, daemon=True).start()
        begun.wait()

    def _hold(
        self, config: StudyConfig, data: TrainingSets, share: Share, begun: threading.Event
    ) -> None:
        assert self._folder is not None
        try:
            self._channel = ThisMachine(config, self._folder, data).open(share)
        finally:
            begun.set()
        self._channel.process.join()

    def tell(self, word: bytes, database: bytes | None) -> None:
        """Send a word of the study's process to the worker process, after its files are placed."""
        assert self._names is not None
        assert self._channel is not None
        self._take_in(database)
        with contextlib.suppress(OSError):  # `take` tells that it is gone
            self._channel.send(unpack(word, self._names))

    def _take_in(self, database: bytes | None) -> None:
        if self._arrival is not None and self._folder is not None:
            self._seen |= self._arrival.place()
            if database is not None:
                apply_extract(database, self._folder.results_db)

    def take(self) -> Taken | None:
        """Return the next message of the worker process; None if there is none for a while."""
        channel = self._channel
        assert channel is not None
        if not channel.connection.poll(_POLL):
            return None
        try:
            message = channel.recv()
        except (EOFError, OSError):
            error = channel.lost(DOING)
            return Taken(None, lost=str(error), out_of_memory=error.out_of_memory)
        return self._taken(channel, message)

    def _taken(self, channel: LocalChannel, message: Outcome | Over | Failure) -> Taken:
        assert self._names is not None
        assert self._folder is not None
        files: tuple[Sent, ...] = ()
        if isinstance(message, Rung | ExtraScored | Over) and not self._shared:
            files = tuple(changed(self._folder, self._seen))
        if isinstance(message, Rung) and message.device is not None:
            message = replace(message, device=f"{socket.gethostname()}: {message.device}")
        killed = isinstance(message, Failure) and channel.memory_ran_out()
        return Taken(pack(message, self._names), files, out_of_memory=killed)

    def read(self, batch: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Return parts of files of the study folder."""
        assert self._folder is not None
        return read_parts(self._folder.root, batch)

    def close(self) -> None:
        """End the worker process and remove its study folder."""
        if self._channel is not None:
            self._channel.close()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    def _share_kept(self, kept: Path) -> None:
        """Keep latents and embeddings where all workers of a study on this node find them."""
        assert self._folder is not None
        kept.mkdir(parents=True, exist_ok=True)
        self._folder.kept.symlink_to(kept, target_is_directory=True)


def _sweep(root: Path) -> None:
    """Remove the folders of relays that were killed."""
    for owner in root.glob(f"*/{_OWNER}"):
        if runner(owner) is None:
            shutil.rmtree(owner.parent, ignore_errors=True)


def _owner_text() -> str:
    return json.dumps(this_process())


def _undo_thread_limit() -> None:
    """Leave the number of threads to the worker, if Ray has set it to that of its own resources."""
    with contextlib.suppress(psutil.Error):
        if "OMP_NUM_THREADS" not in psutil.Process(os.getppid()).environ():
            os.environ.pop("OMP_NUM_THREADS", None)


def _device() -> tuple[str, int]:
    """Return the name and the memory in bytes of the GPU that Ray gave; without one, of the CPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    command = shutil.which("nvidia-smi")
    if command is not None and visible:
        query = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired, ValueError):
            line = [command, *query, f"--id={visible.split(',')[0]}"]
            done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=True)
            name, megabytes = done.stdout.splitlines()[0].rsplit(",", 1)
            return name.strip(), int(megabytes) * 2**20
    return f"{usable_cores()} cores", total_bytes()
