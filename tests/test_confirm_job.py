"""A confirmation as a user runs it, killed in its middle: real command line, base and judges."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_main_job import ROOT, SMALL, SPACE, tuner
from tuner.lora_file import read_file
from tuner.study_folder import StudyFolder

ASKED = ("--trials", "2", "--samples", "13", "--training-seeds", "1", "--plain")
PARTS = [(-1, 0, 0), (0, 6, 0), (0, 6, 1), (1, 6, 0), (1, 6, 1)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two trials that no limit holds back, scored at their end only."""
    folder = tmp_path_factory.mktemp("studies")
    only = ["--set", "constraints.undressed_rate=null", "--set", "budget.rungs=[6]"]
    done = tuner("run", str(SPACE), "--trials", "2", *SMALL, *only, studies=folder)
    assert done.returncode == 0, done.stderr
    assert "not confirmed" in done.stdout
    assert f"tuner confirm {folder / 'pose'}" in done.stdout
    return folder


def killed(studies: Path, at: str) -> None:
    """Confirm until the line `at`, and die there."""
    with subprocess.Popen(
        [sys.executable, "-m", "tuner", "confirm", "pose", *ASKED],
        cwd=ROOT,
        env=os.environ | {"TUNER_STUDIES": str(studies)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if at in line:
                process.send_signal(signal.SIGKILL)
                break
        else:
            pytest.fail(f"{at!r} was never told")


def parts(folder: StudyFolder) -> list[tuple[int, int, int]]:
    with sqlite3.connect(folder.results_db) as database:
        rows = database.execute(
            "select trial, step, repeat from fresh_rungs order by trial, step, repeat"
        )
        return rows.fetchall()


def test_a_killed_confirmation_goes_on_and_its_winner_is_exported(
    studies: Path, tmp_path: Path
) -> None:
    folder = StudyFolder(studies / "pose")
    killed(studies, "confirming, 3/5")
    assert len(parts(folder)) == 2
    rest = tuner("confirm", "pose", *ASKED, studies=studies)
    assert rest.returncode == 0, rest.stderr
    assert [f"confirming, {n}/5" in rest.stderr for n in range(1, 6)] == [False] * 2 + [True] * 3
    assert parts(folder) == PARTS
    with sqlite3.connect(folder.results_db) as database:
        (drawn,) = database.execute("select count(*) from fresh_samples").fetchone()
        (states,) = database.execute("select count(*) from trials where state='running'").fetchone()
    assert (drawn, states) == (5 * 13, 0)
    assert "has the highest lower bound" in rest.stdout
    out = tmp_path / "best.safetensors"
    done = tuner("export", "pose", "-o", str(out), studies=studies)
    assert done.returncode == 0, done.stderr
    assert "has the highest lower bound" in done.stderr
    metadata = read_file(out).metadata
    assert metadata["tuner.trial"] in {"0", "1"}
    assert "13 fresh samples" in metadata["tuner.confirmed"]
    again = tuner("confirm", "pose", *ASKED, studies=studies)
    assert again.returncode == 0, again.stderr
    assert "confirming" not in again.stderr
    assert again.stdout == rest.stdout
