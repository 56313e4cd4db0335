"""A suite that is drawn while judge processes score it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics import open_detectors
from metrics.contract import JudgeSettings, Prompt
from tests.tuner.generators import yielded_and_result
from tuner.judging.pool import open_pool
from tuner.models import BaseModel
from tuner.space import SuiteConfig
from tuner.storage.folder import RungFolder
from tuner.trial import Workbench
from tuner.trial.scoring import draw_suite

SUITE = SuiteConfig(prompts=(Prompt("1girl", "female", "full"),), seeds=15, steps=1)


@pytest.mark.slow
def test_judge_processes_get_a_batch_while_the_next_is_drawn(
    base: BaseModel, tmp_path: Path
) -> None:
    settings = JudgeSettings(domain="drawn")
    with open_detectors(settings) as judges, open_pool(settings, 1, least=1) as pool:
        alone, beside = (Workbench(base, {}, SUITE, judges, pool=each) for each in (None, pool))
        steps, drawn = yielded_and_result(draw_suite(alone, SUITE, None, RungFolder(tmp_path)))
        assert [step.done for step in steps] == [15]
        assert not drawn.results
        drawing = draw_suite(beside, SUITE, None, RungFolder(tmp_path))
        first = next(drawing)
        assert first.done == 13
        steps, others = yielded_and_result(drawing)
        assert [step.done for step in steps] == [15]
        assert [len(result.result()) for result in others.results] == [7, 6, 2]
        for found, expected in zip(others.scored(), drawn.scored(), strict=True):
            apart = found.sample.image.astype(int) - expected.sample.image
            assert np.abs(apart).max() <= 1  # rounding depends on the batch
            assert found.sample.path == expected.sample.path
            assert found.scores.keys() == expected.scores.keys()
