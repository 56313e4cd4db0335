"""Errors of Ray as those of this room: a call that failed, a node or a cluster that is gone."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any

from tuner.errors import DiskError, TunerError
from tuner.storage.files import FULL

_NODE_GONE = ("node has died", "node died", "doesn't exist any more", "node was terminated")
"""Words of Ray's errors for an actor whose node is gone."""
_LOW_ON_MEMORY = "running low on memory"
"""Words of Ray's error for an actor that Ray ended for memory.

Its errors for other ends name the system's killer too, as one of some common causes.
"""
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Closed(Exception):
    """What a thread waited for is not wanted any more."""


class NodeFault(Exception):
    """A call raised an error on the node; `missing` names a package that it lacks.

    `disk` says what is wrong with its disk, if that is the cause (see `disk_fault`).
    """

    def __init__(self, message: str, missing: str | None = None, disk: str | None = None) -> None:
        """Create the error with its message."""
        super().__init__(message)
        self.missing, self.disk = missing, disk


class ClusterLostError(TunerError):
    """The connection to the cluster is gone."""


class NodeLostError(Exception):
    """The actor or its node is gone; `out_of_memory` is True if Ray ended it for memory.

    `node_gone` is True if the node is known to be gone, which never comes back under its id.
    """

    def __init__(self, message: str, out_of_memory: bool = False, node_gone: bool = False) -> None:
        """Create the error with its message."""
        super().__init__(message)
        self.out_of_memory, self.node_gone = out_of_memory, node_gone


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise Ray's errors as this module's."""
    from ray import exceptions

    try:
        yield
    except exceptions.RayTaskError as error:
        raise _fault(error) from error
    except exceptions.RayActorError as error:
        missing = _missing_package(str(error))
        if missing:
            raise NodeFault(str(error), missing) from error
        text = " ".join(str(error).split())
        gone = any(words in text for words in _NODE_GONE)
        raise NodeLostError(_reason(text), _LOW_ON_MEMORY in text, gone) from error
    except exceptions.ActorUnschedulableError as error:
        raise NodeLostError("the node has left the cluster", node_gone=True) from error
    except exceptions.RayError as error:
        memory = isinstance(error, exceptions.OutOfMemoryError)
        raise NodeLostError(_reason(" ".join(str(error).split())), memory) from error


def _fault(error: Any) -> NodeFault:
    cause = getattr(error, "cause", error)
    text = f"{type(cause).__name__}: {cause}"
    return NodeFault(_short(text), _missing_package(str(error)), disk_fault(cause))


def disk_fault(error: BaseException) -> str | None:
    """Return in words what is wrong with a node's disk if `error` says so, else None."""
    code = error.errno if isinstance(error, OSError) else None
    if code in FULL or isinstance(error, DiskError):
        return "its disk is full; free some, or set TUNER_HOME there to another disk"
    if code in _CLOSED and isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename} cannot be read or written there; change its permissions, or set "
            "TUNER_HOME there to another folder"
        )
    return None


def _missing_package(text: str) -> str | None:
    word = "No module named "
    if word not in text:
        return None
    return text.partition(word)[2].splitlines()[0].strip(" '\".)")


def _reason(text: str) -> str:
    """Return the reason in an error of Ray, without the actor's numbers."""
    if any(words in text for words in _NODE_GONE):
        return "its node has left the cluster"
    if _LOW_ON_MEMORY in text:
        return "Ray ended it because its node was low on memory"
    if "is unavailable" in text:
        return "it does not answer any more"
    if "connection error code" in text or "unexpectedly" in text:
        return "its process ended"
    return _short(text)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
