"""A worker that stops in the middle of a message is ended; one that takes its time is not."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection

import pytest

from tuner.worker.guard import Guard


def half_a_message(connection: Connection) -> None:
    """Send the length of a message and a part of it, then stop for ever."""
    import os

    os.write(connection.fileno(), (1000).to_bytes(4, "big") + b"part")
    time.sleep(600)


def test_half_a_message_ends_its_worker() -> None:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=half_a_message, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(60)
    guard = Guard(process, 0.4)
    with pytest.raises(OSError, match="during message"), guard.message():
        ours.recv()
    process.join(10)
    assert process.exitcode == -9
    guard.close()


def test_messages_in_time_share_one_thread_that_ends() -> None:
    process = multiprocessing.get_context("spawn").Process()
    guard = Guard(process, 0.2)
    assert guard._thread is None
    for _ in range(3):
        with guard.message():
            time.sleep(0.05)
    thread = guard._thread
    assert thread is not None
    assert thread.is_alive()
    time.sleep(0.3)  # nothing is received: nothing is late
    guard.close()
    thread.join(5)
    assert not thread.is_alive()
