"""What `tuner` sets for libraries arrives in the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tuner.worker.environment import set_environment

SHOWN = "import os; print([os.environ[name] for name in ('OMP_WAIT_POLICY', 'GLIBC_TUNABLES')])"


@pytest.mark.parametrize(
    ("own", "arrives"),
    [
        ({}, ["PASSIVE", "glibc.malloc.hugetlb=1"]),
        ({"GLIBC_TUNABLES": ""}, ["PASSIVE", ""]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "glibc.malloc.hugetlb=1"]),
    ],
)
def test_a_process_gets_it_but_for_what_the_user_set(
    own: dict[str, str], arrives: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("OMP_WAIT_POLICY", "GLIBC_TUNABLES")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    monkeypatch.setattr(os, "environ", {**kept, **own})
    set_environment()
    done = subprocess.run(
        [sys.executable, "-c", SHOWN], env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(arrives)
