"""The table of the demo: what is read of a study's status, and how a row looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import demo
import pytest


def status(winner: dict[str, int] | None) -> dict[str, Any]:
    trials = [
        {"number": number, "parameters": {"captions": captions}}
        for number, captions in enumerate(["all", "none"])
    ]
    confirmation = {
        "winner": winner,
        "gain": {"value": 0.034, "low": 0.012, "high": 0.056},
        "reasons": ["trial 1 is the only one", "objective by objective: better in pose +0.05"],
    }
    return {"trials": trials, "confirmation": confirmation}


def test_the_named_trial_is_read_with_its_gain() -> None:
    found = demo.named(status({"trial": 1, "step": 120}))
    assert found == (1, "none", (0.034, 0.012, 0.056), "better in pose +0.05")
    row = demo.line(3, demo.Demo(321.4, 27.6, 48.2, 1_944_000_000, *found))
    expected = (
        "| 3 | 321 | 28 | 48 | 1.94 | 1 | none | +0.03 [+0.01, +0.06] | better in pose +0.05 |"
    )
    assert row == expected


def test_a_study_that_names_no_trial_has_a_row_too() -> None:
    trial, captions, gain, why = demo.named(status(None))
    assert (trial, captions, gain) == (None, "", None)
    assert why.startswith("trial 1 is the only one; ")
    row = demo.Demo(1.0, 1.0, 1.0, 1, None, "", None, why)
    assert "| None |  |  | trial 1" in demo.page({0: row})


def test_rows_of_earlier_calls_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import machine

    row = demo.Demo(321.4, 27.6, 48.2, 10**9, 1, "none", (0.1, 0.0, 0.2), "better in pose")
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    machine.write_result("demo", {"seeds": {"4": vars(row)}})
    kept = demo.read_rows(tmp_path / "demo.json")
    assert demo.page(kept) == demo.page({4: row})
    assert demo.read_rows(tmp_path / "none.json") == {}
