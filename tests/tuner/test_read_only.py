"""Commands that only read a study leave its folder as it was, and need no right to write there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuner.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
SEARCH = ROOT / "studies" / "pose" / "published"
RECIPES = ROOT / "studies" / "hand_run" / "published"


def contents(root: Path) -> dict[str, tuple[int, int, bytes]]:
    paths = sorted(root.rglob("*"))
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (root, *paths)
    }


@pytest.fixture
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A copy of a published study in which nobody may write."""
    folder = shutil.copytree(request.param, tmp_path / "study")
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("closed", [SEARCH], indirect=True)
def test_reading_a_search_changes_nothing(closed: Path, tmp_path: Path) -> None:
    before = contents(closed)
    study = str(closed)
    assert "Pareto front" in run("status", study)
    page = tmp_path / "elsewhere" / "report.html"
    assert run("report", study, "--out", str(page)).strip() == str(page)
    assert "</html>" in page.read_text(encoding="utf-8")
    assert "--samples" in run("confirm", "--help")
    assert contents(closed) == before


@pytest.mark.parametrize("closed", [RECIPES], indirect=True)
def test_reading_recipes_changes_nothing(closed: Path) -> None:
    before = contents(closed)
    assert "verdicts" in run("verdicts", str(closed))
    assert "trial" in run("status", str(closed))
    assert contents(closed) == before


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write")
@pytest.mark.parametrize("closed", [SEARCH], indirect=True)
def test_a_report_that_cannot_be_written_names_the_option(closed: Path) -> None:
    script = "from tuner.cli.app import main; main()"
    command = [shutil.which("python") or "python", "-c", script, "report", str(closed)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "--out" in done.stderr
