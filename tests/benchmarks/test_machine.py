"""Results of benchmarks as JSON, with the machine that they came from."""

from __future__ import annotations

import json
from pathlib import Path

import machine
import pytest
import torch


def test_a_result_names_its_machine_its_versions_and_its_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    machine.write_result("step", {"seconds": [0.25, 0.26], "arm": "plain"})
    text = (tmp_path / "step.json").read_text(encoding="utf-8")
    result = json.loads(text)
    assert list(result) == ["arm", "date", "machine", "seconds"]
    assert result["seconds"] == [0.25, 0.26]
    assert result["machine"] == machine.machine()
    assert result["machine"]["torch"] == torch.__version__
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["cpu"]
