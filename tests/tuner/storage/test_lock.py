from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.errors import Terminated
from tuner.storage import locked
from tuner.storage.lock import StudyBusyError, lives, runner, this_process
from tuner.terminal import stopping

HOLD = """
import sys
from pathlib import Path
from tuner.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_this_process_lives_and_its_like_do_not() -> None:
    owner = this_process()
    assert lives(owner)
    assert not lives({**owner, "started": owner["started"] - 100})
    assert not lives({**owner, "boot": "another"})
    assert not lives({**owner, "host": "another"})


def test_a_held_lock_refuses_and_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "pose" / "run.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StudyBusyError, match=f"process {other.pid}"), locked(path):
            pass
        owner = runner(path)
        assert owner is not None
        assert owner["pid"] == other.pid
        other.kill()
        other.wait()
        # The text of the killed process is still in the file; the lock is not.
        assert runner(path) is None
        with locked(path):
            assert runner(path) == this_process()
    assert runner(path) is None


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_signal_raises_and_the_second_is_the_systems(
    number: signal.Signals, kind: type[BaseException]
) -> None:
    # A shell's background jobs inherit an ignored SIGINT; here it must be heard.
    inherited = signal.signal(number, signal.default_int_handler)
    try:
        with stopping():
            with pytest.raises(kind):
                os.kill(os.getpid(), number)
            assert signal.getsignal(number) == signal.SIG_DFL
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, inherited)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopping():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
