from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import metrics
from metrics import score
from metrics.contract import Image, Sample
from metrics.detectors import Detectors
from metrics.scoring import JUDGES

WITHOUT_TUNER = """
import sys
sys.modules["tuner"] = None
from metrics import score, open_detectors
import metrics.objectives, metrics.detectors.models, metrics.detectors
heavy = {"torch", "mediapipe", "open_clip", "nudenet", "onnxruntime", "cv2", "skimage"}
print(sorted(heavy & set(sys.modules)))
import metrics.scoring
"""


def test_no_module_imports_tuner() -> None:
    files = sorted(Path(metrics.__file__).parent.rglob("*.py"))
    assert len(files) >= 15
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "tuner"], file


def test_metrics_lives_without_tuner_and_imports_lightly() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TUNER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_every_sample_is_asked_every_question(
    detectors: Detectors, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    samples = [sampled(image, seed=i, sex="female") for i, image in enumerate(rendered(3, 12))]
    scored = score(samples, detectors)
    assert [item.sample.seed for item in scored] == [0, 1, 2]
    for item in scored:
        assert set(item.scores) == {judge.name for judge in JUDGES}
        for name, found in item.scores.items():
            assert found.judge == name
            assert (found.value is None) == (found.reason is not None)
            assert found.value is None or 0.0 <= found.value <= 1.0
