from __future__ import annotations

from pathlib import Path

from tuner.judging.models import study_judges
from tuner.space import load_study
from tuner.storage import shipped

SPACE = Path(__file__).parents[3] / "search_spaces" / "pose.yaml"


def test_a_study_on_the_mannequin_has_its_judges_and_the_threshold_that_it_names() -> None:
    plain = study_judges(load_study(SPACE))
    moved = study_judges(load_study(SPACE, set_values=["judges.sex_threshold=0.7"]))
    assert (plain.gender_model, plain.traits) == (str(shipped.CLIP), shipped.CLIP_TRAITS)
    assert plain.person_model == str(shipped.YOLO)
    assert (plain.sex_threshold, moved.sex_threshold) == (None, 0.7)
