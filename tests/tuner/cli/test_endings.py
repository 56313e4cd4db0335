"""How commands end: warnings, output that cannot be written, signals during imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from warnings import warn_explicit

import pytest

import tuner
from tuner.cli.errors import for_user, user_errors


def test_a_current_folder_that_was_deleted_is_one_line(tmp_path: Path) -> None:
    script = f"import os; os.rmdir({str(tmp_path)!r}); from tuner.cli import main; main()"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    line = "error: the current folder no longer exists; change to another folder\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", line)


def test_warnings_are_one_line_each_in_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with user_errors():
        warn_explicit(
            "no sample", UserWarning, os.path.join(os.path.dirname(tuner.__file__), "x"), 1
        )
        warn_explicit("for programmers", DeprecationWarning, __file__, 1)
    assert capsys.readouterr().err == "warning: no sample\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        *(("--help", ""), ("--version", "1"), ("models", "")),
        pytest.param("status --json", "", marks=pytest.mark.slow),
        pytest.param("--help", "1", marks=pytest.mark.slow),
        pytest.param("--version", "", marks=pytest.mark.slow),
        pytest.param("models", "1", marks=pytest.mark.slow),
    ],
)
def test_output_that_cannot_be_written_is_one_line(arguments: str, unbuffered: str) -> None:
    command = [sys.executable, "-c", "from tuner.cli import main; main()", *arguments.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 74
    assert done.stderr.startswith(b"error: no space left on the disk")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_command_imports_ends_it_at_once(
    number: int, code: int, tmp_path: Path
) -> None:
    (tmp_path / "library.py").write_text(f"import os; os.kill(os.getpid(), {int(number)})")
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tuner.cli.errors import user_errors\n"
        "with user_errors():\n"
        "    try: import library\n"
        "    except BaseException: print('an exception, at which a library in C++ aborts')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(tuner.__file__).parents[1])])
    command = [sys.executable, "-c", script]
    variables = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=variables, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_a_library_that_does_not_fit_into_memory_is_one_line() -> None:
    error = ImportError("libx.so: failed to map segment from shared object")
    assert "free some" in str(for_user(error))
    assert for_user(ImportError("no module")) is None


@pytest.mark.parametrize("code", [130, 143])
def test_a_stopped_command_waits_for_no_thread_that_a_library_forgot(code: int) -> None:
    script = (
        "import sys, threading\n"
        "from tuner.cli import app as command_line\n"
        f"command_line.app = lambda arguments: sys.exit({code})\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "command_line.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == code
