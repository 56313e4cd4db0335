"""The small study that a user would run: real command line, base, judges and files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPACE = ROOT / "search_spaces" / "pose.yaml"
FEW = "[{text: 1girl, sex: female}, {text: 1boy, sex: male}, {text: '1girl, solo', sex: female}]"
SAMPLES = 3
"""Of each rung: FEW and one seed. With all 13 prompts most of the time went into samples."""

SMALL = [
    *("--set", f"suite.prompts={FEW}"),
    *("--set", "budget.rungs=[3, 6]"),
    *("--set", "budget.keep=1.0"),
    *("--set", "budget.low_rung_seeds=null"),
    *("--set", "budget.confirm=0"),
    *("--set", "suite.seeds=1"),
    *("--set", "suite.steps=4"),
    *("--set", "train.batch_size=4"),
    *("--set", "data=mannequin:few"),
    *("--set", "constraints.undressed_rate=null"),  # no trial is held back
]


def tuner(*arguments: str, studies: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TUNER_STUDIES": str(studies), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "tuner", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def run_in_two_goes(folder: Path) -> None:
    """Run a study of two trials in `folder`."""
    for trials in ("1", "2"):
        done = tuner(
            "run", str(SPACE), "--trials", trials, "--workers", "1", *SMALL, studies=folder
        )
        assert done.returncode == 0, done.stderr
    assert "not confirmed" in done.stdout
    assert f"tuner confirm {folder / 'pose'}" in done.stdout
