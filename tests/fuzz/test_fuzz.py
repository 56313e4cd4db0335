"""The fuzzer finds what it is made for, and nothing in the tool."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.isolation import SilentlyWrong, isolated

ROOT = Path(__file__).parents[2]


def _raises(folder: Path, rng: random.Random) -> str:
    raise KeyError("x")


def _is_wrong(folder: Path, rng: random.Random) -> str:
    raise SilentlyWrong("another number")


def _needs_memory(folder: Path, rng: random.Random) -> str:
    return str(len(bytearray(6 * 2**30)))


def _is_fine(folder: Path, rng: random.Random) -> str:
    return "refused" if rng.random() < 2 else "accepted"


@pytest.mark.parametrize(
    ("case", "word"),
    [
        (_raises, "KeyError"),
        (_is_wrong, "wrong"),
        (_needs_memory, "MemoryError"),
        (_is_fine, "refused"),
    ],
)
def test_a_case_in_its_own_process(tmp_path: Path, case: object, word: str) -> None:
    assert isolated(case, tmp_path, "0")[0] == word  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count"), [("spaces", 40), ("weights", 40), ("pictures", 40), ("environments", 4)]
)
def test_bad_files_and_environments_end_in_error_lines(kind: str, count: int) -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", "--kind", kind, "--count", str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
