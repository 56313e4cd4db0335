"""Each detector looks at a sample once: counted on the real ones, with benchmarks/judges.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from judges import clocked, main

from metrics import open_detectors
from metrics.contract import Prompt, Sample
from metrics.evidence import Evidence
from metrics.judges import JUDGES
from tuner.judge_models import judge_settings
from tuner.mannequin.figure import Figure
from tuner.mannequin.render import draw


def test_a_detector_is_asked_once_however_many_judges_ask() -> None:
    sample = Sample(Prompt("1girl", "female"), 0, draw(Figure("female", jitter=1), 256))
    with open_detectors(judge_settings("mannequin", "mannequin")) as detectors:
        clocks = clocked(detectors)
        evidence = Evidence(sample, detectors)
        for _ in range(3):
            for judge in JUDGES:
                judge.score(sample, evidence)
            evidence.sentence_probabilities({"day": ("by day",), "night": ("by night",)})
        # NudeNet sees the picture and the figure's crop.
        asked = {"parts": 2, "pose": 1, "hands": 1, "persons": 1, "zero_shot": 1}
        assert {name: clock.calls for name, clock in clocks.items()} == asked
        assert all(clock.seconds > 0 for clock in clocks.values())


def test_where_no_figure_is_read_only_whole_pictures_are_looked_at() -> None:
    sample = Sample(Prompt("1girl", "female"), 0, np.full((256, 256, 3), 200, np.uint8))
    with open_detectors(judge_settings("mannequin", "mannequin")) as detectors:
        clocks = clocked(detectors)
        evidence = Evidence(sample, detectors)
        for judge in JUDGES:
            judge.score(sample, evidence)
        asked = {"parts": 1, "pose": 1, "hands": 0, "persons": 1, "zero_shot": 0}
        assert {name: clock.calls for name, clock in clocks.items()} == asked


def test_the_page_adds_up(tmp_path: Path) -> None:
    file = tmp_path / "judges.md"
    main(["--pictures", "2", "--repeats", "1", "--result", str(file)])
    rows = [line.split("|")[1:-1] for line in file.read_text().splitlines() if line[:2] == "| "]
    numbers = {name.strip(): [float(cell) for cell in cells] for name, *cells in rows[1:]}
    whole = numbers.pop("**all judges**")
    numbers.pop("one call of NudeNet, ms")
    assert len(numbers) == 6
    for column, total in enumerate(whole):
        assert total > 2
        assert abs(sum(cells[column] for cells in numbers.values()) - total) < 0.05
