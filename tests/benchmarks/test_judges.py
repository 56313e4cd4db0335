"""Each detector looks at a sample once: counted on the real ones, with benchmarks/judges.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from judges import clocked, main

from metrics import open_detectors
from metrics.contract import Prompt, Sample
from metrics.evidence import Evidence
from metrics.scoring import JUDGES
from tuner.judging.models import judge_settings
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure

pytestmark = pytest.mark.slow


def test_a_detector_is_asked_once_however_many_judges_ask() -> None:
    sample = Sample(Prompt("1girl", "female"), 0, draw(Figure("female", jitter=1), 256))
    with open_detectors(judge_settings("mannequin", "mannequin", domain="drawn")) as detectors:
        clocks = clocked(detectors)
        evidence = Evidence(sample, detectors)
        for _ in range(3):
            for judge in JUDGES:
                judge.score(sample, evidence)
            evidence.sentence_probabilities({"day": ("by day",), "night": ("by night",)})
        # No third hand can show on a sound figure, and its crop would be the picture again.
        calls = {"parts": 1, "pose": 1, "hands": 0, "faces": 0, "persons": 1, "zero_shot": 1}
        assert {name: clock.calls for name, clock in clocks.items()} == calls
        assert all(clock.seconds > 0 for name, clock in clocks.items() if calls[name])


def test_a_small_figure_is_looked_at_closely_and_a_third_arm_for_its_hand() -> None:
    far = np.full((420, 420, 3), 150, np.uint8)
    far[80:236, 120:276] = draw(Figure("male", jitter=1), 156)
    many = draw(Figure("male", arm_pose="arms at sides", limbs="extra arm", jitter=3), 256)
    with open_detectors(judge_settings("mannequin", "mannequin", domain="drawn")) as detectors:
        clocks = clocked(detectors)
        for picture, calls in ((far, {"parts": 2}), (many, {"hands": 1})):
            before = {name: clocks[name].calls for name in calls}
            evidence = Evidence(Sample(Prompt("1boy", "male"), 0, picture), detectors)
            for _ in range(2):
                for judge in JUDGES:
                    judge.score(Sample(Prompt("1boy", "male"), 0, picture), evidence)
            assert {name: clocks[name].calls - before[name] for name in calls} == calls


def test_where_no_figure_is_read_a_pose_is_sought_once_more() -> None:
    sample = Sample(Prompt("1girl", "female"), 0, np.full((256, 256, 3), 200, np.uint8))
    with open_detectors(judge_settings("mannequin", "mannequin", domain="drawn")) as detectors:
        clocks = clocked(detectors)
        evidence = Evidence(sample, detectors)
        for judge in JUDGES:
            judge.score(sample, evidence)
        calls = {"parts": 1, "pose": 2, "hands": 0, "faces": 0, "persons": 1, "zero_shot": 0}
        assert {name: clock.calls for name, clock in clocks.items()} == calls


def test_the_page_adds_up(tmp_path: Path) -> None:
    file = tmp_path / "judges.md"
    main(["--pictures", "1", "--repeats", "1", "--result", str(file)])
    rows = [line.split("|")[1:-1] for line in file.read_text().splitlines() if line[:2] == "| "]
    numbers = {name.strip(): [float(cell) for cell in cells] for name, *cells in rows[1:]}
    whole = numbers.pop("**all judges**")
    numbers.pop("one call of NudeNet, ms")
    assert len(numbers) == 7
    for column, total in enumerate(whole):
        assert total > 2
        assert abs(sum(cells[column] for cells in numbers.values()) - total) < 0.05
