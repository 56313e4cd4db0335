"""The judge of docs/own_judge.md, added as it says and asked for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metrics
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own_judge.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The page's first block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def changed(text: str, difference: str) -> str:
    """`text` with each hunk of a difference applied, at the one place where it fits."""
    for hunk in difference.split("@@\n"):
        lines = hunk.splitlines()
        before = "\n".join(line[1:] for line in lines if line[0] != "+")
        after = "\n".join(line[1:] for line in lines if line[0] != "-")
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def test_the_example_is_short() -> None:
    assert len(block("python").splitlines()) < 40


@pytest.mark.slow
def test_one_file_and_one_line_add_a_judge(tmp_path: Path) -> None:
    package = tmp_path / "code" / "metrics"
    shutil.copytree(Path(metrics.__file__).parent, package)
    (package / "judges" / "colour.py").write_text(block("python"), encoding="utf-8")
    judges = package / "scoring.py"
    judges.write_text(changed(judges.read_text("utf-8"), block("diff")), encoding="utf-8")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    coloured = draw(Figure("female", jitter=1), 128)
    grey = np.repeat(coloured.mean(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8)
    for name, image in (("coloured", coloured), ("grey", grey)):
        Image.fromarray(image).save(pictures / f"{name}.png")
    out = tmp_path / "scores.json"
    done = subprocess.run(
        [sys.executable, "-m", "tuner", "score", str(pictures), "--json", str(out)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "in_colour *" in done.stdout
    scores = {
        row["file"]: row["scores"]["in_colour"] for row in json.loads(out.read_text())["images"]
    }
    assert scores["coloured.png"]["value"] > 0.9
    assert scores["grey.png"]["value"] < 0.1
    assert re.fullmatch("[0-9a-f]{12}", scores["grey.png"]["version"])
