"""The address of a Ray cluster: check it, and connect to the cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tuner.errors import ConfigError
from tuner.text import show
from tuner.worker.count import free_bytes, usable_cores

HOW = (
    "allowed: local (this machine), auto (the cluster that this machine belongs to), HOST:PORT of "
    "a cluster's head, or ray://HOST:10001 from outside of it"
)

_REACH = 5.0
"""Seconds within which an address has to answer."""
_STORE_BYTES = 512 * 2**20
"""Object store of a cluster on this machine: files travel in parts of a few megabytes."""


@dataclass(frozen=True)
class RayOptions:
    """Where the workers of a command are: a cluster's address, and whether the disk is shared.

    `gpu_share` is the part of a GPU that a worker takes, above 0 and up to 1.
    """

    address: str
    shared: bool = False
    gpu_share: float = 1.0


def connect(options: RayOptions) -> None:
    """Connect to the cluster; raises ConfigError without Ray, and where there is no cluster."""
    _require(options)
    with _signals_kept():
        _connect(options.address)


def head_address(address: str) -> tuple[str, int] | None:
    """Return host and port of the head of the connected cluster; None for a client's connection."""
    if address.startswith("ray://"):
        return None
    import ray

    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else None


def answers(place: tuple[str, int]) -> bool:
    """Return True if something listens at `place`, a host and a port."""
    try:
        socket.create_connection(place, timeout=_REACH).close()
    except OSError:
        return False
    return True


def _require(options: RayOptions) -> None:
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--ray needs Ray, which is not installed: pip install 'tuner[ray]', or leave --ray out"
        )
    if options.address in ("local", "auto"):
        return
    client = options.address.startswith("ray://")
    url = urlsplit(options.address if client else f"//{options.address}")
    try:
        place = (url.hostname, url.port)
    except ValueError:
        place = (None, None)
    if not all(place) or url.path or (not client and "://" in options.address):
        raise ConfigError(f"--ray {show(options.address)} is no address of a cluster; {HOW}")
    try:
        socket.create_connection(place, timeout=_REACH).close()  # type: ignore[arg-type]
    except OSError as error:
        raise ConfigError(
            f"--ray {options.address}: nothing answers there ({error.strerror or error}); start "
            "the cluster's head with `ray start --head`, or give its address"
        ) from error


def _connect(address: str) -> None:
    """Connect to the cluster at `address`; raises ConfigError if Ray cannot."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent about anybody's use
    if address == "local":
        # Ray's setting for systems with single machines: all its servers are bound to 127.0.0.1.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_worker_niceness", "0")  # else beside other programs it starves
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {
            "num_cpus": usable_cores(),
            "_memory": free_bytes(),
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        ray.init(address, **options)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        told = lines[-1:] if any("Traceback" in line for line in lines) else lines[:3]
        reason = " ".join(told).strip() or type(error).__name__
        if address == "auto" and isinstance(error, ConnectionError):
            reason = "no cluster runs on this machine"
        raise ConfigError(f"--ray {address}: {reason}; {HOW}") from error


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep this process's own handlers of signals, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
