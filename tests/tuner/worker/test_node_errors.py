"""What an error of Ray says of a worker's end; the texts are those of ray 2.60."""

from __future__ import annotations

import pytest

from tuner.worker.nodes.errors import NodeLostError, translated

exceptions = pytest.importorskip("ray").exceptions

KILLED = (
    "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes "
    "include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray stop "
    "--force was called, or (3) the worker crashed unexpectedly due to SIGSEGV or another "
    "unexpected error."
)
LOW = (
    "Task was killed due to the node running low on memory. Memory on the node was 15.0GB / 16.0GB."
)


@pytest.mark.parametrize(
    ("text", "out_of_memory", "reason"),
    [(KILLED, False, "its process ended"), (LOW, True, "Ray ended it because its node was low on")],
)
def test_only_an_actor_that_ray_ended_for_memory_ran_out_of_it(
    text: str, out_of_memory: bool, reason: str
) -> None:
    with pytest.raises(NodeLostError, match=f"^{reason}") as caught, translated():
        raise exceptions.RayActorError(None, text)
    assert caught.value.out_of_memory is out_of_memory
